//! An answer grammar as an automaton over tokens.
//!
//! The regular expression becomes a DFA over bytes, and that one over tokens: a
//! state is a DFA state and the last token, an edge is a token whose bytes the DFA
//! can read and which the tokenizer would really put after the last one. So every
//! text has exactly one path, the one that the model was trained on, and wherever
//! the text is determined there is a single edge that can be taken without asking
//! the model.

use std::collections::HashMap;

use deltavlm_bundle::SentencePiece;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};

/// Grammars beyond this are refused: answers are short.
const MAX_STATES: usize = 100_000;

/// A grammar over tokens. Every state can still reach the end.
#[derive(Debug, Clone)]
pub(crate) struct Automaton {
    states: Vec<State>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) edges: Vec<Edge>,
    /// Whether the answer may end here.
    pub(crate) accepting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) token: u32,
    pub(crate) next: usize,
}

impl Automaton {
    /// The state before the first token.
    pub(crate) const START: usize = 0;

    pub(crate) fn state(&self, index: usize) -> &State {
        &self.states[index]
    }

    /// Whether from this state only one text is left.
    pub(crate) fn is_chain(&self, mut state: usize) -> bool {
        loop {
            let State { edges, accepting } = &self.states[state];
            match (edges.as_slice(), accepting) {
                ([], true) => return true,
                ([only], false) => state = only.next,
                _ => return false,
            }
        }
    }

    /// Whether these tokens are a whole answer.
    pub(crate) fn accepts(&self, ids: &[u32]) -> bool {
        let mut state = Self::START;
        for &id in ids {
            let edges = &self.states[state].edges;
            match edges.iter().find(|edge| edge.token == id) {
                Some(edge) => state = edge.next,
                None => return false,
            }
        }
        self.states[state].accepting
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// Compiles a regular expression that is to match whole answers. `tokens` is the
    /// number of ids that the language model knows.
    pub(crate) fn compile(
        grammar: &str,
        tokenizer: &SentencePiece,
        tokens: usize,
    ) -> Result<Self, String> {
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .match_kind(MatchKind::All)
                    .minimize(true)
                    .dfa_size_limit(Some(64 << 20))
                    .determinize_size_limit(Some(64 << 20)),
            )
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .build(grammar)
            .map_err(|error| format!("not a usable regular expression: {error}"))?;
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .map_err(|error| error.to_string())?;
        let compiler = Compiler {
            trie: Trie::new(tokenizer, tokens),
            dfa,
            tokenizer,
            follows: HashMap::new(),
        };
        compiler.run(start)
    }
}

struct Compiler<'a> {
    dfa: dense::DFA<Vec<u32>>,
    trie: Trie,
    tokenizer: &'a SentencePiece,
    /// Whether the tokenizer puts the second token after the first.
    follows: HashMap<(Option<u32>, u32), bool>,
}

impl Compiler<'_> {
    fn run(mut self, start: StateID) -> Result<Automaton, String> {
        let mut indices: HashMap<(StateID, Option<u32>), usize> =
            HashMap::from([((start, None), 0)]);
        let mut keys = vec![(start, None)];
        let mut states: Vec<State> = Vec::new();
        while states.len() < keys.len() {
            let (at, last) = keys[states.len()];
            let mut state = State {
                edges: Vec::new(),
                accepting: self.dfa.is_match_state(self.dfa.next_eoi_state(at)),
            };
            let mut reached = Vec::new();
            if last.is_none() && self.tokenizer.has_dummy_prefix() {
                // An answer starts with the space that decoding takes off again; the
                // grammar does not know it.
                if let Some(space) = self.trie.child(Trie::ROOT, b' ') {
                    let alone = &self.trie.nodes[space].tokens;
                    reached.extend(alone.iter().map(|&token| (token, at)));
                    self.trie.walk(&self.dfa, at, space, &mut reached);
                }
            } else {
                self.trie.walk(&self.dfa, at, Trie::ROOT, &mut reached);
            }
            reached.sort_unstable();
            for (token, next) in reached {
                if !self.may_follow(last, token) {
                    continue;
                }
                let key = (next, Some(token));
                let next = *indices.entry(key).or_insert_with(|| {
                    keys.push(key);
                    keys.len() - 1
                });
                state.edges.push(Edge { token, next });
            }
            states.push(state);
            if keys.len() > MAX_STATES {
                return Err(format!("more than {MAX_STATES} states; simplify it"));
            }
        }
        without_dead_ends(states)
    }

    fn may_follow(&mut self, last: Option<u32>, token: u32) -> bool {
        let tokenizer = self.tokenizer;
        *self
            .follows
            .entry((last, token))
            .or_insert_with(|| match last {
                None => tokenizer.is_canonical(&[token]),
                Some(last) => tokenizer.is_canonical(&[last, token]),
            })
    }
}

