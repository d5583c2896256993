//! Messages in words: for people, and as JSON for programs.

use crate::{civil_time::utc, queries::PendingQuery};
use deltavlm_messages::{
    Alert, Answer, AnswerBody, CellSet, Confidence, FaultReason, Health, Message, PairFault,
    RefusalReason, Setting, StorageState,
};
use serde_json::{Value, json};
use std::fmt::Write;

/// What a refusal means and what to do about it.
#[must_use]
pub fn refusal_meaning(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::TooLarge => "too large for the board; ask for less",
        RefusalReason::QueueFull => "too many questions wait on board; ask again later",
        RefusalReason::RateLimited => "too many questions in a minute; ask again later",
        RefusalReason::BadAuthentication => "the board wants commands signed; give --key FILE",
        RefusalReason::Busy => "another job runs on board; ask again later",
        RefusalReason::UnknownTarget => {
            "the board has no such pair or dialogue, or several of that number; check --tile"
        }
        RefusalReason::Unsupported => "the board's version does not know how",
        RefusalReason::Failed => "the board tried and failed; its log says why",
        _ => "for a reason that this version does not know; update it",
    }
}

/// What is wrong with a pair.
#[must_use]
pub fn fault_meaning(reason: FaultReason) -> &'static str {
    match reason {
        FaultReason::Missing => "a picture is missing",
        FaultReason::Unreadable => "a picture cannot be read",
        FaultReason::NotAPicture => "a file is not a picture",
        FaultReason::Truncated => "a picture is empty, cut short or damaged",
        FaultReason::Unsupported => "a picture is of a kind that is not supported",
        FaultReason::TooLarge => "a picture is too large",
        FaultReason::SizeMismatch => "the two pictures differ in size",
        FaultReason::Inference => "the model failed",
        FaultReason::Storage => "the board's store was damaged",
        _ => "for a reason that this version does not know",
    }
}

/// A message of the record in a few lines of text.
#[must_use]
pub fn message_text(message: &Message, pending: Option<&PendingQuery>) -> String {
    match message {
        Message::Alert(alert) => alert_text(alert),
        Message::PairFault(fault) => fault_text(fault),
        Message::Answer(answer) => answer_text(answer, pending),
        Message::Refusal(refused) => {
            format!(
                "REFUSED {}: {}",
                query_label(refused.query, pending),
                refusal_meaning(refused.reason)
            )
        }
        other => format!("{other:?}"),
    }
}

fn alert_text(alert: &Alert) -> String {
    let mut text = format!(
        "ALERT   tile {}: changed, {} sure; {}",
        alert.tile,
        percent(alert.confidence),
        counts(alert.roads.into(), alert.buildings.into())
    );
    let _ = write!(text, "; pair {:04x}", alert.pair);
    if alert.time > 0 {
        let _ = write!(text, ", written {}", utc(alert.time));
    }
    let _ = write!(text, "\n{}", grids(alert.roads_grid, alert.buildings_grid));
    text
}

fn fault_text(pair_fault: &PairFault) -> String {
    let place = match pair_fault.tile {
        0 => "board".to_owned(),
        tile => format!("tile {tile}"),
    };
    format!(
        "FAULT   {place}: {} ({})",
        fault_meaning(pair_fault.reason),
        pair_fault.detail.as_str()
    )
}

fn answer_text(answer: &Answer, pending: Option<&PendingQuery>) -> String {
    let head = format!("ANSWER  {}: ", query_label(answer.query, pending));
    match &answer.body {
        AnswerBody::Classify {
            changed,
            confidence,
        } => {
            format!(
                "{head}{}, {} sure",
                changed_text(*changed),
                percent(*confidence)
            )
        }
        AnswerBody::Count {
            roads,
            buildings,
            confidence,
        } => {
            format!(
                "{head}{}, {} sure",
                counts(*roads, *buildings),
                percent(*confidence)
            )
        }
        AnswerBody::Localize {
            roads,
            buildings,
            confidence,
        } => {
            format!(
                "{head}{} sure\n{}",
                percent(*confidence),
                grids(*roads, *buildings)
            )
        }
        AnswerBody::Caption { text, confidence } | AnswerBody::Text { text, confidence } => {
            format!("{head}\"{}\", {} sure", text.as_str(), percent(*confidence))
        }
        AnswerBody::Survey {
            changed,
            confidence,
            roads,
            buildings,
            roads_grid,
            buildings_grid,
            text,
        } => {
            format!(
                "{head}{}, {} sure; {}; \"{}\"\n{}",
                changed_text(*changed),
                percent(*confidence),
                counts(*roads, *buildings),
                text.as_str(),
                grids(*roads_grid, *buildings_grid)
            )
        }
        _ => format!("{head}of a kind that this version does not know; update it"),
    }
}

