//! Pictures, coarse first.

use serde::{Deserialize, Serialize};

use crate::QueryId;

/// The most picture bytes that one [`PreviewPart`] holds.
pub const MAX_PREVIEW_DATA: usize = 960;

/// Ask for a picture of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreviewRequest {
    /// Comes back in every [`PreviewPart`].
    pub id: QueryId,
    /// The tile, as the operator numbers them.
    pub tile: u32,
    /// Which picture.
    pub picture: PreviewImage,
    /// The finest level wanted; level `n` is `32 << n` pixels a side. All coarser ones come first.
    pub level: u8,
}

/// Which picture of a pair. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum PreviewImage {
    /// The earlier one.
    Before,
    /// The later one.
    After,
    /// Where they differ.
    Difference,
}

/// Part of one level of a picture. Parts may come in any order; `offset` says where one belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewPart {
    /// The id of the request.
    pub query: QueryId,
    /// Which picture.
    pub picture: PreviewImage,
    /// Level `n` is `32 << n` pixels a side.
    pub level: u8,
    /// How the bytes of this level are to be read.
    pub format: PreviewFormat,
    /// All bytes of this level.
    pub total: u32,
    /// Where `data` begins among them.
    pub offset: u32,
    /// At most [`MAX_PREVIEW_DATA`] bytes.
    #[serde(with = "as_bytes")]
    pub data: heapless::Vec<u8, MAX_PREVIEW_DATA>,
}

/// How the bytes of a level are to be read. Numbers are frozen in the order listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PreviewFormat {
    /// One byte a pixel, row by row.
    Gray8,
    /// Three bytes a pixel, row by row.
    Rgb8,
    /// A JPEG file.
    Jpeg,
    /// A PNG file.
    Png,
}

mod as_bytes {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        data: &heapless::Vec<u8, N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(data)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<heapless::Vec<u8, N>, D::Error> {
        struct Bytes<const N: usize>;

        impl<const N: usize> Visitor<'_> for Bytes<N> {
            type Value = heapless::Vec<u8, N>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "at most {N} bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                heapless::Vec::from_slice(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}
