//! Progress on standard output: lines for people, JSON for programs.

use deltavlm_demo::{
    radio::{ChannelModel, Direction},
    run_log::{ReceivedMessage, RunLog},
    scenario::RunEvent,
};
use deltavlm_ground::render;
use serde_json::{Value, json};
use std::{io::Write, path::Path, time::Duration};

/// Prints a line; a reader who has seen enough is no error.
macro_rules! say {
    ($($part:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

pub(crate) struct ConsoleReporter {
    pub(crate) json: bool,
}

impl ConsoleReporter {
    pub(crate) fn start(&self, channel: &ChannelModel, pairs: usize) {
        if !self.json {
            say!(
                "{pairs} pairs; a radio of {} baud that loses {:.0} % of its frames\n",
                channel.baud,
                100.0 * channel.loss
            );
        }
    }

    pub(crate) fn report_event(&self, at: Duration, event: &RunEvent<'_>) {
        if self.json {
            if let Some(document) = document(at, event) {
                say!("{document}");
            }
            return;
        }
        let text = match event {
            RunEvent::Model(model) => format!("board   model {model} is open"),
            RunEvent::PicturesTaken(name) => format!("board   pictures of {name} are in"),
            RunEvent::NoChange(name) => format!("board   {name}: no change, nothing is sent"),
            RunEvent::Fault(name, problem) => format!("board   {name}: {problem}"),
            RunEvent::Alert(name, received) => {
                let text = render::message_text(&received.message, None);
                format!(
                    "ground  {name}, {} bytes on the air\n{}",
                    received.wire_bytes,
                    indented(&text)
                )
            }
            RunEvent::Question(name, exchange) => {
                let question = exchange
                    .pending
                    .question
                    .as_deref()
                    .unwrap_or(&exchange.pending.instruction);
                format!(
                    "ground  asks about {name}: {question} ({} bytes)",
                    exchange.question_bytes
                )
            }
            RunEvent::Answer(name, received) => {
                let text = render::message_text(&received.message, None);
                format!(
                    "ground  {name}, {} bytes on the air\n{}",
                    received.wire_bytes,
                    indented(&text)
                )
            }
            RunEvent::Contact(false) => "radio   contact is lost".to_owned(),
            RunEvent::Contact(true) => "radio   contact is back".to_owned(),
        };
        say!("{:6.1} s  {text}", at.as_secs_f64());
    }

    pub(crate) fn end(&self, run_log: &RunLog, report: &Path) {
        let wire: usize = run_log
            .received_messages()
            .map(|received| received.wire_bytes)
            .sum();
        let json: usize = run_log
            .received_messages()
            .map(ReceivedMessage::json_bytes)
            .sum();
        if self.json {
            let stats = |direction| {
                let stats = run_log.direction_stats(direction);
                json!({
                    "frames": stats.frames,
                    "bytes": stats.bytes,
                    "lost": stats.lost,
                    "damaged": stats.damaged,
                    "unheard": stats.no_contact,
                })
            };
            let link = json!({
                "event": "link",
                "down": stats(Direction::Down),
                "up": stats(Direction::Up),
                "sent_again": run_log.board.frames_lost + run_log.ground.frames_lost,
            });
            say!("{link}");
            let summary = json!({
                "event": "summary",
                "pairs": run_log.pair_logs.len(),
                "alerts": run_log.alerts(),
                "answers": run_log.answers(),
                "wire_bytes": wire,
                "json_bytes": json,
                "air_bytes": run_log.radio_bytes(),
                "frames": run_log.frames.len(),
                "duplicates": run_log.duplicates,
                "missing": run_log.missing(),
                "seconds": run_log.ended.as_millis() as f64 / 1000.0,
                "model": run_log.model,
                "report": report,
            });
            say!("{summary}");
            return;
        }
        say!(
            "\n{} alerts and {} answers in {wire} bytes on the air; as JSON they are {json} bytes.",
            run_log.alerts(),
            run_log.answers()
        );
        say!("The report: {}", report.display());
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("                  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn document(at: Duration, event: &RunEvent<'_>) -> Option<Value> {
    let mut document = match event {
        RunEvent::Alert(pair, received) | RunEvent::Answer(pair, received) => {
            let mut document = received.json.clone();
            document["pair"] = json!(pair);
            document["wire_bytes"] = json!(received.wire_bytes);
            document
        }
        RunEvent::Fault(pair, problem) => {
            json!({ "event": "fault", "pair": pair, "problem": problem })
        }
        RunEvent::Contact(up) => json!({ "event": "link", "contact": up }),
        RunEvent::Model(model) => json!({ "event": "model", "model": model }),
        RunEvent::PicturesTaken(_) | RunEvent::NoChange(_) | RunEvent::Question(..) => return None,
    };
    document["at"] = json!((at.as_secs_f64() * 1000.0).round() / 1000.0);
    Some(document)
}
