//! What the on-board program tells whoever runs it in the same process.

use crate::analyzer::AnalysisError;
use deltavlm_link::MessageId;
use deltavlm_messages::{Alert, Query};
use std::time::Duration;

/// What the on-board program has done, for whoever watches it in the same process.
#[derive(Debug, Clone)]
pub enum HostEvent {
    /// The model is open.
    ModelReady {
        /// Its name.
        model: String,
    },
    /// The model cannot be opened; it is tried again.
    ModelUnavailable {
        /// Why.
        error: AnalysisError,
    },
    /// A pair was looked at.
    PairAnalyzed {
        /// The tile's name.
        name: String,
        /// The alert that it is worth, if it is worth one.
        alert: Option<Alert>,
        /// What was wrong with it, if it could not be used.
        error: Option<AnalysisError>,
        /// From file to finding.
        elapsed: Duration,
    },
    /// A question was answered or refused.
    QueryAnswered {
        /// The query.
        query: Query,
        /// Time that the answer took.
        elapsed: Duration,
    },
    /// The ground has a message.
    Delivered(MessageId),
}
