//! Why a frame cannot be surveyed.

use deltavlm_imaging::ImageError;

/// Error of [`survey`](crate::survey()).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The registered frame and its reference are not on one grid.
    #[error(
        "the registered frame has {after:?} pixels and its reference {before:?}: both must lie on one grid"
    )]
    SizesDiffer {
        /// Of the reference.
        before: (u32, u32),
        /// Of the frame.
        after: (u32, u32),
    },
    /// Too coarse for the tiles that the model was made for.
    #[error(
        "off scale: a pixel is {ground_m_per_px:.2} m on the ground, so that a tile of {tile_m:.0} m has \
         {pixels} pixels a side; at least {least} are needed: fly lower, or ask for larger tiles"
    )]
    OffScale {
        /// Ground metres per pixel.
        ground_m_per_px: f64,
        /// Side of a tile on the ground.
        tile_m: f64,
        /// Side of a tile in pixels.
        pixels: u32,
        /// Fewest pixels of a side.
        least: u32,
    },
    /// A setting that means nothing.
    #[error("{0}")]
    Setting(String),
    /// A tile could not be cut.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The model could not answer.
    #[error(transparent)]
    Model(#[from] deltavlm_runtime::Error),
}
