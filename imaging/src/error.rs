//! Why an image cannot be used.

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file, or its content, cannot be used.
    #[error("picture {name}: {fault}")]
    Unusable {
        /// The file, or what the caller called it.
        name: String,
        /// What is wrong with it, and the remedy.
        #[source]
        fault: ImageFault,
    },
    /// The number of bytes does not fit the size, or a side is 0.
    #[error(
        "picture {name}: {bytes} bytes do not make {width}x{height} pixels; pass three bytes a pixel for RGB, one for grey"
    )]
    BufferSize {
        /// What the caller called it.
        name: String,
        /// Bytes that were passed.
        bytes: usize,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A file cannot be written.
    #[error("{name}: {source}")]
    Unwritable {
        /// The file.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Tiles that never advance over a frame.
    #[error(
        "tiles of {tile} pixels with an overlap of {overlap} never cover a frame; use an overlap below the tile"
    )]
    TileOverlap {
        /// Side of a tile in pixels.
        tile: u32,
        /// Pixels that neighbours share.
        overlap: u32,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// The file cannot be read.
    #[error("{0}; check the path")]
    Unreadable(#[source] std::io::Error),
    /// The file has no content.
    #[error("the file is empty; fetch it again")]
    Empty,
    /// The content is none of the formats that are read.
    #[error("not a PNG, JPEG, TIFF, WebP, BMP or GIF picture; convert it to one of these")]
    UnknownFormat,
    /// The content breaks off or contradicts itself.
    #[error("damaged: {problem}; fetch it again")]
    Damaged {
        /// What the decoder met.
        problem: String,
        /// The decoder's own error, where it has one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A colour model that has no single meaning as RGB.
    #[error("its colours are {0}; convert it to 8-bit RGB")]
    UnsupportedColour(String),
    /// More pixels than the limit allows.
    #[error("{width}x{height} is over the limit of {limit} pixels; crop it or raise the limit")]
    TooManyPixels {
        /// Width that the header states.
        width: u32,
        /// Height that the header states.
        height: u32,
        /// [`max_pixels`](crate::DecodeOptions::max_pixels) in force.
        limit: u64,
    },
    /// More bytes than the limit allows.
    #[error("{bytes} bytes are over the limit of {limit}; recompress it or raise the limit")]
    TooManyBytes {
        /// Size of the file.
        bytes: u64,
        /// [`max_bytes`](crate::DecodeOptions::max_bytes) in force.
        limit: u64,
    },
    /// A side of length zero.
    #[error("it has no pixels")]
    NoPixels,
    /// A band that was asked for is not there.
    #[error("it has {bands} bands, so there is no band {band}; name bands from 1 to {bands}")]
    NoBand {
        /// The band that was asked for, counted from 1.
        band: u16,
        /// Bands of the file.
        bands: usize,
    },
    /// Numbers that have no white of their own.
    #[error(
        "its values are {0}, which have no white of their own; state the value that is white (and the one that is black)"
    )]
    Unscaled(&'static str),
    /// A window that reaches outside the picture, or a level that is not there.
    #[error("the window {0} lies outside; ask for a part of the picture")]
    Outside(String),
}

impl ImageFault {
    /// Damage that a decoder of this crate met.
    pub(crate) fn damaged(problem: &str) -> Self {
        Self::Damaged {
            problem: problem.to_owned(),
            source: None,
        }
    }
}
