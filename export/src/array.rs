//! Dense row-major arrays, the values of the reference interpreter.

/// A tensor in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub values: Values,
}

/// The elements of an [`Array`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

impl Array {
    /// An array of f32.
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self {
            shape: shape.to_vec(),
            values: Values::F32(values),
        }
    }

    /// An array of int64.
    pub fn i64(shape: &[usize], values: Vec<i64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self {
            shape: shape.to_vec(),
            values: Values::I64(values),
        }
    }

    /// The f32 elements.
    ///
    /// # Panics
    /// When the array holds integers.
    pub fn floats(&self) -> &[f32] {
        match &self.values {
            Values::F32(values) => values,
            Values::I64(_) => panic!("integers where numbers belong"),
        }
    }

    /// The int64 elements.
    ///
    /// # Panics
    /// When the array holds numbers.
    pub fn integers(&self) -> &[i64] {
        match &self.values {
            Values::I64(values) => values,
            Values::F32(_) => panic!("numbers where integers belong"),
        }
    }
}
