//! Tests of the system as a whole: several crates together, as a user meets them.
//!
//! There is nothing here but tests; see `tests/`.
