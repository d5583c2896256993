//! What simplex adds at either end.

use crate::{
    config::{Config, Mode},
    fec::{Decoder, Encoder},
    role::Role,
};

/// What simplex adds at either end.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is no allocator to box it with"
)]
pub(super) enum Repair {
    /// Duplex.
    None,
    Board(Encoder),
    Ground(Decoder),
}

impl Repair {
    pub(super) fn new(config: &Config) -> Self {
        match (config.mode, config.role) {
            (Mode::Duplex, _) => Self::None,
            (Mode::Simplex(simplex), Role::Board) => {
                Self::Board(Encoder::new(simplex.group, simplex.repairs))
            }
            (Mode::Simplex(_), Role::Ground) => Self::Ground(Decoder::new()),
        }
    }
}
