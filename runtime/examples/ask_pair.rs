//! Opens a bundle, encodes a pair once and asks everything about it.
//!
//!     cargo run --release -p deltavlm-runtime --example ask_pair -- BUNDLE BEFORE AFTER
//!
//! Without arguments it uses the small test bundle of this crate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use deltavlm_runtime::{AnswerContent, Budget, Error, Model, Options, Request};

fn main() -> Result<(), Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [bundle, before, after] = <[PathBuf; 3]>::try_from(given).unwrap_or_else(|_| {
        [
            here.join("tests/bundles/int8"),
            here.join("../export/tests/golden/before.png"),
            here.join("../export/tests/golden/after.png"),
        ]
    });

    let mut model = Model::open(&bundle, &Options::default())?;
    let report = model.engine();
    println!("{} on {}: {}", model.id(), report.name, report.reason);

    let pair = model.pair(&before, &after)?;
    for answer in model.survey(&pair)?.answers {
        match &answer.content {
            AnswerContent::Classify { changed } => {
                println!("changed: {changed} ({:.2})", answer.confidence)
            }
            AnswerContent::Count { roads, buildings } => {
                println!(
                    "count: {} roads, {} buildings",
                    roads.number, buildings.number
                );
            }
            AnswerContent::Localize { roads, buildings } => {
                println!(
                    "where: roads {}, buildings {}",
                    roads.cells, buildings.cells
                );
            }
            _ => println!("{}: {}", answer.content.instruction_name(), answer.text),
        }
    }

    // A dialogue: each answer becomes a turn. Give up after two seconds.
    let question = "Are there any changes in roads or lanes?";
    let first = model.ask(&pair, &Request::question(question).max_tokens(20))?;
    let follow_up =
        Request::follow_up(vec![first.as_turn(question)], "Where are they?").max_tokens(20);
    let second = model.ask_within(&pair, &[follow_up], &Budget::within(Duration::from_secs(2)))?;
    println!("{question} {}", first.text);
    println!("Where are they? {}", second.answers[0].text);
    Ok(())
}
