//! Notifications of the kernel about the two folders (inotify), beside the poll.
//!
//! They make a picture that is renamed into place known within milliseconds and tell which
//! files are still open for writing. Nothing depends on them: on network file systems and
//! wherever else they do not come, the poll finds the same pairs later.

use super::folder::FileChange;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};
use std::{io, mem::MaybeUninit, path::Path, sync::Arc, thread};

/// A notification about one file, or about the notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notification {
    /// A file in the folder with this watch number.
    File {
        watch: i32,
        name: String,
        change: FileChange,
    },
    /// Some were lost, or a folder went away: only listing the folders tells more.
    Lost,
}

/// Watches folders until it is dropped. The thread that it holds sleeps while nothing happens.
#[derive(Debug)]
pub(super) struct Notifier {
    inotify: Arc<OwnedFd>,
    /// The thread ends when this is closed.
    _stop: OwnedFd,
}

const FOLDER_EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

impl Notifier {
    /// Hands notifications to `notify` until that returns false.
    pub(super) fn start(
        notify: impl FnMut(Vec<Notification>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let watched = Arc::clone(&inotify);
        thread::Builder::new()
            .name("inotify".to_owned())
            .spawn(move || run(&watched, &stopped, notify))?;
        Ok(Self {
            inotify,
            _stop: stop,
        })
    }

    /// Watches a folder; one that is watched already keeps its number.
    pub(super) fn watch(&self, dir: &Path) -> io::Result<i32> {
        Ok(inotify::add_watch(&*self.inotify, dir, FOLDER_EVENTS)?)
    }
}

fn run(inotify: &OwnedFd, stopped: &OwnedFd, mut notify: impl FnMut(Vec<Notification>) -> bool) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    loop {
        let mut fds = [
            PollFd::new(inotify, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        let batch = read(inotify, &mut buffer);
        if !batch.is_empty() && !notify(batch) {
            return;
        }
    }
}

/// Everything that waits to be read.
fn read(inotify: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Vec<Notification> {
    let mut reader = Reader::new(inotify, buffer);
    let mut batch = Vec::new();
    while let Ok(event) = reader.next() {
        let flags = event.events();
        let lost = ReadFlags::QUEUE_OVERFLOW
            | ReadFlags::IGNORED
            | ReadFlags::UNMOUNT
            | ReadFlags::MOVE_SELF
            | ReadFlags::DELETE_SELF;
        if flags.intersects(lost) {
            batch.push(Notification::Lost);
            continue;
        }
        let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else {
            continue;
        };
        let change = if flags.contains(ReadFlags::MOVED_TO) {
            FileChange::Renamed
        } else if flags.contains(ReadFlags::MODIFY) {
            FileChange::Written
        } else if flags.contains(ReadFlags::CLOSE_WRITE) {
            FileChange::Closed
        } else {
            FileChange::Touched
        };
        let notification = Notification::File {
            watch: event.wd(),
            name: name.to_owned(),
            change,
        };
        // A file that is being written notifies at every write.
        if batch.last() != Some(&notification) {
            batch.push(notification);
        }
    }
    batch
}
