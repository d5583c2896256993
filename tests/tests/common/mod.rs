//! What the tests of the two programs share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use deltavlm_ground::{Station, StationEvent, queries::PendingQuery};
use deltavlm_host::{
    AnalysisError, AnalyzedAnswer, Analyzer, Config, Detection, Host, HostError, PairFiles,
    PairImages,
};
use deltavlm_imaging::DecodeOptions;
use deltavlm_messages::{Alert, AnswerBody, CellSet, Confidence, Instruction, Message, Prompt};
use deltavlm_node::{Address, LinkSettings, SharedKey, store::Store};
use deltavlm_runtime::Turn;
use std::{
    fs,
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
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
        let images = PairImages::read(pair, &DecodeOptions::default())?;
        let confidence = 0.9;
        let change = (images.before.rgb() != images.after.rgb()).then(|| Alert {
            tile: pair.tile(),
            time: pair.time(),
            confidence: Confidence::from_fraction(confidence),
            roads: 0,
            buildings: 1,
            roads_grid: CellSet::EMPTY,
            buildings_grid: CellSet::from_bits(1),
            pair: images.hash,
        });
        Ok(Detection { confidence, change })
    }

    fn ask(
        &mut self,
        pair: &PairFiles,
        prompt: &Prompt,
        _history: &[Turn],
    ) -> Result<AnalyzedAnswer, AnalysisError> {
        let hash = PairImages::read(pair, &DecodeOptions::default())?.hash;
        let detection = self.detect(pair)?;
        Ok(AnalyzedAnswer {
            body: AnswerBody::Classify {
                changed: detection.change.is_some(),
                confidence: Confidence::from_fraction(detection.confidence),
            },
            pair: hash,
            turn: Turn {
                question: format!("{prompt:?}"),
                answer: "yes".to_owned(),
            },
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
        link: LinkSettings::default(),
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

/// The on-board program in a thread, listening for the ground on a TCP port.
pub(crate) struct Board {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), HostError>>,
    store: Receiver<Store>,
    /// Where the ground finds it.
    pub(crate) ground: Address,
}

impl Board {
    /// Starts it with [`PixelAnalyzer`]; `extra` is added to the configuration.
    pub(crate) fn start(dir: &Path, extra: &str) -> Self {
        Self::start_with(dir, |text| text + extra, || Ok(Box::new(PixelAnalyzer)))
    }

    /// Starts it with another model and what `edit` makes of the configuration.
    pub(crate) fn start_with(
        dir: &Path,
        edit: impl FnOnce(String) -> String,
        open: impl FnMut() -> Result<Box<dyn Analyzer>, AnalysisError> + Send + 'static,
    ) -> Self {
        let [listening, connecting] = tcp_addresses();
        let text = edit(host_config(dir, &listening));
        let config = Config::parse(&text, dir).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&stop);
        let (sender, store) = channel();
        let thread = thread::spawn(move || {
            let mut host = Host::start(config, Box::new(open))?;
            let _ = sender.send(host.store().clone());
            host.run(&raised)
        });
        Self {
            stop,
            thread,
            store,
            ground: connecting,
        }
    }

    /// The store in its spool. Panics when the program could not start.
    pub(crate) fn store(&self) -> Store {
        self.store.recv().expect("the on-board program has started")
    }

    /// Stops it, unless it has ended by itself.
    pub(crate) fn stop(self) -> Result<(), HostError> {
        self.stop.store(true, Ordering::Relaxed);
        self.end()
    }

    /// Waits for it to end by itself.
    pub(crate) fn end(self) -> Result<(), HostError> {
        self.thread
            .join()
            .expect("the on-board program does not panic")
    }
}

/// Two ends of a TCP connection over a free port: the board's, which listens, and the ground's.
pub(crate) fn tcp_addresses() -> [Address; 2] {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    ["tcp-listen", "tcp"].map(|kind| format!("{kind}:127.0.0.1:{port}").parse().unwrap())
}

/// Asks whether a tile has changed.
pub(crate) fn ask(station: &mut Station, tile: u32) -> u16 {
    let pending = PendingQuery {
        tile: tile.to_string(),
        instruction: "classify".to_owned(),
        question: None,
        follow_up: false,
    };
    station
        .ask(tile, Instruction::Classify.into(), pending)
        .unwrap()
}