/// Keeps the edges from which an end can be reached, and numbers states anew.
fn without_dead_ends(states: Vec<State>) -> Result<Automaton, String> {
    let mut sources: Vec<Vec<usize>> = vec![Vec::new(); states.len()];
    for (index, state) in states.iter().enumerate() {
        for edge in &state.edges {
            sources[edge.next].push(index);
        }
    }
    let mut alive = vec![false; states.len()];
    let mut open: Vec<usize> = (0..states.len())
        .filter(|&index| states[index].accepting)
        .collect();
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut alive[index], true) {
            open.extend_from_slice(&sources[index]);
        }
    }
    if !alive[Automaton::START] {
        return Err("it matches no text that the tokenizer can write".to_owned());
    }
    let mut renumbered = Vec::with_capacity(states.len());
    let mut count = 0;
    for &alive in &alive {
        renumbered.push(count);
        count += usize::from(alive);
    }
    let states = states
        .into_iter()
        .zip(&alive)
        .filter(|(_, alive)| **alive)
        .map(|(state, _)| State {
            accepting: state.accepting,
            edges: state
                .edges
                .into_iter()
                .filter(|edge| alive[edge.next])
                .map(|edge| Edge {
                    token: edge.token,
                    next: renumbered[edge.next],
                })
                .collect(),
        })
        .collect();
    Ok(Automaton { states })
}

/// Tokens by their bytes.
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    children: Vec<(u8, usize)>,
    tokens: Vec<u32>,
}

impl Trie {
    const ROOT: usize = 0;

    fn new(tokenizer: &SentencePiece, tokens: usize) -> Self {
        let mut trie = Self {
            nodes: vec![Node::default()],
        };
        for id in 0..tokenizer.len().min(tokens) {
            let Ok(id) = u32::try_from(id) else { break };
            // A token that its own text is not encoded to never occurs.
            if let Some(bytes) = tokenizer
                .surface(id)
                .filter(|_| tokenizer.is_canonical(&[id]))
            {
                trie.insert(&bytes, id);
            }
        }
        trie
    }

    fn insert(&mut self, bytes: &[u8], id: u32) {
        let mut at = Self::ROOT;
        for &byte in bytes {
            at = match self.child(at, byte) {
                Some(next) => next,
                None => {
                    let next = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[at].children.push((byte, next));
                    next
                }
            };
        }
        self.nodes[at].tokens.push(id);
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let children = &self.nodes[node].children;
        children
            .iter()
            .find(|(b, _)| *b == byte)
            .map(|&(_, child)| child)
    }

