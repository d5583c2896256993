//! The ground program.
//!
//! It holds the ground's end of the link to a board: shows the change alerts that come in,
//! sends questions and shows their answers, and keeps a record of both.
//!
//! What it must never do: show an alert twice, drop one, tell the board that it has a
//! message before the record is on disk, ask the board for anything that the user did not
//! ask for, or need the pictures, the model or the runtime.
//!
//! The rooms: [`station`] the ground's end of the link; [`record`] what came, on disk;
//! [`queries`] what was asked and not answered; [`render`] messages for people and for
//! programs; [`geo`] where a tile lies on the map; [`preview`] pictures from their parts.

#![forbid(unsafe_code)]

pub mod geo;
pub mod preview;
pub mod queries;
pub mod record;
pub mod render;
pub mod station;

pub use station::{Station, StationConfig, StationError, StationEvent};
