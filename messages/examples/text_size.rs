//! Bits per character of the texts on standard input, one a line, against UTF-8 and the share of
//! lines that a message holds.
//!
//! ```text
//! cargo run --release -p deltavlm-messages --example text_size < texts.txt
//! ```

use std::io::{BufRead, stdin};

use deltavlm_messages::{Text, text::CODED_MAX, text::decode, text::encode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut lines, mut characters, mut bytes) = (0u64, 0u64, 0u64);
    for line in stdin().lock().lines() {
        let line = line?;
        let text = Text::try_from(line.as_str()).map_err(|error| format!("{line}: {error}"))?;
        let mut coded = [0; CODED_MAX];
        let length = encode(&text, &mut coded);
        if decode(&coded[..length]).as_ref() != Some(&text) {
            return Err(format!("{line}: does not come back").into());
        }
        lines += 1;
        characters += line.chars().count() as u64;
        bytes += length as u64;
    }
    println!("{lines} texts, {characters} characters, {bytes} bytes coded");
    println!(
        "{:.3} bits per character",
        bytes as f64 * 8.0 / characters.max(1) as f64
    );
    Ok(())
}
