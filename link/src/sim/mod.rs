//! Two ends, a bad channel between them, and virtual time: everything follows from a seed.
//!
//! [`Channel`] does to frames what radios do, [`PowerCut`] ends a program's life in the middle of a
//! storage call, [`CutDisk`] in the middle of a byte's worth of a log, and [`World`] lets two ends
//! talk through it all and keeps the books. [`plain_frame`] makes up what no peer sent.

mod channel;
mod forge;
mod power;
mod rng;
mod traffic;
mod world;

pub use channel::{Burst, Channel, Fate, Faults};
pub use forge::{plain_frame, version_1_frame};
pub use power::{CutDisk, PowerCut, Severed};
pub use rng::Rng;
pub use traffic::{Mix, TestMessage, message_of, number_of};
pub use world::{Report, Scenario, Side, World};
