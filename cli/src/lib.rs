//! What the command `dvlm` adds to `deltavlm-runtime`: [`eval`], the measuring of
//! answers against annotations, and errors that name the command's flags.
//!
//! # Invariants
//! It must never drop an answer that does not parse from a measurement, take answers
//! that another model or other settings gave for these, print anything but the JSON
//! document on stdout where JSON is asked for, or end with success after an error.
//!
//! # Modules
//! [`eval`] reads annotations, asks and scores; [`CliError`] is every error of the
//! command with the flag that mends it.

#![forbid(unsafe_code)]

mod error;
pub mod eval;

pub use error::CliError;
