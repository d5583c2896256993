//! How a link is set up beyond carrier, key and rate.

use crate::ContactSchedule;
use deltavlm_link::{
    Config, Duration as LinkDuration, LinkId,
    auth::Protection,
    config::{Mode, Simplex},
    pacing::DutyCycle,
};
use std::{fmt, time::Duration};

/// How a link is set up beyond carrier, key and rate. What both ends must agree on says so.
#[derive(Debug, Clone, Default)]
pub struct LinkSettings {
    /// Which craft and which station the link is between. Both ends must agree.
    pub id: LinkId,
    /// Encrypts what is sent, where there is a key. Amateur bands forbid it. Both ends must agree.
    pub encrypt: bool,
    /// The ground cannot send. Both ends must agree.
    pub simplex: Option<SimplexSettings>,
    /// Time on the air is limited.
    pub duty_cycle: Option<DutyShare>,
    /// When the other end can hear; without one, always.
    pub contacts: Option<ContactSchedule>,
    /// How long messages may wait to be sent.
    pub lifetimes: Lifetimes,
}

/// How a board that hears nothing makes up for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimplexSettings {
    /// How often each message is sent: 1 to 15.
    pub repeats: u8,
    /// How many frames are protected together: 1 to 8.
    pub group: u8,
    /// How many repair frames follow each group: 0 to 4.
    pub repairs: u8,
    /// A message is not sent again sooner than this.
    pub pause: Duration,
}

impl Default for SimplexSettings {
    fn default() -> Self {
        Self {
            repeats: 3,
            group: 6,
            repairs: 2,
            pause: Duration::from_secs(15),
        }
    }
}

/// At most this share of any window on the air, at the link's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DutyShare {
    /// Over 0, up to 1.
    pub share: f64,
    /// The rolling window.
    pub window: Duration,
}

/// How long messages may wait to be sent; `None` is for ever. Alerts always wait for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lifetimes {
    /// Questions, commands, and answers without text.
    pub reply: Option<Duration>,
    /// Reports on the board.
    pub health: Option<Duration>,
    /// Answers with text.
    pub text: Option<Duration>,
    /// Parts of pictures.
    pub picture: Option<Duration>,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            reply: Some(Duration::from_secs(7 * 86_400)),
            health: Some(Duration::from_secs(3_600)),
            text: None,
            picture: None,
        }
    }
}

impl LinkSettings {
    /// Puts the settings into the link's configuration, whose key and rate are set. The contact
    /// schedule follows the clock and is up to the node.
    pub(crate) fn apply(&self, link: &mut Config) {
        link.id = self.id;
        if self.encrypt && !link.keys.is_empty() {
            link.uplink = Protection::AuthenticatedEncrypted;
            link.downlink = Protection::AuthenticatedEncrypted;
        }
        if let Some(simplex) = self.simplex {
            link.mode = Mode::Simplex(Simplex {
                repeats: simplex.repeats,
                group: simplex.group,
                repairs: simplex.repairs,
                pause: duration(simplex.pause),
            });
        }
        link.pacing.duty_cycle = self.duty_cycle.map(|duty| DutyCycle {
            window: duration(duty.window),
            budget: duration(duty.window.mul_f64(duty.share.clamp(0.0, 1.0))),
            per_frame: LinkDuration::ZERO,
            per_byte: LinkDuration::from_micros(1_000_000 / u64::from(link.pacing.rate)),
        });
        let Lifetimes {
            reply,
            health,
            text,
            picture,
        } = self.lifetimes;
        link.lifetimes = [None, reply, health, text, picture].map(|life| life.map(duration));
    }
}

impl fmt::Display for LinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if self.encrypt {
            f.write_str("; encrypted")?;
        }
        if let Some(simplex) = self.simplex {
            write!(
                f,
                "; simplex, each message {} times, {} repairs for {} frames",
                simplex.repeats, simplex.repairs, simplex.group
            )?;
        }
        if let Some(duty) = self.duty_cycle {
            write!(
                f,
                "; on the air at most {} % of {} s",
                duty.share * 100.0,
                duty.window.as_secs()
            )?;
        }
        if let Some(contacts) = &self.contacts {
            write!(f, "; {} contact windows", contacts.len())?;
        }
        for (name, life) in [
            ("questions and replies", self.lifetimes.reply),
            ("health", self.lifetimes.health),
            ("texts", self.lifetimes.text),
            ("pictures", self.lifetimes.picture),
        ] {
            if let Some(life) = life {
                write!(f, "; {name} wait at most {} s", life.as_secs())?;
            }
        }
        Ok(())
    }
}

fn duration(span: Duration) -> LinkDuration {
    LinkDuration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}
