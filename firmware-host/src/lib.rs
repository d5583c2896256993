//! The on-board program.
//!
//! It watches two folders for pictures of the same tile from two passes, asks the model
//! what has changed, and keeps a slow radio link to the ground: change alerts by itself,
//! answers to queries, the board's health.
//!
//! Two threads. The *worker* owns the folders and the model, whose questions take long.
//! The *service* owns the link, whose timing must not wait, and everything that is kept
//! on disk. They exchange values over channels and share nothing else.
//!
//! What it must never do: lose an alert that it has decided on, send one twice after a
//! restart without the ground being able to tell, stop because of a picture, read a file
//! that is still being written, change or delete a picture, trust the wall clock, or say
//! anything about a pair that the model did not say.
//!
//! The rooms: [`config`] what it is told; [`watch`] which pairs are there; [`analyzer`]
//! what the model says of them; [`policy`] what is worth an alert; [`journal`] what was
//! decided; [`service`] the loop that ties them to the link.

#![forbid(unsafe_code)]

pub mod analyzer;
pub mod config;
mod dialogue;
mod error;
mod event;
pub mod health;
pub mod journal;
mod model_analyzer;
mod pair_files;
pub mod policy;
pub mod preview;
mod reply_queue;
pub mod service;
mod settings;
pub mod watch;
mod worker;

pub use analyzer::{AnalysisError, Analyzer, Detection};
pub use config::{Config, Problem, Severity, check, check_file};
pub use error::HostError;
pub use event::HostEvent;
pub use model_analyzer::ModelAnalyzer;
pub use pair_files::{PairFiles, PairVersion};
pub use service::Host;
pub use worker::OpenModel;
