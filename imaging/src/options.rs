//! How a file is decoded.

/// What decoding an image may cost, and what its values mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeOptions {
    /// Width times height.
    pub max_pixels: u64,
    /// Size of a file that is read whole; windows of a TIFF are not.
    pub max_bytes: u64,
    /// Bands of a TIFF that are red, green and blue, counted from 1: `[3, 2, 1]` for
    /// files in the order blue, green, red, near infrared. `None` takes the first three.
    pub bands: Option<[u16; 3]>,
    /// The value that is black where [`white`](Self::white) is stated; 0 by default.
    pub black: Option<f64>,
    /// The value of channels deeper than 8 bits that is white: values are scaled so that
    /// it becomes 255. Both images of a pair are read with the same one, or equal ground
    /// would look changed. `None` keeps the upper eight bits of 16-bit values, as Pillow
    /// does with 16-bit colour; a grey image without a value above 255 is taken as it is.
    /// `Some(255.0)` clips as Pillow does with 16-bit grey. Signed, 32-bit and
    /// floating-point values have no white of their own and are refused without one.
    pub white: Option<f64>,
    /// The value that means *no data* where all bands of a pixel have it; what a TIFF
    /// says of itself (GDAL's tag) is used otherwise.
    pub nodata: Option<f64>,
    /// Black and white measured on each image by itself. Off by default: it makes dull
    /// ground look changed, because each date is stretched by other values.
    pub stretch: Option<Stretch>,
}

/// Percentiles of an image's valid values that become black and white; the same for all
/// bands, so that colours stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Percentile that becomes black, 0 to 100.
    pub low: f64,
    /// Percentile that becomes white, above `low`.
    pub high: f64,
}

impl Default for DecodeOptions {
    /// 120 megapixels and 512 MiB: a large frame, but no decompression bomb.
    fn default() -> Self {
        Self {
            max_pixels: 120_000_000,
            max_bytes: 512 << 20,
            bands: None,
            black: None,
            white: None,
            nodata: None,
            stretch: None,
        }
    }
}
