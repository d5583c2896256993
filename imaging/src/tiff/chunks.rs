//! Samples of a window out of the chunks that it touches.

use std::io::{Read, Seek};

use crate::error::ImageFault;
use crate::ifd::TagFile;
use crate::jpeg::{self, ColourModel};
use crate::tiff::codec;
use crate::tiff::layout::{Layout, Photometric, ifd_fault};
use crate::tiff::raster::{Raster, SampleKind};
use crate::tiff::row;
use crate::tiling::Rect;

/// Bytes of one decompressed row of a chunk.
const MAX_ROW_BYTES: u64 = 256 << 20;
/// Compressed bytes of one chunk.
const MAX_CHUNK_BYTES: u64 = 512 << 20;

/// Reads the given bands (counted from 0) of a window that lies inside the picture.
/// `max_pixels` bounds what one JPEG chunk may decode to.
pub(crate) fn read<R: Read + Seek>(
    file: &mut TagFile<R>,
    layout: &Layout,
    window: Rect,
    bands: &[usize],
    max_pixels: u64,
) -> Result<Raster, ImageFault> {
    row::check_predictor(layout)?;
    if layout.row_bytes() > MAX_ROW_BYTES {
        return Err(ImageFault::damaged("a row of a chunk is too long"));
    }
    let size = layout.kind.bytes();
    let pixel = bands.len() * size;
    let length = window.width as usize * window.height as usize * pixel;
    let mut raster = Raster {
        width: window.width,
        height: window.height,
        bands: bands.len(),
        kind: layout.kind,
        data: vec![0; length],
    };
    let (right, bottom) = (window.x + window.width - 1, window.y + window.height - 1);
    let planes = if layout.is_planar { bands.len() } else { 1 };
    for chunk_row in window.y / layout.chunk_height..=bottom / layout.chunk_height {
        for chunk_column in window.x / layout.chunk_width..=right / layout.chunk_width {
            for plane in 0..planes {
                // Places in the chunk's pixels, and in the raster's.
                let picked: Vec<(usize, usize)> = match layout.is_planar {
                    true => vec![(0, plane)],
                    false => bands.iter().copied().zip(0..).collect(),
                };
                let first = if layout.is_planar { bands[plane] } else { 0 };
                let index = first * layout.chunks_per_plane()
                    + chunk_row as usize * layout.chunks_across()
                    + chunk_column as usize;
                let mut sink = Sink {
                    raster: &mut raster,
                    window,
                    left: chunk_column * layout.chunk_width,
                    top: chunk_row * layout.chunk_height,
                    chunk_width: layout.chunk_width,
                    in_chunk: layout.bands_in_chunk(),
                    picked,
                };
                read_chunk(file, layout, index, chunk_row, max_pixels, &mut sink)?;
            }
        }
    }
    Ok(raster)
}

/// Takes rows of a chunk and copies what belongs into the raster.
struct Sink<'r> {
    raster: &'r mut Raster,
    window: Rect,
    left: u32,
    top: u32,
    chunk_width: u32,
    in_chunk: usize,
    picked: Vec<(usize, usize)>,
}

impl Sink<'_> {
    /// Rows of the chunk that the window needs.
    fn rows(&self, rows_in_chunk: u32) -> std::ops::Range<u32> {
        let end = (self.window.y + self.window.height - self.top).min(rows_in_chunk);
        self.window.y.saturating_sub(self.top).min(end)..end
    }

    fn take(&mut self, row: u32, samples: &[u8]) {
        let size = self.raster.kind.bytes();
        let from = self.window.x.max(self.left);
        let to = (self.window.x + self.window.width).min(self.left + self.chunk_width);
        let y = (self.top + row - self.window.y) as usize;
        let stride = self.raster.bands * size;
        let start = (y * self.window.width as usize + (from - self.window.x) as usize) * stride;
        let out = &mut self.raster.data[start..start + (to - from) as usize * stride];
        let first = (from - self.left) as usize * self.in_chunk * size;
        let input = &samples[first..first + (to - from) as usize * self.in_chunk * size];
        let is_whole =
            self.in_chunk == self.raster.bands && self.picked.iter().all(|(from, to)| from == to);
        if is_whole {
            out.copy_from_slice(input);
            return;
        }
        let pixels = out
            .chunks_exact_mut(stride)
            .zip(input.chunks_exact(self.in_chunk * size));
        for (out, input) in pixels {
            for &(from, to) in &self.picked {
                out[to * size..][..size].copy_from_slice(&input[from * size..][..size]);
            }
        }
    }
}

