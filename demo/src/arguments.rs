//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Shows the main job: pictures come in on board, alerts go down a slow and lossy radio,
/// the ground asks and is answered.
///
/// The on-board program and the ground program are the real ones; between their two serial
/// devices lies a simulated radio. Ends by itself in under a minute and leaves a report.
///
///   dvlm-demo                              # sample pictures
///   dvlm-demo --pairs DIR                  # your own: DIR/A/x.png before, DIR/B/x.png after
///   dvlm-demo --loss 0.3 --baud 2400       # a worse radio
#[derive(Parser)]
#[command(name = "dvlm-demo", version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Print one JSON document for each event, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    /// Your own pictures: earlier ones in DIR/A, later ones of the same names in DIR/B.
    #[arg(long, value_name = "DIR")]
    pub(crate) pairs: Option<PathBuf>,
    /// Where to write the report.
    #[arg(long, value_name = "DIR", default_value = "dvlm-demo-report")]
    pub(crate) out: PathBuf,
    /// Where the radio's dice start.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// The share of frames that the radio loses, 0 to 0.9.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share)]
    pub(crate) loss: f64,
    /// The share of bits that the radio inverts, 0 to 0.9.
    #[arg(long, value_name = "SHARE", default_value_t = 1e-4, value_parser = share)]
    pub(crate) bit_errors: f64,
    /// The radio's bits per second.
    #[arg(long, default_value_t = 9600, value_parser = clap::value_parser!(u32).range(300..=4_000_000))]
    pub(crate) baud: u32,
    /// Another model bundle than the shipped one.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// The engine: auto, tract or ort.
    #[arg(long, default_value = "tract", value_parser = ["auto", "tract", "ort"])]
    pub(crate) engine: String,
    /// Threads for inference; 0 means all.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.9).contains(&share) => Ok(share),
        _ => Err("write a number from 0 to 0.9".to_owned()),
    }
}
