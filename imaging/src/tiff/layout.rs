//! How one directory stores a picture: size, samples, chunks.

use std::io::{Read, Seek};

use crate::error::ImageFault;
use crate::ifd::{Directory, IfdError, TagFile};
use crate::tiff::raster::SampleKind;

/// Bands of one file; hyperspectral pictures have a few hundred.
const MAX_BANDS: u64 = 1024;
/// Chunks of one picture: what a value of a tag may hold at 8 bytes each.
const MAX_CHUNKS: u64 = 2 << 20;

/// What the numbers of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Mask,
    Cmyk,
    YCbCr,
}

/// What a directory says about its picture.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bands: usize,
    pub(crate) bits: u32,
    pub(crate) kind: SampleKind,
    pub(crate) photometric: Photometric,
    pub(crate) compression: u64,
    pub(crate) predictor: u64,
    /// Each band in chunks of its own.
    pub(crate) is_planar: bool,
    pub(crate) chunk_width: u32,
    pub(crate) chunk_height: u32,
    pub(crate) is_tiled: bool,
    pub(crate) offsets: Vec<u64>,
    pub(crate) byte_counts: Vec<u64>,
    /// What each band beyond the colours is: 1 and 2 are alpha.
    pub(crate) extra_samples: Vec<u64>,
    pub(crate) jpeg_tables: Option<Vec<u8>>,
    /// Red, green and blue of each index, upper eight bits.
    pub(crate) palette: Vec<[u8; 3]>,
    pub(crate) nodata: Option<f64>,
    /// As in EXIF, 1 to 8.
    pub(crate) orientation: u8,
    /// Bit 0: a smaller version of another picture; bit 2: a mask.
    pub(crate) subfile: u64,
}

pub(crate) fn ifd_fault(error: IfdError) -> ImageFault {
    match error {
        IfdError::Io(source) => ImageFault::Unreadable(source),
        IfdError::Malformed(problem) => ImageFault::damaged(problem),
    }
}

pub(crate) fn unsupported(what: impl Into<String>) -> ImageFault {
    ImageFault::UnsupportedColour(what.into())
}

