//! What the on-board program tells whoever runs it in the same process.

use crate::analyst::Trouble;
use deltavlm_link::{
    MessageId,
    message::{Alert, Query},
};
use std::time::Duration;

/// What the on-board program has done, for whoever watches it in the same process.
#[derive(Debug, Clone)]
pub enum HostEvent {
    /// The model is open.
    Ready {
        /// Its name.
        model: String,
    },
    /// The model cannot be opened; it is tried again.
    Broken {
        /// Why.
        trouble: Trouble,
    },
    /// A pair was looked at.
    Looked {
        /// The tile's name.
        name: String,
        /// The alert that it is worth, if it is worth one.
        alert: Option<Alert>,
        /// What was wrong with it, if it could not be used.
        trouble: Option<Trouble>,
        /// From file to finding.
        took: Duration,
    },
    /// A question was answered or refused.
    Answered {
        /// The query.
        query: Query,
        /// Time that the answer took.
        took: Duration,
    },
    /// The ground has a message.
    Delivered(MessageId),
}
