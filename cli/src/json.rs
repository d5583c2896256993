//! The JSON of `dvlm`: field names that scripts rely on.

use std::path::Path;
use std::time::Instant;

use deltavlm_runtime::Rect;
use deltavlm_runtime::frame::Merged;
use deltavlm_runtime::{
    Answer, AnswerContent, Cell, Count, Finding, LocatedCells, Mask, Model, Timing, Trust,
    peak_rss_bytes,
};
use serde_json::{Map, Value, json};

use crate::common::mib;

pub(crate) fn model(model: &Model) -> Value {
    let report = model.engine();
    json!({
        "id": model.id(),
        "precision": precision(model),
        "engine": report.name,
        "engine_version": report.version,
        "provider": report.provider,
        "threads": report.threads,
        "reason": report.reason,
        "rejected": report.rejected,
        "library": report.library,
    })
}

/// One word where all segments agree, otherwise `segment=precision,...`.
pub(crate) fn precision(model: &Model) -> String {
    let segments = &model.manifest().segments;
    let mut names: Vec<&str> = segments
        .values()
        .map(|record| record.precision.name())
        .collect();
    names.dedup();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        _ => segments
            .iter()
            .map(|(segment, record)| format!("{}={}", segment.name(), record.precision.name()))
            .collect::<Vec<_>>()
            .join(","),
    }
}

pub(crate) fn finding(finding: &Finding) -> Value {
    json!({
        "changed": finding.changed,
        "confidence": rounded(finding.confidence),
    })
}

/// `trust` and what speaks against the pair, into a document; nothing where the
/// bundle cannot say.
pub(crate) fn set_trust(document: &mut Value, trust: Option<Trust>) {
    if let Some(trust) = trust {
        document["trust"] = rounded(trust.score);
        document["doubt"] = json!(trust.doubt());
    }
}

pub(crate) fn answer(answer: &Answer) -> Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("instruction", answer.content.instruction_name().into());
    match &answer.content {
        AnswerContent::Classify { changed } => {
            set("changed", (*changed).into());
        }
        AnswerContent::Count { roads, buildings } => {
            counted(&mut set, "roads", roads);
            counted(&mut set, "buildings", buildings);
        }
        AnswerContent::Localize { roads, buildings } => {
            located(&mut set, "roads", roads);
            located(&mut set, "buildings", buildings);
        }
        AnswerContent::Question { question } => {
            set("question", question.as_str().into());
        }
        _ => {}
    }
    set(
        "parsed",
        (!matches!(answer.content, AnswerContent::Unparsed { .. })).into(),
    );
    set("confidence", rounded(answer.confidence));
    set("text", answer.text.as_str().into());
    set("ms", millis(answer.ms));
    set("tokens", answer.ids.len().into());
    set("complete", answer.complete.into());
    set("decoding", answer.decoding.name().into());
    if answer.trimmed_turns > 0 {
        set("trimmed_turns", answer.trimmed_turns.into());
    }
    Value::Object(fields)
}

fn counted(set: &mut impl FnMut(&str, Value) -> Option<Value>, name: &str, counted: &Count) {
    set(name, counted.number.into());
    set(&format!("{name}_confidence"), rounded(counted.confidence));
}

fn located(set: &mut impl FnMut(&str, Value) -> Option<Value>, name: &str, located: &LocatedCells) {
    set(name, located.cells.names().collect());
    let cells = Cell::ALL.into_iter().zip(located.confidence);
    let cells: Map<String, Value> = cells
        .map(|(cell, confidence)| (cell.name().to_owned(), rounded(confidence)))
        .collect();
    set(&format!("{name}_confidence"), cells.into());
}

pub(crate) fn merged(name: &str, merged: &Merged) -> Value {
    let boxes = |rects: &[Rect]| rects.iter().map(rect).collect::<Vec<_>>();
    let mut value = match merged {
        Merged::Classify {
            changed,
            confidence,
        } => json!({"changed": changed, "confidence": rounded(*confidence)}),
        Merged::Count { roads, buildings } => json!({"roads": roads, "buildings": buildings}),
        Merged::Localize {
            roads,
            buildings,
            roads_grid,
            buildings_grid,
        } => json!({
            "roads": roads_grid.names().collect::<Vec<_>>(),
            "buildings": buildings_grid.names().collect::<Vec<_>>(),
            "roads_boxes": boxes(roads),
            "buildings_boxes": boxes(buildings),
        }),
        Merged::Texts(texts) => {
            let texts: Vec<Value> = texts
                .iter()
                .map(|(place, text)| json!({"tile": rect(place), "text": text}))
                .collect();
            json!({"texts": texts})
        }
        _ => json!({}),
    };
    value["instruction"] = name.into();
    value
}

/// `[x, y, width, height]` in pixels of the frame.
pub(crate) fn rect(rect: &Rect) -> Value {
    json!([rect.x, rect.y, rect.width, rect.height])
}

/// The steps, and the wall time that they are part of.
pub(crate) fn timing(timing: &Timing, started: Instant) -> Value {
    json!({
        "load": millis(timing.load),
        "preprocess": millis(timing.preprocess),
        "vision": millis(timing.vision),
        "difference": millis(timing.difference),
        "qformer": millis(timing.qformer),
        "prefill": millis(timing.prefill),
        "decode": millis(timing.decode),
        "total": millis(started.elapsed().as_secs_f64() * 1e3),
    })
}

pub(crate) fn peak_rss() -> Value {
    peak_rss_bytes().map_or(Value::Null, |bytes| millis(mib(bytes)))
}

/// The share of the picture and of each cell of the grid that changed.
pub(crate) fn mask(file: &Path, mask: &Mask) -> Value {
    let cells = mask.cell_shares().into_iter();
    let cells: Map<String, Value> = cells
        .map(|(cell, share)| (cell.name().to_owned(), rounded(share)))
        .collect();
    json!({
        "file": file,
        "side": mask.side(),
        "changed": rounded(mask.share()),
        "cells": cells,
    })
}

/// Probabilities to four places.
fn rounded(value: f32) -> Value {
    json!((f64::from(value) * 1e4).round() / 1e4)
}

/// Milliseconds and mebibytes to three places.
pub(crate) fn millis(value: f64) -> Value {
    json!((value * 1e3).round() / 1e3)
}
