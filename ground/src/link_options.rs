//! The options of every command that uses the link, beyond carrier, key and rate.

use clap::Args;
use deltavlm_node::{
    ContactError, ContactSchedule, DutyShare, Lifetimes, LinkId, LinkSettings, SimplexSettings,
};
use std::{path::PathBuf, time::Duration};

/// What the link can be told beyond carrier, key and rate.
#[derive(Args)]
pub(crate) struct LinkOptions {
    /// The craft's number, as in the board's configuration.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) craft: u16,
    /// This station's number, as in the board's configuration.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=127))]
    pub(crate) station: u8,
    /// Encrypt; the board must be set to it too.
    #[arg(long, requires = "key")]
    pub(crate) encrypt: bool,
    /// Only listen: this station cannot send. The board must be set to it too.
    #[arg(long)]
    pub(crate) simplex: bool,
    /// Be on the air at most this share of the time, over 0 and up to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    pub(crate) duty_cycle: f64,
    /// The rolling window of the duty cycle.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) duty_window_s: u32,
    /// When the board can hear: a file with one window a line,
    /// e.g. 2026-11-24T10:00:00Z 2026-11-24T10:07:30Z.
    #[arg(long, value_name = "FILE")]
    pub(crate) contacts: Option<PathBuf>,
    /// Give questions up that could not be sent for this long; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 604_800)]
    pub(crate) question_lifetime_s: u32,
}

impl LinkOptions {
    pub(crate) fn id(&self) -> LinkId {
        LinkId::new(self.craft, self.station)
    }

    pub(crate) fn settings(&self) -> Result<LinkSettings, ContactError> {
        let contacts = self.contacts.as_deref().map(ContactSchedule::read);
        let life = Duration::from_secs(self.question_lifetime_s.into());
        Ok(LinkSettings {
            id: self.id(),
            encrypt: self.encrypt,
            simplex: self.simplex.then(SimplexSettings::default),
            duty_cycle: (self.duty_cycle < 1.0).then(|| DutyShare {
                share: self.duty_cycle,
                window: Duration::from_secs(self.duty_window_s.into()),
            }),
            contacts: contacts.transpose()?,
            lifetimes: Lifetimes {
                reply: (!life.is_zero()).then_some(life),
                ..Lifetimes::default()
            },
        })
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "write a number over 0 and up to 1, e.g. 0.01 for one percent".to_owned())
}
