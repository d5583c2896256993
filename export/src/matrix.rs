//! A weight matrix as the graph wants it, assembled from tensors as they are stored.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::source::{SourceFile, Tensor};

/// Rows of equal width, stacked from tensors and computed values. A vector is a
/// matrix of width 1. Nothing is read before [`Matrix::read`].
#[derive(Debug, Clone)]
pub struct Matrix {
    parts: Vec<Part>,
    width: usize,
    columns: Option<Arc<Vec<f32>>>,
    row_factors: Option<Arc<Vec<f32>>>,
}

#[derive(Debug, Clone)]
enum Part {
    Tensor { tensor: Tensor, rows: usize },
    Values { values: Arc<Vec<f32>>, rows: usize },
}

impl Part {
    const fn rows(&self) -> usize {
        match self {
            Self::Tensor { rows, .. } | Self::Values { rows, .. } => *rows,
        }
    }
}

impl Matrix {
    /// A tensor `[rows, width]`, or of more dimensions that multiply to the width.
    ///
    /// # Errors
    /// When the shape is another one; `why` says where the expectation comes from.
    pub fn of(tensor: &Tensor, rows: usize, width: usize, why: &str) -> Result<Self> {
        let shape = tensor.shape();
        if shape.first() != Some(&rows) || shape[1..].iter().product::<usize>() != width {
            return Err(tensor.shape_fault(&[rows, width], why));
        }
        Ok(Self::part(
            Part::Tensor {
                tensor: tensor.clone(),
                rows,
            },
            width,
        ))
    }

    /// The first rows of a tensor that may have more of them.
    ///
    /// # Errors
    /// When the tensor is no matrix of that width with at least that many rows.
    pub fn head(tensor: &Tensor, rows: usize, width: usize, why: &str) -> Result<Self> {
        match tensor.shape() {
            [stored, w] if *stored >= rows && *w == width => Ok(Self::part(
                Part::Tensor {
                    tensor: tensor.clone(),
                    rows,
                },
                width,
            )),
            _ => Err(tensor.shape_fault(&[rows, width], why)),
        }
    }

    /// A vector whose tensor may carry leading dimensions of 1.
    ///
    /// # Errors
    /// When the length is another one.
    pub fn vector(tensor: &Tensor, len: usize, why: &str) -> Result<Self> {
        if tensor.size() != len || tensor.shape().last() != Some(&len) {
            return Err(tensor.shape_fault(&[len], why));
        }
        Ok(Self::part(
            Part::Tensor {
                tensor: tensor.clone(),
                rows: len,
            },
            1,
        ))
    }

    /// Computed values, row by row.
    pub fn values(values: Vec<f32>, width: usize) -> Self {
        let rows = values.len() / width;
        Self::part(
            Part::Values {
                values: Arc::new(values),
                rows,
            },
            width,
        )
    }

    /// Matrices of one width below one another.
    pub fn stack(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().expect("at least one part");
        for part in parts {
            assert_eq!(
                (part.width, &part.columns, &all.columns),
                (all.width, &None, &None)
            );
            all.parts.extend(part.parts);
        }
        all
    }

    fn part(part: Part, width: usize) -> Self {
        Self {
            parts: vec![part],
            width,
            columns: None,
            row_factors: None,
        }
    }

    /// The same matrix with column `k` multiplied by `factors[k]`.
    #[must_use]
    pub fn scale_columns(mut self, factors: Arc<Vec<f32>>) -> Self {
        assert_eq!(factors.len(), self.width);
        self.columns = Some(factors);
        self
    }

    /// The same matrix with row `n` multiplied by `factors[n]`.
    #[must_use]
    pub fn scale_rows(mut self, factors: Arc<Vec<f32>>) -> Self {
        assert_eq!(factors.len(), self.rows());
        self.row_factors = Some(factors);
        self
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(Part::rows).sum()
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.rows() * self.width
    }

    /// Reads rows, replacing the content of `out`.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn read(&self, rows: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        for (part, elements) in self.parts_of(rows.clone()) {
            match part {
                Part::Tensor { tensor, .. } => tensor.read(elements, out)?,
                Part::Values { values, .. } => out.extend_from_slice(&values[elements]),
            }
        }
        if let Some(factors) = &self.columns {
            for row in out.chunks_exact_mut(self.width) {
                row.iter_mut()
                    .zip(factors.iter())
                    .for_each(|(value, factor)| *value *= factor);
            }
        }
        if let Some(factors) = &self.row_factors {
            for (row, factor) in out.chunks_exact_mut(self.width).zip(&factors[rows]) {
                row.iter_mut().for_each(|value| *value *= factor);
            }
        }
        Ok(())
    }

    /// The files that rows come from, each with the byte up to which it is needed.
    pub(crate) fn sources(&self, rows: Range<usize>) -> Vec<(&Arc<SourceFile>, u64)> {
        let parts = self.parts_of(rows);
        parts
            .filter_map(|(part, elements)| match part {
                Part::Tensor { tensor, .. } => Some((tensor.file(), tensor.end_of(elements.end))),
                Part::Values { .. } => None,
            })
            .collect()
    }

    /// The parts that rows lie in, with the elements of each.
    fn parts_of(&self, rows: Range<usize>) -> impl Iterator<Item = (&Part, Range<usize>)> {
        let mut first = 0;
        self.parts.iter().filter_map(move |part| {
            let begins = first;
            first += part.rows();
            let (from, to) = (rows.start.max(begins), rows.end.min(first));
            (from < to).then(|| {
                let elements = (from - begins) * self.width..(to - begins) * self.width;
                (part, elements)
            })
        })
    }

    /// Every element.
    ///
    /// # Errors
    /// As [`Matrix::read`].
    pub fn read_all(&self) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        self.read(0..self.rows(), &mut out)?;
        Ok(out)
    }
}
