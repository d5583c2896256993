//! A tensor that stays in its file until rows of it are asked for.

use std::ops::Range;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::file::SourceFile;
use crate::{Error, Result};

/// Bytes that are converted while they are in the cache.
const PIECE: usize = 256 << 10;
/// A tensor that is stored in an unusual order is read whole; larger ones are refused.
const MAX_SCATTERED: usize = 64 << 20;

/// Type of a stored element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// An integer or boolean of that many bytes: indices and flags, never weights.
    Other(usize),
}

impl Element {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(size) => size,
        }
    }
}

/// A run of bytes in a file. Reading compares no checksum: that takes all bytes
/// and is done once, in the pass that hashes the file.
#[derive(Debug)]
pub struct Storage {
    /// The file.
    pub file: Arc<SourceFile>,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// CRC-32 of the bytes, where the container records one.
    pub crc: Option<u32>,
}

impl Storage {
    /// A run of bytes.
    pub fn new(file: Arc<SourceFile>, offset: u64, bytes: u64, crc: Option<u32>) -> Self {
        Self {
            file,
            offset,
            bytes,
            crc,
        }
    }
}

/// A tensor of a weight file.
#[derive(Debug, Clone)]
pub struct Tensor {
    key: String,
    shape: Vec<usize>,
    strides: Vec<usize>,
    element: Element,
    start: usize,
    storage: Arc<Storage>,
}

impl Tensor {
    /// A view of a storage; offset and strides count elements.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the view reaches outside the storage.
    pub fn new(
        key: &str,
        element: Element,
        shape: Vec<usize>,
        strides: Vec<usize>,
        start: usize,
        storage: Arc<Storage>,
    ) -> Result<Self> {
        let tensor = Self {
            key: key.to_owned(),
            shape,
            strides,
            element,
            start,
            storage,
        };
        let last = tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .try_fold(tensor.start, |at, (&d, &s)| {
                at.checked_add(d.saturating_sub(1).checked_mul(s)?)
            });
        let size = tensor
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d));
        let held = tensor.storage.bytes / element.size() as u64;
        match (last, size) {
            (Some(_), Some(0)) => Err(tensor.fault("has no elements")),
            (Some(last), Some(_))
                if (last as u64) < held && tensor.shape.len() == tensor.strides.len() =>
            {
                Ok(tensor)
            }
            _ => Err(tensor.fault(format!(
                "shape {:?} reaches outside its storage of {held} elements",
                tensor.shape
            ))),
        }
    }

    /// The key in its file.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The file that holds it.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.storage.file
    }

    /// The bytes behind it, which other tensors may share.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Where in its file the bytes of the first `elements` elements end.
    pub(crate) fn end_of(&self, elements: usize) -> u64 {
        if self.is_contiguous() {
            self.storage.offset + ((self.start + elements) * self.element.size()) as u64
        } else {
            self.storage.offset + self.storage.bytes
        }
    }

    /// An error about this tensor.
    pub fn fault(&self, problem: impl Into<String>) -> Error {
        Error::Tensor {
            path: self.storage.file.path().to_owned(),
            key: self.key.clone(),
            problem: problem.into(),
        }
    }

    /// The shape error of this tensor.
    pub fn shape_fault(&self, expected: &[usize], why: &str) -> Error {
        Error::Shape {
            path: self.storage.file.path().to_owned(),
            key: self.key.clone(),
            found: self.shape.clone(),
            expected: expected.to_vec(),
            why: if why.is_empty() {
                String::new()
            } else {
                format!(" ({why})")
            },
        }
    }

    /// Asks for a shape.
    ///
    /// # Errors
    /// [`Error::Shape`] names both.
    pub fn expect(&self, expected: &[usize], why: &str) -> Result<()> {
        if self.shape == expected {
            Ok(())
        } else {
            Err(self.shape_fault(expected, why))
        }
    }

    /// The elements `range` in row-major order, appended to `out` as f32.
    ///
    /// # Errors
    /// When the file is damaged or the values are not finite numbers.
    pub fn read(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        assert!(range.end <= self.size(), "rows outside the tensor");
        if matches!(self.element, Element::Other(_)) {
            return Err(self.fault("holds integers where weights are expected"));
        }
        if self.is_contiguous() {
            self.read_run(self.start + range.start, range.len(), out)
        } else {
            self.read_scattered(range, out)
        }
    }

    /// Every element as f32.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    pub fn values(&self) -> Result<Vec<f32>> {
        let mut out = Vec::with_capacity(self.size());
        self.read(0..self.size(), &mut out)?;
        Ok(out)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&dimension, &stride)| {
                let fits = dimension == 1 || stride == expected;
                expected *= dimension;
                fits
            })
    }

    fn read_run(&self, first: usize, count: usize, out: &mut Vec<f32>) -> Result<()> {
        let size = self.element.size();
        let mut bytes = vec![0; (count * size).min(PIECE)];
        let from = out.len();
        out.resize(from + count, 0.0);
        let mut at = self.storage.offset + (first * size) as u64;
        for values in out[from..].chunks_mut(PIECE / size) {
            let bytes = &mut bytes[..values.len() * size];
            self.storage.file.read_at(at, bytes)?;
            at += bytes.len() as u64;
            convert(self.element, bytes, values);
            // All of them, not up to the first: that compiles to vectors.
            if !values
                .iter()
                .fold(true, |finite, value| finite & value.is_finite())
            {
                return Err(self.fault("holds a value that is not a finite number; the file is damaged or the training diverged"));
            }
        }
        Ok(())
    }

    fn read_scattered(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let span = 1 + self
            .shape
            .iter()
            .zip(&self.strides)
            .map(|(&d, &s)| (d - 1) * s)
            .sum::<usize>();
        if span > MAX_SCATTERED {
            return Err(
                self.fault("is stored in an unusual order; call `.contiguous()` before saving it")
            );
        }
        let mut stored = Vec::new();
        self.read_run(self.start, span, &mut stored)?;
        for index in range {
            let mut rest = index;
            let mut at = 0;
            for (&dimension, &stride) in self.shape.iter().zip(&self.strides).rev() {
                at += rest % dimension * stride;
                rest /= dimension;
            }
            out.push(stored[at]);
        }
        Ok(())
    }
}

fn convert(element: Element, bytes: &[u8], out: &mut [f32]) {
    match element {
        Element::F32 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*raw);
            }
        }
        Element::F64 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *value = f64::from_le_bytes(*raw) as f32;
            }
        }
        Element::Bf16 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(*raw).to_f32();
            }
        }
        Element::F16 => {
            let mut halves = [f16::ZERO; 1024];
            for (values, raw) in out.chunks_mut(1024).zip(bytes.chunks(2048)) {
                for (half, raw) in halves.iter_mut().zip(raw.as_chunks::<2>().0) {
                    *half = f16::from_le_bytes(*raw);
                }
                halves[..values.len()].convert_to_f32_slice(values);
            }
        }
        Element::Other(_) => unreachable!("integers are refused before"),
    }
}
