//! Messages that can be told by their number, so that books can be kept.

use super::Rng;
use crate::{
    message::Text,
    message::{
        Alert, Answer, AnswerBody, CellSet, Confidence, FaultReason, Instruction, Message,
        PairFault, PreviewFormat, PreviewImage, PreviewPart, PreviewRequest, Prompt, Provenance,
        Query,
    },
    role::Role,
};

/// Which messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mix {
    /// Alerts from the board, queries from the ground.
    #[default]
    Short,
    /// All kinds that are never superseded, from 5 to 1000 bytes.
    All,
    /// PreviewImage parts of a few hundred bytes from the board.
    Bulk,
}

/// Message number `number` that `role` sends in the run of `seed`.
pub fn message_of(seed: u64, role: Role, mix: Mix, number: u32) -> Message {
    let mut rng = Rng::new(seed ^ u64::from(number) << 20 ^ role as u64);
    match (role, mix) {
        (Role::Ground, _) => command(&mut rng, mix, number),
        (Role::Board, Mix::Short) => alert(&mut rng, number),
        (Role::Board, Mix::Bulk) => chip(&mut rng, number, 900),
        (Role::Board, Mix::All) => match rng.below(20) {
            0..10 => alert(&mut rng, number),
            10..14 => {
                let confidence = confidence(&mut rng);
                let body = AnswerBody::Classify {
                    changed: rng.chance(0.5),
                    confidence,
                };
                answer(number, body)
            }
            14..16 => answer(
                number,
                AnswerBody::Caption {
                    text: text(&mut rng),
                    confidence: confidence(&mut rng),
                },
            ),
            16..18 => Message::PairFault(PairFault {
                tile: number,
                time: rng.bits() as u32,
                reason: FaultReason::Truncated,
                detail: text(&mut rng),
            }),
            18 => {
                let body = AnswerBody::Count {
                    roads: rng.bits() as u16,
                    buildings: 7,
                    confidence: confidence(&mut rng),
                };
                answer(number, body)
            }
            _ => {
                let length = 1 + rng.below(700) as usize;
                chip(&mut rng, number, length)
            }
        },
    }
}

/// The number of a message that [`message_of`] made, where its kind has room for one.
pub fn number_of(message: &Message) -> Option<u32> {
    Some(match message {
        Message::Alert(alert) => alert.tile,
        Message::PairFault(fault) => fault.tile,
        Message::Query(query) => query.tile,
        Message::PreviewRequest(request) => request.tile,
        Message::Answer(answer) => {
            u32::from(answer.source.pair) | u32::from(answer.source.model) << 16
        }
        Message::Preview(chip) => chip.total,
        _ => return None,
    })
}

fn confidence(rng: &mut Rng) -> Confidence {
    Confidence::from_step(rng.below(128) as u8)
}

fn alert(rng: &mut Rng, number: u32) -> Message {
    Message::Alert(Alert {
        tile: number,
        time: rng.bits() as u32,
        confidence: confidence(rng),
        roads: rng.below(32) as u8,
        buildings: rng.bits() as u8,
        roads_grid: CellSet::from_bits(rng.bits() as u16),
        buildings_grid: CellSet::from_bits(rng.bits() as u16),
        pair: rng.bits() as u16,
    })
}

fn answer(number: u32, body: AnswerBody) -> Message {
    let source = Provenance {
        pair: number as u16,
        model: (number >> 16) as u16,
        prompt: 1,
    };
    Message::Answer(Answer {
        query: number as u16,
        source,
        body,
    })
}

fn chip(rng: &mut Rng, number: u32, length: usize) -> Message {
    Message::Preview(PreviewPart {
        query: number as u16,
        picture: PreviewImage::After,
        level: 0,
        format: PreviewFormat::Rgb8,
        total: number,
        offset: 0,
        data: (0..length).map(|_| rng.bits() as u8).collect(),
    })
}

fn command(rng: &mut Rng, mix: Mix, number: u32) -> Message {
    let id = number as u16;
    if mix != Mix::Short && rng.chance(0.2) {
        return Message::PreviewRequest(PreviewRequest {
            id,
            tile: number,
            picture: PreviewImage::After,
            level: 1,
        });
    }
    let prompt: Prompt = match rng.below(if mix == Mix::Short { 5 } else { 7 }) {
        0 => Instruction::Classify.into(),
        1 => Instruction::Count.into(),
        2 => Instruction::Localize.into(),
        3 => Instruction::Caption.into(),
        4 => Instruction::Survey.into(),
        5 => Prompt::Open(text(rng)),
        _ => Prompt::FollowUp {
            after: id.wrapping_sub(1),
            text: text(rng),
        },
    };
    Message::Query(Query {
        id,
        tile: number,
        prompt,
    })
}

fn text(rng: &mut Rng) -> Text {
    const WORDS: [&str; 16] = [
        "a", "house", "road", "is", "built", "near", "the", "trees", "two", "Größe", "4711",
        "roads", "and", "many", "villas", "?",
    ];
    let mut line = heapless::String::<240>::new();
    for _ in 0..rng.below(20) {
        let word = WORDS[rng.below(WORDS.len() as u64) as usize];
        if line.push_str(word).is_err() || line.push(' ').is_err() {
            break;
        }
    }
    Text::truncated(&line)
}
