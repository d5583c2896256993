//! How one end of a link is set up.

pub use crate::config_error::ConfigError;

use crate::{
    auth::{Keys, Protection},
    identity::{LinkId, MAX_STATION},
    message_types::MessageTypes,
    pacing::Pacing,
    role::Role,
    time::Duration,
};

/// Whether the ground can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Both ends send: everything is acknowledged.
    #[default]
    Duplex,
    /// The board only sends, the ground only receives: nothing is acknowledged, every message is
    /// sent several times and in frames that repair each other.
    Simplex(Simplex),
}

/// How a board that hears nothing makes up for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Simplex {
    /// How often each message is sent: 1 to 15.
    pub repeats: u8,
    /// How many frames are protected together: 1 to 8.
    pub group: u8,
    /// How many repair frames follow each group: 0 to 4. Any `repairs` lost frames of the
    /// `group + repairs` can be lost without harm.
    pub repairs: u8,
    /// A message is not sent again sooner than this.
    pub pause: Duration,
}

/// How one end of a link is set up. Start from [`Config::new`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Which end this is.
    pub role: Role,
    /// Which craft and which station the link is between. Both ends must agree.
    pub id: LinkId,
    /// Whether the ground can answer. Both ends must agree.
    pub mode: Mode,
    /// The longest frame in bytes on the air, everything included: 32 to 255. The ends may differ.
    pub mtu: u8,
    /// What protects frames to the board. Both ends must agree.
    pub uplink: Protection,
    /// What protects frames to the ground. Both ends must agree.
    pub downlink: Protection,
    /// The shared keys; needed where a direction is not plain.
    pub keys: Keys,
    /// Which messages the application exchanges.
    pub message_types: MessageTypes,
    /// How fast and when to send.
    pub pacing: Pacing,
    /// How long a received frame may wait for its acknowledgement.
    pub ack_delay: Duration,
    /// Acknowledge after this many frames at the latest: 1 to 32.
    pub ack_every: u8,
    /// The retransmission timer never runs shorter.
    pub min_timeout: Duration,
    /// The retransmission timer, and the pause between probes, never run longer.
    pub max_timeout: Duration,
    /// After this many timeouts in a row without a sign of the peer, only probes are sent.
    pub down_after: u8,
    /// How long messages of each class (in the order of [`Class::ALL`](crate::class::Class::ALL))
    /// may wait; `None` is for ever.
    pub lifetimes: [Option<Duration>; 5],
    /// How often a class (in the same order) is passed over before it gets a turn.
    pub max_skips: [u8; 5],
    /// Commands that the board takes in a minute; zero for no limit.
    pub commands_per_minute: u16,
    /// Storage was damaged, and what is left of it may be older than what was there: counters and
    /// what was known of the peer are not to be trusted. Messages in it are kept.
    pub storage_salvaged: bool,
    /// A number that no device had at any start before, from a source of entropy: the epoch of fresh
    /// storage and the number of each start are drawn from it, and timers are spread by it.
    pub seed: u64,
}

impl Config {
    /// A plain duplex link at an MTU of 128 bytes, without a limit on speed.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            id: LinkId::default(),
            mode: Mode::Duplex,
            mtu: 128,
            uplink: Protection::Plain,
            downlink: Protection::Plain,
            keys: Keys::default(),
            message_types: MessageTypes::default(),
            pacing: Pacing::default(),
            ack_delay: Duration::from_millis(100),
            ack_every: 8,
            min_timeout: Duration::from_millis(100),
            max_timeout: Duration::from_secs(30),
            down_after: 8,
            lifetimes: [
                None,
                Some(Duration::from_secs(7 * 86_400)),
                Some(Duration::from_secs(3_600)),
                None,
                None,
            ],
            max_skips: [0, 4, 8, 16, 32],
            commands_per_minute: 0,
            storage_salvaged: false,
            seed: role as u64 + 1,
        }
    }

    /// What protects the frames that this end sends.
    pub const fn sending(&self) -> Protection {
        match self.role {
            Role::Board => self.downlink,
            Role::Ground => self.uplink,
        }
    }

    /// What the frames that this end receives must be protected by.
    pub const fn receiving(&self) -> Protection {
        match self.role {
            Role::Board => self.uplink,
            Role::Ground => self.downlink,
        }
    }

    /// Everything that is wrong with it: the first of these, if any.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.mtu < crate::frame::MIN_MTU {
            return Err(ConfigError::Mtu);
        }
        if self.id.station > MAX_STATION {
            return Err(ConfigError::Station);
        }
        if self.ack_every == 0 || self.ack_every > 32 {
            return Err(ConfigError::AckEvery);
        }
        if self.min_timeout == Duration::ZERO || self.min_timeout > self.max_timeout {
            return Err(ConfigError::Timeouts);
        }
        if self.down_after == 0 {
            return Err(ConfigError::DownAfter);
        }
        if let Mode::Simplex(simplex) = self.mode
            && !((1..=15).contains(&simplex.repeats)
                && (1..=8).contains(&simplex.group)
                && simplex.repairs <= 4)
        {
            return Err(ConfigError::Simplex);
        }
        if matches!(self.mode, Mode::Simplex(simplex) if simplex.repairs > 0) && self.mtu < 40 {
            return Err(ConfigError::SimplexMtu);
        }
        if self.keys.is_empty()
            && (self.uplink != Protection::Plain || self.downlink != Protection::Plain)
        {
            return Err(ConfigError::NoKey);
        }
        self.pacing.check()
    }
}
