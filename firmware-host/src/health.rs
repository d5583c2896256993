//! How the board is doing, from what the kernel tells.

use deltavlm_link::Counters;
use deltavlm_runtime::resident_bytes;
use rustix::fs::statvfs;
use std::{fs, path::Path};

/// Room left on the file system that holds `path`, in MiB; 0 when it cannot be known.
#[must_use]
pub fn disk_free(path: &Path) -> u32 {
    let Ok(stat) = statvfs(path) else { return 0 };
    u32::try_from(stat.f_bavail.saturating_mul(stat.f_frsize) >> 20).unwrap_or(u32::MAX)
}

/// Memory in use by this program, in MiB; 0 when it cannot be known.
#[must_use]
pub fn memory() -> u16 {
    u16::try_from(resident_bytes().unwrap_or(0) >> 20).unwrap_or(u16::MAX)
}

/// The hottest sensor in degrees Celsius, where there is one.
#[must_use]
pub fn temperature() -> Option<i8> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?;
    zones
        .flatten()
        .filter_map(|zone| {
            let text = fs::read_to_string(zone.path().join("temp")).ok()?;
            i8::try_from(text.trim().parse::<i64>().ok()? / 1000).ok()
        })
        .max()
}

/// Frames that were damaged or not admitted.
#[must_use]
pub fn refused_frames(counters: &Counters) -> u32 {
    let causes = [
        counters.bad_stuffing,
        counters.bad_version,
        counters.bad_length,
        counters.bad_checksum,
        counters.reflected,
        counters.unprotected,
        counters.unknown_key,
        counters.bad_authentication,
        counters.replayed,
    ];
    causes.into_iter().fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_disk_and_this_program_uses_memory() {
        assert!(disk_free(Path::new("/")) > 0);
        assert!(memory() > 0);
        assert_eq!(disk_free(Path::new("/does/not/exist")), 0);
    }
}