    /// Every token that the DFA can read from a state, with the state after it.
    fn walk(
        &self,
        dfa: &dense::DFA<Vec<u32>>,
        from: StateID,
        node: usize,
        reached: &mut Vec<(u32, StateID)>,
    ) {
        for &(byte, child) in &self.nodes[node].children {
            let next = dfa.next_state(from, byte);
            if !dfa.is_dead_state(next) && !dfa.is_quit_state(next) {
                reached.extend(self.nodes[child].tokens.iter().map(|&token| (token, next)));
                self.walk(dfa, next, child, reached);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tokenizer() -> SentencePiece {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../bundle/tests/golden/tokenizer.model"
        );
        SentencePiece::open(Path::new(path)).unwrap()
    }

    fn compile(grammar: &str) -> Automaton {
        let tokenizer = tokenizer();
        Automaton::compile(grammar, &tokenizer, tokenizer.len()).unwrap()
    }

    const CELL: &str = "(?:top|center|bottom)-(?:left|center|right)";

    #[test]
    fn yes_or_no_is_one_choice_and_then_the_end() {
        let automaton = compile("^(yes|no)$");
        let tokenizer = tokenizer();
        assert!(automaton.accepts(&tokenizer.encode("yes")));
        assert!(automaton.accepts(&tokenizer.encode("no")));
        assert!(!automaton.accepts(&tokenizer.encode("yes no")));
        for state in &automaton.states {
            assert!(state.accepting || !state.edges.is_empty());
        }
    }

    #[test]
    fn every_text_of_the_grammar_is_accepted_as_it_is_encoded() {
        let tokenizer = tokenizer();
        let list = format!(r"\[(?:{CELL}(?:, {CELL})*)?\]");
        let grids = compile(&format!("roads {list} buildings {list}"));
        let names = ["top-left", "center-center", "bottom-right", "top-right"];
        for bits in 0..16u32 {
            let cells: Vec<&str> = (0..4)
                .filter(|b| bits >> b & 1 == 1)
                .map(|b| names[b])
                .collect();
            for other in ["", "bottom-center", "center-left, center-right"] {
                let text = format!("roads [{}] buildings [{other}]", cells.join(", "));
                assert!(grids.accepts(&tokenizer.encode(&text)), "{text}");
            }
        }
        assert!(!grids.accepts(&tokenizer.encode("roads [middle] buildings []")));

        let counts = compile(
            "there are no changes in roads or buildings|(?:no|[1-9][0-9]?) new roads? and (?:no|[1-9][0-9]?) new buildings?",
        );
        for roads in 1..30 {
            let text = format!("{roads} new roads and {} new buildings", 30 - roads);
            assert!(counts.accepts(&tokenizer.encode(&text)), "{text}");
        }
        assert!(counts.accepts(&tokenizer.encode("there are no changes in roads or buildings")));
        assert!(!counts.accepts(&tokenizer.encode("0 new roads and 1 new building")));
    }

    /// Random walks end in texts that the tokenizer writes in just this way.
    #[test]
    fn every_path_is_how_the_tokenizer_writes_its_text() {
        let tokenizer = tokenizer();
        let automaton = compile(&format!(
            r"(?:{CELL}, )*(?:no|[0-9]+) new (?:roads?|buildings?)"
        ));
        let mut seed = 1u64;
        for _ in 0..200 {
            let (mut state, mut ids) = (Automaton::START, Vec::new());
            loop {
                let current = automaton.state(state);
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let options = current.edges.len() + usize::from(current.accepting);
                let pick = (seed >> 33) as usize % options;
                match current.edges.get(pick) {
                    Some(edge) if ids.len() < 60 => {
                        ids.push(edge.token);
                        state = edge.next;
                    }
                    _ if current.accepting => break,
                    _ => {
                        ids.clear();
                        break;
                    }
                }
            }
            let text = tokenizer.decode(&ids);
            assert_eq!(tokenizer.encode(&text), ids, "{text}");
        }
    }

    #[test]
    fn what_is_determined_leaves_no_choice() {
        let automaton = compile("there are no changes in roads or buildings");
        let mut state = Automaton::START;
        let mut tokens = 0;
        while !automaton.state(state).accepting {
            assert_eq!(automaton.state(state).edges.len(), 1);
            state = automaton.state(state).edges[0].next;
            tokens += 1;
        }
        assert_eq!(
            tokens,
            tokenizer()
                .encode("there are no changes in roads or buildings")
                .len()
        );
        assert_eq!(automaton.len(), tokens + 1);
    }

    #[test]
    fn a_chain_leaves_one_text() {
        let automaton = compile("no change|no (?:road|building)");
        assert!(!automaton.is_chain(Automaton::START));
        let after = |text: &str| {
            let mut state = Automaton::START;
            for id in tokenizer().encode(text) {
                let edges = &automaton.state(state).edges;
                state = edges.iter().find(|edge| edge.token == id).unwrap().next;
            }
            state
        };
        assert!(!automaton.is_chain(after("no")));
        assert!(automaton.is_chain(after("no change")));
    }

    #[test]
    fn a_faulty_grammar_says_why() {
        let tokenizer = tokenizer();
        let refuse =
            |grammar| Automaton::compile(grammar, &tokenizer, tokenizer.len()).unwrap_err();
        assert!(refuse("(yes").contains("regular expression"));
        assert!(refuse("[a&&b]").contains("no text"));
    }
}
