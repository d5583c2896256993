//! Samples as a file stores them, before anything is made of them.

/// The type of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SampleKind {
    /// Up to 8 bits, unsigned.
    U8,
    /// 9 to 16 bits, unsigned.
    U16,
    /// 16 bits, signed.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    I32,
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
}

impl SampleKind {
    /// By the numbers of TIFF's tags BitsPerSample and SampleFormat.
    pub(crate) fn of(bits: u64, format: u64) -> Option<Self> {
        Some(match (bits, format) {
            (1..=8, 1 | 4) => Self::U8,
            (9..=16, 1 | 4) => Self::U16,
            (16, 2) => Self::I16,
            (32, 1 | 4) => Self::U32,
            (32, 2) => Self::I32,
            (32, 3) => Self::F32,
            (64, 3) => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one sample in a [`Raster`].
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// A window of samples, row by row, the bands of a pixel side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bands: usize,
    pub(crate) kind: SampleKind,
    /// In the byte order of this machine.
    pub(crate) data: Vec<u8>,
}

impl Raster {
    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Bands of a pixel.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// The type of the samples.
    pub fn kind(&self) -> SampleKind {
        self.kind
    }

    /// The samples in the byte order of this machine.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// One sample.
    ///
    /// # Panics
    /// When it lies outside.
    pub fn get(&self, x: u32, y: u32, band: usize) -> f64 {
        assert!(
            x < self.width && y < self.height && band < self.bands,
            "a sample outside"
        );
        self.sample((y as usize * self.width as usize + x as usize) * self.bands + band)
    }

    /// The sample at this place in reading order.
    pub(crate) fn sample(&self, index: usize) -> f64 {
        fn at<const N: usize>(data: &[u8], index: usize) -> [u8; N] {
            let mut bytes = [0; N];
            bytes.copy_from_slice(&data[index * N..][..N]);
            bytes
        }
        let data = &self.data;
        match self.kind {
            SampleKind::U8 => f64::from(data[index]),
            SampleKind::U16 => f64::from(u16::from_ne_bytes(at(data, index))),
            SampleKind::I16 => f64::from(i16::from_ne_bytes(at(data, index))),
            SampleKind::U32 => f64::from(u32::from_ne_bytes(at(data, index))),
            SampleKind::I32 => f64::from(i32::from_ne_bytes(at(data, index))),
            SampleKind::F32 => f64::from(f32::from_ne_bytes(at(data, index))),
            SampleKind::F64 => f64::from_ne_bytes(at(data, index)),
        }
    }
}
