//! A progress bar with rate and time left; silent when nobody watches.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Bytes written of bytes to write.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for `total` bytes on stderr, or nothing where stderr is no terminal.
    pub fn new(label: &str, total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let style = ProgressStyle::with_template(
            "{prefix} [{bar:32}] {bytes}/{total_bytes}, {binary_bytes_per_sec}, {eta} left",
        )
        .expect("a valid template");
        let bar = ProgressBar::new(total)
            .with_style(style)
            .with_prefix(label.to_owned());
        Self(bar)
    }

    /// No bar.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Counts bytes.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