fn query_label(query: u16, pending: Option<&PendingQuery>) -> String {
    match pending {
        Some(PendingQuery {
            tile,
            question: Some(question),
            ..
        }) => {
            format!("#{query} tile {tile}, \"{question}\"")
        }
        Some(PendingQuery {
            tile, instruction, ..
        }) => format!("#{query} tile {tile}, {instruction}"),
        None => format!("#{query}"),
    }
}

fn changed_text(changed: bool) -> &'static str {
    if changed { "changed" } else { "not changed" }
}

fn counts(roads: u16, buildings: u16) -> String {
    let plural = |number: u16, noun: &str| match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    };
    format!(
        "{}, {}",
        plural(roads, "road"),
        plural(buildings, "building")
    )
}

fn percent(confidence: Confidence) -> String {
    format!("{:.0} %", 100.0 * confidence.fraction())
}

/// The two grids side by side, north up.
fn grids(roads: CellSet, buildings: CellSet) -> String {
    let mut text = String::from("        roads  buildings");
    for row in 0..3 {
        let cells = |grid: CellSet| -> String {
            (0..3)
                .map(|column| {
                    if grid.bits() >> (3 * row + column) & 1 == 1 {
                        '#'
                    } else {
                        '.'
                    }
                })
                .collect()
        };
        let _ = write!(text, "\n        {}    {}", cells(roads), cells(buildings));
    }
    text
}

/// A health message in one line.
#[must_use]
pub fn health_text(health: &Health) -> String {
    let temperature = health
        .temperature
        .map_or(String::new(), |degrees| format!(", {degrees} C"));
    let storage = match health.storage {
        StorageState::Working => "",
        _ => ", ITS DISK FAILS: what it decides waits in memory",
    };
    format!(
        "HEALTH  up {} s (start {}), {} pairs, {} alerts, {} faults, {} messages wait, \
         {} MiB memory, {} MiB disk free{temperature}, {} frames good, {} refused{storage}",
        health.uptime,
        health.starts,
        health.pairs,
        health.alerts,
        health.faults,
        health.waiting,
        health.memory,
        health.disk_free,
        health.frames_received,
        health.frames_refused
    )
}

/// A message of the record as one JSON document.
///
/// Answers carry the fields of `dvlm ask`: `changed`, `roads` and `buildings` as numbers for a
/// count and as lists of cells for a localisation, `text`.
#[must_use]
pub fn message_json(message: &Message, pending: Option<&PendingQuery>) -> Value {
    let mut document = match message {
        Message::Alert(alert) => json!({
            "event": "alert",
            "tile": alert.tile,
            "time": alert.time,
            "source": format!("{:04x}", alert.pair),
            "changed": true,
            "confidence": rounded(alert.confidence),
            "roads": alert.roads,
            "buildings": alert.buildings,
            "localize": { "roads": cell_names(alert.roads_grid), "buildings": cell_names(alert.buildings_grid) },
        }),
        Message::PairFault(pair_fault) => json!({
            "event": "fault",
            "tile": pair_fault.tile,
            "time": pair_fault.time,
            "reason": snake_case(&pair_fault.reason),
            "meaning": fault_meaning(pair_fault.reason),
            "detail": pair_fault.detail.as_str(),
        }),
        Message::Answer(answer) => answer_json(answer),
        Message::Refusal(refused) => json!({
            "event": "refusal",
            "query": refused.query,
            "reason": snake_case(&refused.reason),
            "meaning": refusal_meaning(refused.reason),
        }),
        other => json!({ "event": "message", "kind": snake_case(&other.kind()) }),
    };
    if let Some(pending) = pending {
        document["tile"] = json!(pending.tile);
        document["instruction"] = json!(pending.instruction);
        if let Some(question) = &pending.question {
            document["question"] = json!(question);
            document["follow_up"] = json!(pending.follow_up);
        }
    }
    document
}

fn answer_json(answer: &Answer) -> Value {
    let mut document = match &answer.body {
        AnswerBody::Classify {
            changed,
            confidence,
        } => json!({
            "instruction": "classify",
            "changed": changed,
            "text": if *changed { "yes" } else { "no" },
            "confidence": rounded(*confidence),
        }),
        AnswerBody::Count {
            roads,
            buildings,
            confidence,
        } => json!({
            "instruction": "count",
            "roads": roads,
            "buildings": buildings,
            "confidence": rounded(*confidence),
        }),
        AnswerBody::Localize {
            roads,
            buildings,
            confidence,
        } => json!({
            "instruction": "localize",
            "roads": cell_names(*roads),
            "buildings": cell_names(*buildings),
            "confidence": rounded(*confidence),
        }),
        AnswerBody::Caption { text, confidence } => json!({
            "instruction": "caption",
            "text": text.as_str(),
            "confidence": rounded(*confidence),
        }),
        AnswerBody::Text { text, confidence } => json!({
            "instruction": "question",
            "text": text.as_str(),
            "confidence": rounded(*confidence),
        }),
        AnswerBody::Survey {
            changed,
            confidence,
            roads,
            buildings,
            roads_grid,
            buildings_grid,
            text,
        } => json!({
            "instruction": "survey",
            "changed": changed,
            "confidence": rounded(*confidence),
            "roads": roads,
            "buildings": buildings,
            "localize": { "roads": cell_names(*roads_grid), "buildings": cell_names(*buildings_grid) },
            "text": text.as_str(),
        }),
        _ => json!({ "instruction": "unknown" }),
    };
    document["event"] = json!("answer");
    document["query"] = json!(answer.query);
    document["source"] = json!({
        "pair": format!("{:04x}", answer.source.pair),
        "model": format!("{:04x}", answer.source.model),
        "prompt": format!("{:04x}", answer.source.prompt),
    });
    document
}

