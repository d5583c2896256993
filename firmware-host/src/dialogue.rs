//! What was asked and answered before, so that a follow-up question has something to follow.

use deltavlm_messages::QueryId;
use deltavlm_runtime::Turn;
use std::collections::VecDeque;

/// Dialogues that can be taken up again. They do not survive a restart.
const MAX_DIALOGUES: usize = 32;

/// The dialogues of late, by the query that ended each.
#[derive(Debug, Default)]
pub(crate) struct Dialogues(VecDeque<Dialogue>);

#[derive(Debug)]
struct Dialogue {
    query: QueryId,
    tile: u32,
    turns: Vec<Turn>,
}

impl Dialogues {
    /// The turns up to and including the query `after` about `tile`.
    pub(crate) fn history(&self, after: QueryId, tile: u32) -> Option<Vec<Turn>> {
        let dialogue = self
            .0
            .iter()
            .find(|known| known.query == after && known.tile == tile)?;
        Some(dialogue.turns.clone())
    }

    /// Keeps the dialogue that the answer to `query` ended; ids are reused, the newest wins.
    pub(crate) fn remember(&mut self, query: QueryId, tile: u32, turns: Vec<Turn>) {
        self.0.retain(|known| known.query != query);
        self.0.push_back(Dialogue { query, tile, turns });
        if self.0.len() > MAX_DIALOGUES {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialogue_belongs_to_its_tile_and_the_oldest_goes_first() {
        let mut dialogues = Dialogues::default();
        for query in 0..40 {
            let turn = Turn {
                question: "q".to_owned(),
                answer: query.to_string(),
            };
            dialogues.remember(query, 17, vec![turn]);
        }
        assert_eq!(dialogues.history(39, 17).unwrap()[0].answer, "39");
        assert_eq!(dialogues.history(39, 18), None);
        assert_eq!(dialogues.history(7, 17), None);
        assert!(dialogues.history(8, 17).is_some());
        dialogues.remember(39, 18, Vec::new());
        assert_eq!(dialogues.history(39, 17), None);
    }
}