impl Layout {
    pub(crate) fn read<R: Read + Seek>(
        file: &mut TagFile<R>,
        directory: &Directory,
    ) -> Result<Self, ImageFault> {
        let mut integer = |tag| file.integer(directory, tag).map_err(ifd_fault);
        let missing = |what| move || ImageFault::damaged(what);
        let side = |value: Option<u64>, what| -> Result<u32, ImageFault> {
            match value.ok_or_else(missing(what))? {
                0 => Err(ImageFault::NoPixels),
                value => u32::try_from(value)
                    .ok()
                    .filter(|&side| side <= i32::MAX as u32)
                    .ok_or_else(missing(what)),
            }
        };
        let width = side(integer(256)?, "its width is missing or impossible")?;
        let height = side(integer(257)?, "its height is missing or impossible")?;
        let compression = integer(259)?.unwrap_or(1);
        let photometric = integer(262)?;
        let orientation = match integer(274)? {
            Some(value @ 1..=8) => value as u8,
            _ => 1,
        };
        let bands = integer(277)?.unwrap_or(1);
        if bands == 0 || bands > MAX_BANDS {
            return Err(unsupported(format!("in {bands} bands")));
        }
        let is_planar = integer(284)? == Some(2) && bands > 1;
        let predictor = integer(317)?.unwrap_or(1);
        let fill_order = integer(266)?.unwrap_or(1);
        if fill_order != 1 {
            return Err(unsupported("stored with reversed bits"));
        }
        let subfile = integer(254)?.unwrap_or(0);
        let rows_per_strip = integer(278)?;
        let (tile_width, tile_height) = (integer(322)?, integer(323)?);

        let mut integers = |tag| file.integers(directory, tag).map_err(ifd_fault);
        let all_alike = |values: Vec<u64>| -> Option<u64> {
            let first = *values.first()?;
            values.iter().all(|&value| value == first).then_some(first)
        };
        let bits = match integers(258)? {
            None => 1,
            Some(bits) => all_alike(bits).ok_or_else(|| unsupported("of uneven depths"))?,
        };
        let format = match integers(339)? {
            None => 1,
            Some(formats) => all_alike(formats).ok_or_else(|| unsupported("of mixed types"))?,
        };
        let kind = SampleKind::of(bits, format)
            .ok_or_else(|| unsupported(format!("{bits}-bit numbers of type {format}")))?;
        let extra_samples = integers(338)?.unwrap_or_default();

        let is_tiled = tile_width.is_some();
        let (chunk_width, chunk_height) = if is_tiled {
            (
                side(tile_width, "its tiles have an impossible width")?,
                side(tile_height, "its tiles have an impossible height")?,
            )
        } else {
            let rows = rows_per_strip.unwrap_or(u64::from(height));
            let rows = rows.clamp(1, u64::from(height)) as u32;
            (width, rows)
        };
        let across = u64::from(width.div_ceil(chunk_width));
        let down = u64::from(height.div_ceil(chunk_height));
        let planes = if is_planar { bands } else { 1 };
        let chunks = across * down * planes;
        let (offsets, byte_counts) = if is_tiled {
            (integers(324)?, integers(325)?)
        } else {
            (integers(273)?, integers(279)?)
        };
        let offsets = offsets.ok_or_else(missing("it has no table of its chunks"))?;
        let byte_counts = match byte_counts {
            Some(counts) => counts,
            // Old writers left them out where nothing is compressed.
            None if compression == 1 && chunks == 1 => vec![u64::MAX],
            None => return Err(ImageFault::damaged("it has no table of its chunks' sizes")),
        };
        if chunks > MAX_CHUNKS
            || (offsets.len() as u64) < chunks
            || (byte_counts.len() as u64) < chunks
        {
            return Err(ImageFault::damaged("its table of chunks is too short"));
        }

        let photometric = match photometric {
            Some(0) => Photometric::WhiteIsZero,
            Some(1) | None => Photometric::BlackIsZero,
            Some(2) => Photometric::Rgb,
            Some(3) => Photometric::Palette,
            Some(4) => Photometric::Mask,
            Some(5) => Photometric::Cmyk,
            Some(6) => Photometric::YCbCr,
            Some(8) => return Err(unsupported("CIE L*a*b*")),
            Some(other) => return Err(unsupported(format!("of kind {other}"))),
        };
        let jpeg_tables = file.bytes(directory, 347).map_err(ifd_fault)?;
        let palette = match photometric {
            Photometric::Palette => {
                let map = file
                    .integers(directory, 320)
                    .map_err(ifd_fault)?
                    .ok_or_else(missing("its palette is missing"))?;
                let third = map.len() / 3;
                (0..third)
                    .map(|i| [0, 1, 2].map(|c| (map[c * third + i] >> 8) as u8))
                    .collect()
            }
            _ => Vec::new(),
        };
        // GDAL's own tag; a text because it serves every type of number.
        let nodata = file
            .text(directory, 42_113)
            .map_err(ifd_fault)?
            .and_then(|text| text.parse().ok());
        Ok(Self {
            width,
            height,
            bands: bands as usize,
            bits: bits as u32,
            kind,
            photometric,
            compression,
            predictor,
            is_planar,
            chunk_width,
            chunk_height,
            is_tiled,
            offsets,
            byte_counts,
            extra_samples,
            jpeg_tables,
            palette,
            nodata,
            orientation,
            subfile,
        })
    }

    /// Chunks in a row of chunks.
    pub(crate) fn chunks_across(&self) -> usize {
        self.width.div_ceil(self.chunk_width) as usize
    }

    /// Chunks of one plane.
    pub(crate) fn chunks_per_plane(&self) -> usize {
        self.chunks_across() * self.height.div_ceil(self.chunk_height) as usize
    }

    /// Bands that lie side by side in a chunk.
    pub(crate) fn bands_in_chunk(&self) -> usize {
        if self.is_planar { 1 } else { self.bands }
    }

    /// Rows that a chunk really holds: the last strip is shorter, the last tile is not.
    pub(crate) fn rows_in_chunk(&self, chunk_row: u32) -> u32 {
        if self.is_tiled {
            self.chunk_height
        } else {
            self.chunk_height
                .min(self.height - chunk_row * self.chunk_height)
        }
    }

    /// Bytes of a row of a chunk, padded to whole bytes.
    pub(crate) fn row_bytes(&self) -> u64 {
        (u64::from(self.chunk_width) * self.bands_in_chunk() as u64 * u64::from(self.bits))
            .div_ceil(8)
    }

    /// The band that says how opaque a pixel is.
    pub(crate) fn alpha(&self) -> Option<usize> {
        let first = self.bands.checked_sub(self.extra_samples.len())?;
        let at = self
            .extra_samples
            .iter()
            .position(|&e| matches!(e, 1 | 2))?;
        Some(first + at)
    }
}
