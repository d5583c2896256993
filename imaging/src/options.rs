//! How a file is decoded.

/// What decoding an image may cost, and what its values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Width times height.
    pub max_pixels: u64,
    /// Size of the file.
    pub max_bytes: u64,
    /// The value of 16-bit channels that is white: values are scaled so that it becomes
    /// 255. Both images of a pair are read with the same one, or equal ground would
    /// look changed. `None` keeps the upper eight bits, as Pillow does with 16-bit
    /// colour; a grey image without a value above 255 is taken as it is. `Some(255)`
    /// clips as Pillow does with 16-bit grey.
    pub white: Option<u16>,
}

impl Default for DecodeOptions {
    /// 120 megapixels and 512 MiB: a large frame, but no decompression bomb.
    fn default() -> Self {
        Self {
            max_pixels: 120_000_000,
            max_bytes: 512 << 20,
            white: None,
        }
    }
}