/// A health message as one JSON document.
#[must_use]
pub fn health_json(health: &Health) -> Value {
    let mut document = json!(health);
    document["event"] = json!("health");
    document["model"] = json!(format!("{:04x}", health.model));
    document
}

/// What a setting makes the board do.
#[must_use]
pub fn setting_effect(setting: Setting) -> String {
    match setting {
        Setting::AlertThreshold(confidence) => {
            format!("alerts are raised from {} sure on", percent(confidence))
        }
        Setting::HealthInterval(0) => "no health messages".to_owned(),
        Setting::HealthInterval(seconds) => format!("a health message every {seconds} s"),
        Setting::Rate(rate) => format!("at most {rate} bytes/s"),
        Setting::Quiet(seconds) => format!("nothing is sent for {seconds} s"),
        other => format!("{other:?}"),
    }
}

/// The published names of the cells.
#[must_use]
pub fn cell_names(grid: CellSet) -> Vec<&'static str> {
    grid.cells().map(deltavlm_messages::Cell::name).collect()
}

/// A confidence without the digits that its 127 steps do not have.
fn rounded(confidence: Confidence) -> f64 {
    (f64::from(confidence.fraction()) * 1000.0).round() / 1000.0
}

/// `QueueFull` as `queue_full`.
fn snake_case(value: &impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_messages::{Provenance, Refusal, Text};

    fn answer(body: AnswerBody) -> Message {
        Message::Answer(Answer {
            query: 4,
            source: Provenance {
                pair: 1,
                model: 2,
                prompt: 0xBEEF,
            },
            body,
        })
    }

    #[test]
    fn a_localisation_names_cells_and_a_count_has_numbers() {
        let confidence = Confidence::from_fraction(0.9);
        let pending = PendingQuery {
            tile: "t".to_owned(),
            instruction: "localize".to_owned(),
            question: None,
            follow_up: false,
        };
        let grid = CellSet::from_bits(0b100_000_001);
        let located = answer(AnswerBody::Localize {
            roads: grid,
            buildings: CellSet::EMPTY,
            confidence,
        });
        let document = message_json(&located, Some(&pending));
        assert_eq!(document["roads"], json!(["top-left", "bottom-right"]));
        assert_eq!(document["buildings"], json!([]));
        assert_eq!(document["confidence"], json!(0.898));
        assert_eq!(document["source"]["prompt"], "beef");
        let text = message_text(&located, Some(&pending));
        assert!(
            text.contains("#..    ...") && text.contains("..#    ..."),
            "{text}"
        );
        let counted = answer(AnswerBody::Count {
            roads: 1,
            buildings: 12,
            confidence,
        });
        assert_eq!(message_json(&counted, None)["buildings"], json!(12));
        assert!(super::message_text(&counted, None).contains("1 road, 12 buildings"));
    }

    #[test]
    fn d15_an_alert_says_which_pair_and_when() {
        let alert = Message::Alert(Alert {
            tile: 17,
            time: 1_709_210_096,
            confidence: Confidence::from_fraction(0.9),
            roads: 0,
            buildings: 1,
            roads_grid: CellSet::EMPTY,
            buildings_grid: CellSet::EMPTY,
            pair: 0xbeef,
        });
        let text = message_text(&alert, None);
        assert!(
            text.contains("pair beef, written 2024-02-29 12:34:56 UTC"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_and_a_fault_say_what_to_do() {
        let refused = Message::Refusal(Refusal {
            query: 9,
            reason: RefusalReason::QueueFull,
        });
        assert_eq!(message_json(&refused, None)["reason"], "queue_full");
        assert!(message_text(&refused, None).contains("ask again later"));
        let fault = Message::PairFault(PairFault {
            tile: 17,
            time: 0,
            reason: FaultReason::NotAPicture,
            detail: Text::truncated("after/17.png"),
        });
        assert_eq!(message_json(&fault, None)["reason"], "not_a_picture");
        assert!(
            message_text(&fault, None).contains("tile 17: a file is not a picture (after/17.png)")
        );
    }
}