fn read_chunk<R: Read + Seek>(
    file: &mut TagFile<R>,
    layout: &Layout,
    index: usize,
    chunk_row: u32,
    max_pixels: u64,
    sink: &mut Sink<'_>,
) -> Result<(), ImageFault> {
    let rows_in_chunk = layout.rows_in_chunk(chunk_row);
    let rows = sink.rows(rows_in_chunk);
    let samples = layout.chunk_width as usize * layout.bands_in_chunk();
    let (offset, count) = (layout.offsets[index], layout.byte_counts[index]);
    if offset == 0 || count == 0 {
        // Never written: GDAL leaves out what is empty.
        let empty = empty_row(layout, samples);
        rows.for_each(|row| sink.take(row, &empty));
        return Ok(());
    }
    let row_bytes = layout.row_bytes() as usize;
    if layout.compression == codec::UNCOMPRESSED {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.resize(row_bytes, 0);
            let at = u64::from(row)
                .checked_mul(row_bytes as u64)
                .and_then(|skip| skip.checked_add(offset))
                .ok_or_else(|| ImageFault::damaged("an offset leads beyond the file"))?;
            file.read_at(at, &mut bytes).map_err(ifd_fault)?;
            row::unpack(layout, file.is_little_endian(), &mut bytes, samples);
            sink.take(row, &bytes);
        }
        return Ok(());
    }
    if count > MAX_CHUNK_BYTES
        || offset
            .checked_add(count)
            .is_none_or(|end| end > file.length())
    {
        return Err(ImageFault::damaged("a chunk leads beyond the file"));
    }
    let mut bytes = vec![0; count as usize];
    file.read_at(offset, &mut bytes).map_err(ifd_fault)?;
    if layout.compression == codec::JPEG {
        let decoded = decode_jpeg(layout, &bytes, rows_in_chunk, max_pixels)?;
        for row in rows {
            sink.take(row, &decoded[row as usize * samples..][..samples]);
        }
        return Ok(());
    }
    let mut reader = codec::reader(layout.compression, bytes)?;
    let mut bytes = Vec::new();
    for row in 0..rows.end {
        bytes.resize(row_bytes, 0);
        reader
            .read_exact(&mut bytes)
            .map_err(|source| ImageFault::Damaged {
                problem: "a chunk breaks off or its compression is damaged".to_owned(),
                source: Some(Box::new(source)),
            })?;
        if rows.contains(&row) {
            row::unpack(layout, file.is_little_endian(), &mut bytes, samples);
            sink.take(row, &bytes);
        }
    }
    Ok(())
}

fn decode_jpeg(
    layout: &Layout,
    bytes: &[u8],
    rows: u32,
    max_pixels: u64,
) -> Result<Vec<u8>, ImageFault> {
    let (width, height) = (layout.chunk_width, rows);
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(ImageFault::TooManyPixels {
            width,
            height,
            limit: max_pixels,
        });
    }
    let model = match layout.photometric {
        Photometric::YCbCr if !layout.is_planar => ColourModel::YCbCr,
        _ => ColourModel::Plain,
    };
    let tables = layout.jpeg_tables.as_deref();
    let decoded = jpeg::decode_with(tables, bytes, (width, height), model)?;
    if decoded.components != layout.bands_in_chunk() || layout.bits != 8 {
        return Err(ImageFault::damaged("its headers contradict each other"));
    }
    Ok(decoded.rows)
}

/// A row of the value that means no data, or of zeros.
fn empty_row(layout: &Layout, samples: usize) -> Vec<u8> {
    let value = layout.nodata.unwrap_or(0.0);
    let bytes: Vec<u8> = match layout.kind {
        SampleKind::U8 => (value as u8).to_ne_bytes().to_vec(),
        SampleKind::U16 => (value as u16).to_ne_bytes().to_vec(),
        SampleKind::I16 => (value as i16).to_ne_bytes().to_vec(),
        SampleKind::U32 => (value as u32).to_ne_bytes().to_vec(),
        SampleKind::I32 => (value as i32).to_ne_bytes().to_vec(),
        SampleKind::F32 => (value as f32).to_ne_bytes().to_vec(),
        SampleKind::F64 => value.to_ne_bytes().to_vec(),
    };
    bytes.repeat(samples)
}
