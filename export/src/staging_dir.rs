//! A directory that appears whole or not at all.

use std::path::{Path, PathBuf};

use deltavlm_bundle::MANIFEST_FILE;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{Error, Result};

/// A directory beside its final place. Unless [`Folder::publish`] is reached, it
/// is removed again; after a kill it keeps a name that nothing reads.
#[derive(Debug)]
pub(crate) struct StagingDir {
    partial: PathBuf,
    target: PathBuf,
    done: bool,
}

impl StagingDir {
    /// Prepares to write `target`. An existing directory is replaced at the end
    /// if it is empty or holds the file `mark`, which shows it to be ours.
    ///
    /// # Errors
    /// When `target` is something else, or its parent cannot be written.
    pub(crate) fn create(target: &Path, mark: &str) -> Result<Self> {
        let name = target
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| {
                Error::Usage(format!(
                    "--out {} does not end in a directory name",
                    target.display()
                ))
            })?;
        if target.exists() && !target.join(mark).exists() {
            let empty = std::fs::read_dir(target)
                .map_err(|e| Error::io(target, e))?
                .next()
                .is_none();
            if !empty {
                return Err(Error::Usage(format!(
                    "{} exists, is not empty and has no {mark}; it will not be overwritten, choose another --out",
                    target.display()
                )));
            }
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        std::fs::create_dir_all(&parent).map_err(|e| Error::io(&parent, e))?;
        remove_abandoned(&parent, name);
        let partial = parent.join(format!(".{name}.partial-{}", std::process::id()));
        std::fs::create_dir(&partial).map_err(|e| Error::io(&partial, e))?;
        Ok(Self {
            partial,
            target: target.to_owned(),
            done: false,
        })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.partial
    }

    /// Refuses to begin what the disk cannot hold.
    ///
    /// # Errors
    /// [`Error::DiskFull`] with both numbers.
    pub(crate) fn need(&self, bytes: u64) -> Result<()> {
        let stat =
            rustix::fs::statvfs(&self.partial).map_err(|e| Error::io(&self.partial, e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if bytes > free {
            return Err(Error::DiskFull {
                path: self.target.clone(),
                needed: bytes,
                free,
            });
        }
        Ok(())
    }

    /// Puts the directory in its place, in one step where the system can.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(crate) fn publish(mut self) -> Result<()> {
        let io = |e: std::io::Error| Error::io(&self.target, e);
        if self.target.exists() {
            if renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::EXCHANGE).is_ok() {
                std::fs::remove_dir_all(&self.partial).map_err(|e| Error::io(&self.partial, e))?;
            } else {
                std::fs::remove_dir_all(&self.target).map_err(io)?;
                std::fs::rename(&self.partial, &self.target).map_err(io)?;
            }
        } else {
            std::fs::rename(&self.partial, &self.target).map_err(io)?;
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        if !self.done {
            // Nothing more can be done about a failure here; the name shows what it is.
            let _ = std::fs::remove_dir_all(&self.partial);
        }
    }
}

/// Removes what killed runs left behind. The manifest is written last, so none
/// of it was ever whole.
fn remove_abandoned(parent: &Path, name: &str) {
    let prefix = format!(".{name}.partial-");
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let Some(process) = file_name
            .to_str()
            .and_then(|n| n.strip_prefix(&prefix)?.parse::<i32>().ok())
        else {
            continue;
        };
        let alive = rustix::process::Pid::from_raw(process).is_some_and(|process| {
            rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH)
        });
        if !alive && !entry.path().join(MANIFEST_FILE).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
