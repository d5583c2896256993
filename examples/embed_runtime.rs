//! Embeds the runtime: opens the shipped bundle, encodes a pair, asks everything.
//!
//!     cargo run --release -p deltavlm-examples --example embed_runtime

use std::path::Path;

use deltavlm_runtime::{Error, Model, Options};

fn main() -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut model = Model::open(root.join("models/nano/bundle"), &Options::default())?;
    let before = root.join("demo/pairs/A/tile_01.jpg");
    let after = root.join("demo/pairs/B/tile_01.jpg");
    let pair = model.pair(&before, &after)?;
    for answer in model.survey(&pair)?.answers {
        println!("{}: {}", answer.content.instruction_name(), answer.text);
    }
    Ok(())
}
