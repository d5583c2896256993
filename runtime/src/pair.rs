//! A before and an after picture, encoded once for every question about them.

use crate::timing::Timing;
use crate::trust::Trust;

/// An encoded pair. Cheap to keep: it holds features, not the pictures.
#[derive(Debug, Clone)]
pub struct Pair {
    pub(crate) difference: Vec<f32>,
    pub(crate) shape: [usize; 3],
    /// Features of each date, kept where the bundle has a mask branch.
    pub(crate) dates: Option<[Vec<f32>; 2]>,
    pub(crate) trust: Option<Trust>,
    pub(crate) bundle: [u8; 32],
    size: (u32, u32),
    timing: Timing,
    before_was_cached: bool,
}

impl Pair {
    pub(crate) fn new(
        difference: Vec<f32>,
        shape: [usize; 3],
        bundle: [u8; 32],
        size: (u32, u32),
        timing: Timing,
        before_was_cached: bool,
    ) -> Self {
        Self {
            difference,
            shape,
            dates: None,
            trust: None,
            bundle,
            size,
            timing,
            before_was_cached,
        }
    }

    /// How far the answers about this pair can be believed; None where the bundle
    /// keeps no statistics of what its model learned.
    pub fn trust(&self) -> Option<Trust> {
        self.trust
    }

    /// Width and height of both pictures.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// What encoding the pair took.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Whether the features of the before-picture came from the cache.
    pub fn before_was_cached(&self) -> bool {
        self.before_was_cached
    }
}
