//! Telling what happens while it happens: lines for people, JSON for programs.

use deltavlm_demo::{
    mission::News,
    radio::{Direction, Weather},
    story::{Arrival, Story},
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

pub(crate) struct Teller {
    pub(crate) json: bool,
}

impl Teller {
    pub(crate) fn start(&self, weather: &Weather, pairs: usize) {
        if !self.json {
            say!(
                "{pairs} pairs; a radio of {} baud that loses {:.0} % of its frames\n",
                weather.baud,
                100.0 * weather.loss
            );
        }
    }

    pub(crate) fn tell(&self, at: Duration, news: &News<'_>) {
        if self.json {
            if let Some(document) = document(at, news) {
                say!("{document}");
            }
            return;
        }
        let text = match news {
            News::Model(model) => format!("board   model {model} is open"),
            News::Photographed(name) => format!("board   pictures of {name} are in"),
            News::Quiet(name) => format!("board   {name}: no change, nothing is sent"),
            News::Fault(name, problem) => format!("board   {name}: {problem}"),
            News::Alert(name, arrival) => {
                let text = render::message_text(&arrival.message, None);
                format!(
                    "ground  {name}, {} bytes on the air\n{}",
                    arrival.wire_bytes,
                    indented(&text)
                )
            }
            News::Question(name, exchange) => {
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
            News::Answer(name, arrival) => {
                let text = render::message_text(&arrival.message, None);
                format!(
                    "ground  {name}, {} bytes on the air\n{}",
                    arrival.wire_bytes,
                    indented(&text)
                )
            }
            News::Contact(false) => "radio   contact is lost".to_owned(),
            News::Contact(true) => "radio   contact is back".to_owned(),
        };
        say!("{:6.1} s  {text}", at.as_secs_f64());
    }

    pub(crate) fn end(&self, story: &Story, report: &Path) {
        let wire: usize = story.arrivals().map(|arrival| arrival.wire_bytes).sum();
        let json: usize = story.arrivals().map(Arrival::json_bytes).sum();
        if self.json {
            let tally = |direction| {
                let tally = story.tally(direction);
                json!({
                    "frames": tally.frames,
                    "bytes": tally.bytes,
                    "lost": tally.lost,
                    "damaged": tally.damaged,
                    "unheard": tally.unheard,
                })
            };
            let link = json!({
                "event": "link",
                "down": tally(Direction::Down),
                "up": tally(Direction::Up),
                "sent_again": story.board.frames_lost + story.ground.frames_lost,
            });
            say!("{link}");
            let summary = json!({
                "event": "summary",
                "pairs": story.chapters.len(),
                "alerts": story.alerts(),
                "answers": story.answers(),
                "wire_bytes": wire,
                "json_bytes": json,
                "air_bytes": story.air_bytes(),
                "frames": story.air.len(),
                "duplicates": story.duplicates,
                "missing": story.missing(),
                "seconds": story.ended.as_millis() as f64 / 1000.0,
                "model": story.model,
                "report": report,
            });
            say!("{summary}");
            return;
        }
        say!(
            "\n{} alerts and {} answers in {wire} bytes on the air; as JSON they are {json} bytes.",
            story.alerts(),
            story.answers()
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

fn document(at: Duration, news: &News<'_>) -> Option<Value> {
    let mut document = match news {
        News::Alert(pair, arrival) | News::Answer(pair, arrival) => {
            let mut document = arrival.json.clone();
            document["pair"] = json!(pair);
            document["wire_bytes"] = json!(arrival.wire_bytes);
            document
        }
        News::Fault(pair, problem) => json!({ "event": "fault", "pair": pair, "problem": problem }),
        News::Contact(up) => json!({ "event": "link", "contact": up }),
        News::Model(model) => json!({ "event": "model", "model": model }),
        News::Photographed(_) | News::Quiet(_) | News::Question(..) => return None,
    };
    document["at"] = json!((at.as_secs_f64() * 1000.0).round() / 1000.0);
    Some(document)
}
