//! `[link]`: how to reach the ground.

use super::{
    reader::{Problem, Section},
    seconds,
};
use deltavlm_node::{
    Address, ContactSchedule, DutyShare, Lifetimes, LinkId, LinkSettings, SimplexSettings,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `[link]`
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The carrier.
    pub address: Address,
    /// The shared key; without it commands are not authenticated.
    pub key: Option<PathBuf>,
    /// The longest frame on the wire, in bytes.
    pub mtu: u8,
    /// Bytes per second that the radio really carries.
    pub rate: u32,
    /// The longest pause between two attempts to reach a ground that is not heard.
    pub probe: Duration,
    /// Who the ends are, and all else that the link can be told.
    pub settings: LinkSettings,
}

impl LinkConfig {
    pub(super) fn take(
        file: &mut toml::Table,
        base: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut section = Section::take("link", file, problems);
        let address = section.required::<String>("address").and_then(|text| {
            text.parse::<Address>()
                .map_err(|error| section.fault("address", error.to_string()))
                .ok()
        });
        let key = section
            .optional::<PathBuf>("key")
            .map(|path| base.join(path));
        let mtu = section.within("mtu", 128, (32, 255));
        // Nine tenths of what the wire carries: a full radio buffer only adds delay.
        let carries = address.as_ref().and_then(Address::bytes_per_second);
        let default = carries.map_or(100_000, |bytes| (bytes * 9 / 10).max(1));
        let rate = section.within("bytes_per_s", default, (1, 100_000_000));
        let probe = seconds(&mut section, "probe_s", 30.0, (0.5, 3600.0));
        let settings = settings(&mut section, base);
        if settings.encrypt && key.is_none() {
            section.fault("encrypt", "needs a key; add `key = ...`, or drop it");
        }
        if settings.simplex.is_some_and(|simplex| simplex.repairs > 0) && mtu < 40 {
            section.fault("mtu", "must be 40 to 255 in simplex with repairs");
        }
        section.finish();
        Some(Self {
            address: address?,
            key,
            mtu,
            rate,
            probe,
            settings,
        })
    }
}

fn settings(section: &mut Section<'_>, base: &Path) -> LinkSettings {
    let id = LinkId::new(
        section.within("craft", 0, (0, u16::MAX)),
        section.within("station", 0, (0, 127)),
    );
    let encrypt = section.optional("encrypt").unwrap_or(false);
    let standard = SimplexSettings::default();
    let simplex = SimplexSettings {
        repeats: section.within("simplex_repeats", standard.repeats, (1, 15)),
        group: section.within("simplex_group", standard.group, (1, 8)),
        repairs: section.within("simplex_repairs", standard.repairs, (0, 4)),
        pause: seconds(
            section,
            "simplex_pause_s",
            standard.pause.as_secs_f64(),
            (0.0, 86_400.0),
        ),
    };
    let simplex = section
        .optional::<bool>("simplex")
        .unwrap_or(false)
        .then_some(simplex);
    let share = section.within("duty_cycle", 1.0, (0.000_1, 1.0));
    let window = seconds(section, "duty_window_s", 3_600.0, (1.0, 86_400.0));
    let duty_cycle = (share < 1.0).then_some(DutyShare { share, window });
    let contacts = section.optional::<PathBuf>("contacts").and_then(|path| {
        ContactSchedule::read(&base.join(path))
            .map_err(|error| section.fault("contacts", error.to_string()))
            .ok()
    });
    let lifetimes = Lifetimes {
        reply: lifetime(section, "reply_lifetime_s", 604_800.0),
        health: lifetime(section, "health_lifetime_s", 3_600.0),
        text: lifetime(section, "text_lifetime_s", 0.0),
        picture: lifetime(section, "picture_lifetime_s", 0.0),
    };
    LinkSettings {
        id,
        encrypt,
        simplex,
        duty_cycle,
        contacts,
        lifetimes,
    }
}

/// Seconds, of which zero stands for ever.
fn lifetime(section: &mut Section<'_>, key: &'static str, default: f64) -> Option<Duration> {
    let life = seconds(section, key, default, (0.0, 1e9));
    (!life.is_zero()).then_some(life)
}
