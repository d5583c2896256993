//! How the board is doing.

use serde::{Deserialize, Serialize};

/// The state of the board. Newer supersedes older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Health {
    /// Seconds since the program started.
    pub uptime: u32,
    /// How often the program has started.
    pub starts: u32,
    /// The model that answers, as [`short_hash`](crate::short_hash) names it.
    #[serde(with = "postcard::fixint::le")]
    pub model: u16,
    /// Pairs looked at since the start.
    pub pairs: u32,
    /// Pairs that could not be used.
    pub faults: u32,
    /// Alerts raised since the start.
    pub alerts: u32,
    /// Messages that wait to be sent.
    pub waiting: u16,
    /// Room left for files, in MiB.
    pub disk_free: u32,
    /// Memory in use by the program, in MiB.
    pub memory: u16,
    /// The hottest sensor in degrees Celsius, where there is one.
    pub temperature: Option<i8>,
    /// Good frames received since the start.
    pub frames_received: u32,
    /// Damaged or refused frames since the start.
    pub frames_refused: u32,
    /// Whether the board can write down what it decides. On the air it is left out where it is
    /// [`Working`](StorageState::Working).
    pub storage: StorageState,
}

/// Whether the board's disk takes what is to be kept. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum StorageState {
    /// It does.
    #[default]
    Working,
    /// It does not at the moment: what was decided waits in memory.
    Failing,
}
