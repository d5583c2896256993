//! The main job in one command.
//!
//! Runs the real on-board program and the real ground program against each other, over a
//! pair of pseudo-terminals with a simulated radio between them, on sample pictures or on
//! the user's own; then writes a report.
//!
//! # Invariants
//!
//! It never replaces a part by a mock, prints a figure that it did not measure, changes the
//! user's pictures, or needs anything from the network.
//!
//! # Modules
//!
//! [`pairs`] the pictures; [`radio`] what lies between the two programs; [`scenario`] what happens
//! in which order; [`run_log`] what happened; [`wire_size`] the size of a message on the air;
//! [`report`] what is left at the end.

#![forbid(unsafe_code)]

pub mod board;
pub mod pairs;
pub mod radio;
pub mod report;
pub mod run_log;
pub mod scenario;
pub mod wire_size;
