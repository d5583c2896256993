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
//! # Invariants
//!
//! It never loses an alert that it has decided on, sends one twice after a restart without the
//! ground being able to tell, stops because of a picture, reads a file that is known to be still
//! written to, takes a folder that cannot be read for an empty one, changes or deletes a picture,
//! trusts the wall clock, goes on without the thread that analyses pictures, or says anything
//! about a pair that the model did not say.
//!
//! # Modules
//!
//! [`config`] what it is told; [`watch`] which pairs are there; [`analyzer`] what the model says
//! of them; [`policy`] what is worth an alert; [`journal`] what was decided; [`service`] the loop
//! that ties them to the link.

#![forbid(unsafe_code)]

mod activity;
pub mod analyzer;
pub mod config;
mod dialogue;
mod error;
mod event;
pub mod health;
pub mod journal;
mod model_analyzer;
mod pair_files;
mod pair_images;
pub mod policy;
pub mod preview;
mod reply_queue;
pub mod service;
mod settings;
pub mod watch;
mod worker;
mod worker_handle;

pub use analyzer::{AnalysisError, AnalyzedAnswer, Analyzer, Detection};
pub use config::{Config, Problem, Severity, check, check_file};
pub use error::HostError;
pub use event::HostEvent;
pub use model_analyzer::ModelAnalyzer;
pub use pair_files::{PairFiles, PairVersion};
pub use pair_images::PairImages;
pub use service::Host;
pub use worker::OpenModel;
