//! What the ground has set, kept over restarts; it goes before the configuration file.

use deltavlm_node::atomic_file;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Settings that the ground may change.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SettingOverrides {
    /// Raise alerts from this confidence on.
    pub(crate) min_confidence: Option<f32>,
    /// Seconds between health messages; zero for none.
    pub(crate) health_s: Option<u32>,
    /// Bytes per second on the air.
    pub(crate) rate: Option<u32>,
}

/// The settings and the file that keeps them.
#[derive(Debug)]
pub(crate) struct GroundSettings {
    path: PathBuf,
    pub(crate) overrides: SettingOverrides,
}

impl GroundSettings {
    /// Reads the file. A damaged one is set aside with a line in the log, and the configuration is
    /// in force.
    pub(crate) fn open(path: &Path) -> Self {
        let overrides = match std::fs::read(path) {
            Ok(content) => serde_json::from_slice(&content).unwrap_or_else(|error| {
                let aside = path.with_extension("json.damaged");
                log::error!(
                    "{}: {error}; what the ground had set is lost, the configuration is in force; \
                     the file is kept as {}",
                    path.display(),
                    aside.display()
                );
                let _ = std::fs::rename(path, aside);
                SettingOverrides::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    log::error!(
                        "{}: {error}; the configuration is in force instead of what the ground set",
                        path.display()
                    );
                }
                SettingOverrides::default()
            }
        };
        Self {
            path: path.to_owned(),
            overrides,
        }
    }

    /// Changes the settings, on disk first.
    pub(crate) fn update(&mut self, update: impl FnOnce(&mut SettingOverrides)) -> io::Result<()> {
        let mut overrides = self.overrides;
        update(&mut overrides);
        atomic_file::replace(&self.path, &serde_json::to_vec(&overrides)?)?;
        self.overrides = overrides;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d21_a_setting_survives_and_a_damaged_file_is_kept_for_whoever_asks_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        let mut settings = GroundSettings::open(&path);
        settings
            .update(|overrides| overrides.health_s = Some(60))
            .unwrap();
        assert_eq!(GroundSettings::open(&path).overrides.health_s, Some(60));
        std::fs::write(&path, "{\"health_s\":").unwrap();
        assert_eq!(
            GroundSettings::open(&path).overrides,
            SettingOverrides::default()
        );
        let kept = std::fs::read(dir.path().join("settings.json.damaged")).unwrap();
        assert_eq!(kept, b"{\"health_s\":");
    }
}
