//! The board: the on-board program in a thread of its own, and the camera that feeds it.

use crate::pairs::SamplePair;
use deltavlm_host::{Config, Host, HostError, HostEvent, OpenModel, Problem};
use deltavlm_link::Counters;
use deltavlm_node::{Address, SharedKey};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Why the board does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// The on-board program refuses its configuration.
    #[error("the on-board program's configuration: {0:?}")]
    Config(Vec<Problem>),
    /// The on-board program cannot start.
    #[error(transparent)]
    Start(#[from] HostError),
    /// The key file cannot be written.
    #[error(transparent)]
    Key(#[from] deltavlm_node::KeyError),
    /// The working folder cannot be used.
    #[error("the working folder: {0}")]
    Folder(#[from] io::Error),
}

/// A running board.
pub struct Board {
    dir: PathBuf,
    /// What the on-board program does.
    pub events: Receiver<HostEvent>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Counters>,
}

impl Board {
    /// Starts the on-board program in `dir`, on the given serial device.
    ///
    /// # Errors
    /// It cannot start.
    pub fn start(
        dir: &Path,
        device: &Path,
        baud: u32,
        key: &SharedKey,
        open: OpenModel,
    ) -> Result<Self, BoardError> {
        fs::create_dir_all(dir.join("before"))?;
        fs::create_dir_all(dir.join("after"))?;
        key.write(&dir.join("link.key"))?;
        let address = Address::Serial {
            path: device.to_owned(),
            baud,
        };
        // The file that a user would write.
        let text = format!(
            "[model]\nbundle = \"bundle\"\n\
             [watch]\nbefore = \"before\"\nafter = \"after\"\npoll_s = 0.1\nsettle_s = 0.25\n\
             [link]\naddress = \"{address}\"\nkey = \"link.key\"\nprobe_s = 2\n\
             [query]\nqueue = 16\nper_minute = 600\n\
             [health]\nevery_s = 15\n\
             [spool]\ndir = \"spool\"\n"
        );
        let config = Config::parse(&text, dir).map_err(BoardError::Config)?;
        let mut host = Host::start(config, open)?;
        let (sender, events) = channel();
        // An observer that is gone is no reason to stop.
        host.observe(move |event| drop(sender.send(event)));
        let stop = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("board".to_owned())
            .spawn(move || {
                if let Err(error) = host.run(&raised) {
                    eprintln!("error: {error}");
                }
                host.counters()
            })?;
        Ok(Self {
            dir: dir.to_owned(),
            events,
            stop,
            thread,
        })
    }

    /// Hands over a pair as a camera would: the earlier picture has been there, the later one
    /// comes under a temporary name and is renamed.
    ///
    /// # Errors
    /// A picture cannot be copied.
    pub fn deliver_pair(&self, tile: u32, pair: &SamplePair) -> io::Result<()> {
        for (date, file) in [("before", &pair.before), ("after", &pair.after)] {
            let extension = file
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or("png");
            let name = format!("{tile}.{extension}");
            let partial = self.dir.join(date).join(format!("{name}.part"));
            fs::copy(file, &partial)?;
            fs::rename(partial, self.dir.join(date).join(name))?;
        }
        Ok(())
    }

    /// Stops the on-board program; its link's counters.
    #[must_use]
    pub fn stop(self) -> Option<Counters> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok()
    }

    /// Whether the on-board program still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The next thing that the on-board program does, waiting for `timeout` at most.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Option<HostEvent> {
        self.events.recv_timeout(timeout).ok()
    }
}
