//! Failures of the disk, injected at any write, for tests.

use rusqlite::ffi;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No space left on the device (ENOSPC).
    Full,
    /// The file system is read-only (EROFS).
    ReadOnly,
    /// The device failed (EIO).
    Device,
}

/// Which writes of a store fail. A transaction is several writes: its beginning, each change and
/// its end.
#[derive(Debug, Default)]
pub struct Faults {
    /// Writes that succeed before that.
    succeed: u64,
    /// Writes that fail then.
    fail: u64,
    fault: Option<Fault>,
}

impl Faults {
    /// After `succeed` writes, `fail` of them fail; all others succeed.
    #[must_use]
    pub fn after(succeed: u64, fail: u64, fault: Fault) -> Self {
        Self {
            succeed,
            fail,
            fault: Some(fault),
        }
    }

    /// Takes part in one write.
    pub(super) fn check(&mut self) -> rusqlite::Result<()> {
        let Some(fault) = self.fault else {
            return Ok(());
        };
        if self.succeed > 0 {
            self.succeed -= 1;
            return Ok(());
        }
        if self.fail == 0 {
            return Ok(());
        }
        self.fail -= 1;
        let code = match fault {
            Fault::Full => ffi::SQLITE_FULL,
            Fault::ReadOnly => ffi::SQLITE_READONLY,
            Fault::Device => ffi::SQLITE_IOERR,
        };
        let error = ffi::Error::new(code);
        Err(rusqlite::Error::SqliteFailure(error, None))
    }
}
