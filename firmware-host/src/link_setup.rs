//! The board's end of the link, as configured.

use crate::{config::Config, error::HostError, settings::GroundSettings};
use deltavlm_carrier::SharedKey;
use deltavlm_link::{
    Endpoint, Role,
    auth::{Key, Keys, Protection},
    pacing::Pacing,
    storage::FileStorage,
};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Opens the link's storage in the spool and starts from it.
pub(crate) fn open(
    config: &Config,
    settings: &GroundSettings,
) -> Result<Endpoint<FileStorage>, HostError> {
    let mut link = deltavlm_link::Config::new(Role::Board);
    link.mtu = config.link.mtu;
    link.pacing = Pacing::at_rate(settings.overrides.rate.unwrap_or(config.link.rate).max(1));
    link.commands_per_minute = u16::try_from(config.query.per_minute).unwrap_or(u16::MAX);
    link.max_timeout = deltavlm_link::Duration::from_micros(
        u64::try_from(config.link.probe.as_micros()).unwrap_or(u64::MAX),
    );
    link.seed = seed();
    if let Some(path) = &config.link.key {
        let key = SharedKey::read(path)?;
        link.keys = Keys::single(Key::new(key.id, &key.secret));
        link.uplink = Protection::Signed;
        link.downlink = Protection::Signed;
    }
    let storage = FileStorage::at(&config.spool.dir.join("link"))
        .map_err(|error| HostError::Link(error.to_string()))?;
    Endpoint::new(link, storage).map_err(|error| HostError::Link(error.to_string()))
}

/// A number that differs between starts; only timers are spread by it.
fn seed() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}
