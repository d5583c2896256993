//! The ground program.
//!
//! It holds the ground's end of the link to a board: shows the change alerts that come in,
//! sends questions and shows their answers, and keeps a record of both.
//!
//! # Invariants
//!
//! It never shows an alert twice unless it was killed while showing it, drops one, tells the board
//! that it has a message before the record is on disk and the message was handed out, asks the
//! board for anything that the user did not ask for, or needs the pictures, the model or the
//! runtime.
//!
//! # Modules
//!
//! [`station`] the ground's end of the link; [`record`] what came, on disk;
//! [`queries`] what was asked and not answered; [`render`] messages for people and for
//! programs; [`geo`] where a tile lies on the map; [`preview`] pictures from their parts.

#![forbid(unsafe_code)]

mod civil_time;
pub mod geo;
pub mod preview;
pub mod queries;
pub mod record;
pub mod render;
pub mod station;

pub use station::{Station, StationConfig, StationError, StationEvent};
