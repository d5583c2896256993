//! The plan of a weights file: what lies where, before a byte of it is computed.
//!
//! Sizes follow from shapes and precisions alone, so every graph, the free-space
//! check and the work for all cores are known before the first tensor is read.

use std::ops::Range;
use std::sync::Arc;

use deltavlm_bundle::ElementType;
use deltavlm_kernels::{BLOCK, Bits};

use crate::matrix::Matrix;

/// Alignment of every tensor in a weights file.
const ALIGNMENT: u64 = 64;
/// Alignment of a tensor larger than [`LARGE`]: a page, so that it can be mapped alone.
const PAGE: u64 = 4096;
const LARGE: u64 = 1 << 20;

/// A weights file to be written.
#[derive(Debug, Default)]
pub struct WeightsLayout {
    items: Vec<WeightEntry>,
    gaps: Vec<Range<u64>>,
    len: u64,
    parameters: u64,
}

/// One matrix of a weights file and the form in which it is stored.
#[derive(Debug, Clone)]
pub struct WeightEntry {
    /// The name of its initializer.
    pub name: String,
    /// How much an error in each column matters, where calibration has told.
    pub importance: Option<Arc<Vec<f32>>>,
    /// The values.
    pub matrix: Matrix,
    /// Their form and place.
    pub form: Encoding,
}

/// How a matrix is stored, with offsets in the file.
#[derive(Debug, Clone, Copy)]
pub enum Encoding {
    /// Row by row.
    Rows(ElementType, u64),
    /// Transposed, as `MatMul` wants its right side.
    Columns(ElementType, u64),
    /// Blocks of 32 along each row: packed codes, and f16 scales.
    Blocks {
        /// Width of a code.
        bits: Bits,
        /// Where the codes begin.
        codes: u64,
        /// Where the scales begin.
        scales: u64,
    },
}

impl WeightsLayout {
    /// Adds a matrix row by row; returns its offset and size.
    pub fn rows(&mut self, name: &str, matrix: Matrix, element: ElementType) -> (u64, u64) {
        let place = self.place(matrix.size() as u64 * bytes_of(element));
        self.push(name, matrix, Encoding::Rows(element, place.0));
        place
    }

    /// Adds a matrix transposed; returns its offset and size.
    pub fn columns(&mut self, name: &str, matrix: Matrix, element: ElementType) -> (u64, u64) {
        let place = self.place(matrix.size() as u64 * bytes_of(element));
        self.push(name, matrix, Encoding::Columns(element, place.0));
        place
    }

    /// Adds a quantised matrix; returns offset and size of its codes and of its scales.
    pub fn blocks(&mut self, name: &str, matrix: Matrix, bits: Bits) -> [(u64, u64); 2] {
        let blocks = (matrix.size() / BLOCK) as u64;
        let codes = self.place(blocks * bits.block_bytes() as u64);
        let scales = self.place(blocks * 2);
        let form = Encoding::Blocks {
            bits,
            codes: codes.0,
            scales: scales.0,
        };
        self.push(name, matrix, form);
        [codes, scales]
    }

    /// What is to be written.
    pub fn items(&self) -> &[WeightEntry] {
        &self.items
    }

    /// Tells how much an error in each column matters, by the weight's name.
    pub fn set_importance(&mut self, of: impl Fn(&str) -> Option<Arc<Vec<f32>>>) {
        for item in &mut self.items {
            let blocks = matches!(item.form, Encoding::Blocks { .. });
            item.importance = of(&item.name)
                .filter(|_| blocks)
                .filter(|columns| columns.len() == item.matrix.width());
        }
    }

    /// The bytes between items, in no order.
    pub fn gaps(&self) -> Vec<Range<u64>> {
        self.gaps.clone()
    }

    /// Whether calibration told something about any weight that is quantised.
    pub fn is_calibrated(&self) -> bool {
        self.items.iter().any(|item| item.importance.is_some())
    }

    /// Size of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of weights, before quantisation.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    fn push(&mut self, name: &str, matrix: Matrix, form: Encoding) {
        self.parameters += matrix.size() as u64;
        self.items.push(WeightEntry {
            name: name.to_owned(),
            importance: None,
            matrix,
            form,
        });
    }

    fn place(&mut self, bytes: u64) -> (u64, u64) {
        let alignment = if bytes > LARGE { PAGE } else { ALIGNMENT };
        let offset = self.len.next_multiple_of(alignment);
        if offset > self.len {
            self.gaps.push(self.len..offset);
        }
        self.len = offset + bytes;
        (offset, bytes)
    }
}

const fn bytes_of(element: ElementType) -> u64 {
    match element {
        ElementType::F32 => 4,
        ElementType::F16 => 2,
    }
}
