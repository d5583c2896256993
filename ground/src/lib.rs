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
//! [`queries`] what was asked and not answered; [`words`] messages for people and for
//! programs; [`geo`] where a tile lies on the map; [`picture`] pictures from their parts.

#![forbid(unsafe_code)]

pub mod geo;
pub mod picture;
pub mod queries;
pub mod record;
pub mod station;
pub mod words;

pub use station::{Happening, Settings, StartError, Station};
