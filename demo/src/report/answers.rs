//! Questions and answers as HTML.

use crate::run_log::Exchange;
use deltavlm_messages::{AnswerBody, CellSet, Confidence, Message};
use std::fmt::Write;

/// A question, its answer, and what both weighed.
pub(crate) fn exchange_html(exchange: &Exchange) -> String {
    let question = exchange.pending.question.as_ref().map_or_else(
        || format!("<code>{}</code>", escape(&exchange.pending.instruction)),
        |question| {
            format!(
                "{}<em>{}</em>",
                label(exchange.pending.follow_up),
                escape(question)
            )
        },
    );
    let answer = exchange.answer.as_ref().map_or_else(
        || "<i>no answer before the run ended</i>".to_owned(),
        |received| answer_html(&received.message),
    );
    let sure = exchange
        .answer
        .as_ref()
        .and_then(|received| sure(&received.message));
    let weight = exchange
        .answer
        .as_ref()
        .map_or_else(String::new, |received| {
            format!(
                "{} B up, {} B down<br>in {:.1} s",
                exchange.question_bytes,
                received.wire_bytes,
                received.at.saturating_sub(exchange.at).as_secs_f64()
            )
        });
    format!(
        "<div class=\"turn\"><div class=\"q\">{question}</div><div class=\"a\">{answer}</div>\
         <div class=\"s\">{}</div><div class=\"w\">{weight}</div></div>",
        sure.map_or_else(String::new, confidence)
    )
}

/// How sure the model was of an answer.
fn sure(message: &Message) -> Option<Confidence> {
    let Message::Answer(answer) = message else {
        return None;
    };
    match &answer.body {
        AnswerBody::Classify { confidence, .. }
        | AnswerBody::Count { confidence, .. }
        | AnswerBody::Localize { confidence, .. }
        | AnswerBody::Caption { confidence, .. }
        | AnswerBody::Text { confidence, .. }
        | AnswerBody::Survey { confidence, .. } => Some(*confidence),
        _ => None,
    }
}

fn label(follow_up: bool) -> &'static str {
    if follow_up {
        "<code>follow-up</code> "
    } else {
        "<code>question</code> "
    }
}

fn answer_html(message: &Message) -> String {
    let Message::Answer(answer) = message else {
        return "<i>refused</i>".to_owned();
    };
    let yes = |changed: bool| match changed {
        true => "<b>changed</b>",
        false => "<b>not changed</b>",
    };
    let counts = |roads: u16, buildings: u16| {
        format!(
            "<b>{roads}</b> {}, <b>{buildings}</b> {}",
            plural(roads, "road", "roads"),
            plural(buildings, "building", "buildings")
        )
    };
    match &answer.body {
        AnswerBody::Classify { changed, .. } => yes(*changed).to_owned(),
        AnswerBody::Count {
            roads, buildings, ..
        } => counts(*roads, *buildings),
        AnswerBody::Localize {
            roads, buildings, ..
        } => cells(*roads, *buildings),
        AnswerBody::Caption { text, .. } | AnswerBody::Text { text, .. } => {
            format!("<q>{}</q>", escape(text.as_str()))
        }
        AnswerBody::Survey {
            changed,
            roads,
            buildings,
            roads_grid,
            buildings_grid,
            text,
            ..
        } => {
            format!(
                "{}; {}; {}<br><q>{}</q>",
                yes(*changed),
                counts(*roads, *buildings),
                cells(*roads_grid, *buildings_grid),
                escape(text.as_str())
            )
        }
        _ => "<i>of an unknown kind</i>".to_owned(),
    }
}

fn cells(roads: CellSet, buildings: CellSet) -> String {
    let mini = |grid: CellSet, class: &str| {
        let mut squares = String::new();
        for index in 0..9 {
            let class = if grid.bits() >> index & 1 == 1 {
                class
            } else {
                "empty"
            };
            let _ = write!(
                squares,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"9\" height=\"9\" rx=\"1.5\"/>",
                11 * (index % 3),
                11 * (index / 3)
            );
        }
        format!("<svg class=\"mini\" viewBox=\"0 0 31 31\" role=\"img\">{squares}</svg>")
    };
    let names = |grid: CellSet| match deltavlm_ground::render::cell_names(grid).join(", ") {
        names if names.is_empty() => "nowhere".to_owned(),
        names => names,
    };
    format!(
        "<span class=\"cells\" title=\"roads: {}; buildings: {}\">roads {} buildings {}</span>",
        names(roads),
        names(buildings),
        mini(roads, "roads"),
        mini(buildings, "buildings")
    )
}

/// A bar and a number.
pub(crate) fn confidence(sure: Confidence) -> String {
    let percent = 100.0 * sure.fraction();
    format!(
        "<span class=\"sure\" title=\"how sure the model is\"><i style=\"width:{percent:.0}%\"></i></span><small>{percent:.0}&nbsp;%</small>"
    )
}

/// The noun for that number.
pub(crate) fn plural(number: u16, one: &'static str, many: &'static str) -> &'static str {
    if number == 1 { one } else { many }
}

/// Text that stays text in HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_writes_is_text_and_never_markup() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
