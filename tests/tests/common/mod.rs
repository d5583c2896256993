//! What the tests of the two programs share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use deltavlm_ground::{Station, StationEvent};
use deltavlm_host::{
    AnalysisError, Analyzer, Detection, PairFiles,
    analyzer::{AnalyzedAnswer, Question},
};
use deltavlm_imaging::{DecodeOptions, Image};
use deltavlm_messages::{AnswerBody, CellSet, Confidence, FaultReason, Message};
use deltavlm_node::{Address, SharedKey};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Says "changed" when a pixel differs. It stands in for the model where a test is about
/// everything but the model, and takes about as long.
pub(crate) struct PixelAnalyzer;

impl Analyzer for PixelAnalyzer {
    fn model(&self) -> &str {
        "pixels"
    }

    fn detect(&mut self, pair: &PairFiles) -> Result<Detection, AnalysisError> {
        thread::sleep(Duration::from_millis(20));
        let open = |path: &Path| {
            Image::open(path, &DecodeOptions::default()).map_err(|error| AnalysisError {
                reason: FaultReason::Unreadable,
                detail: pair.name.clone(),
                message: error.to_string(),
            })
        };
        let missing = || AnalysisError {
            reason: FaultReason::Missing,
            detail: pair.name.clone(),
            message: "no before-picture".to_owned(),
        };
        let before = open(pair.before.as_deref().ok_or_else(missing)?)?;
        let after = open(&pair.after)?;
        Ok(Detection {
            changed: before.rgb() != after.rgb(),
            confidence: 0.9,
            roads: 0,
            buildings: 1,
            roads_grid: CellSet::EMPTY,
            buildings_grid: CellSet::from_bits(1),
        })
    }

    fn ask(
        &mut self,
        pair: &PairFiles,
        question: &Question,
    ) -> Result<AnalyzedAnswer, AnalysisError> {
        let detection = self.detect(pair)?;
        let confidence = Confidence::from_fraction(detection.confidence);
        Ok(AnalyzedAnswer {
            body: AnswerBody::Classify {
                changed: detection.changed,
                confidence,
            },
            prompt: format!("{question:?}"),
            text: "yes".to_owned(),
        })
    }
}

/// A pair of small pictures, changed or not, as the two programs' camera would leave it.
pub(crate) fn deliver_pair(dir: &Path, name: &str, changed: bool) {
    let paint = |red| image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([red, x as u8, y as u8]));
    for (date, red) in [("before", 10), ("after", if changed { 200 } else { 10 })] {
        let folder = dir.join(date);
        fs::create_dir_all(&folder).unwrap();
        let partial = folder.join(format!("{name}.png.part"));
        paint(red)
            .save_with_format(&partial, image::ImageFormat::Png)
            .unwrap();
        fs::rename(partial, folder.join(format!("{name}.png"))).unwrap();
    }
}

/// The on-board program's configuration file in `dir`.
pub(crate) fn host_config(dir: &Path, address: &Address) -> String {
    for date in ["before", "after"] {
        fs::create_dir_all(dir.join(date)).unwrap();
    }
    let key = dir.join("link.key");
    if !key.exists() {
        SharedKey {
            id: 1,
            secret: [42; 16],
        }
        .write(&key)
        .unwrap();
    }
    format!(
        "[model]\nbundle = \"bundle\"\n\
         [watch]\nbefore = \"before\"\nafter = \"after\"\npoll_s = 0.05\nsettle_s = 0.1\nmissing_after_s = 1\n\
         [link]\naddress = \"{address}\"\nkey = \"link.key\"\nprobe_s = 1\n\
         [health]\nevery_s = 2\n\
         [spool]\ndir = \"spool\"\n"
    )
}

/// The ground's end, with the same key.
pub(crate) fn station(state: &Path, address: Address) -> Station {
    Station::start(deltavlm_ground::StationConfig {
        address,
        key: Some(SharedKey {
            id: 1,
            secret: [42; 16],
        }),
        state: state.to_owned(),
        mtu: 128,
        rate: None,
        probe: Duration::from_secs(1),
    })
    .unwrap()
}

/// Runs the station until `done` says so; what was recorded meanwhile. Panics when time runs out.
pub(crate) fn listen(
    station: &mut Station,
    timeout: Duration,
    mut done: impl FnMut(&[Message]) -> bool,
) -> Vec<Message> {
    let start = Instant::now();
    let mut messages = Vec::new();
    while !done(&messages) {
        assert!(
            start.elapsed() < timeout,
            "only this came in {timeout:?}: {messages:?}"
        );
        for event in station.step(Duration::from_millis(20)) {
            if let StationEvent::Recorded { message, .. } = event {
                messages.push(message);
            }
        }
    }
    messages
}
