//! Nodes that have weights: linear maps, convolutions and looked-up tables, each
//! stored as its precision says.

use deltavlm_bundle::{ElementType, Precision};
use deltavlm_kernels::{BLOCK, Bits};

use super::{GraphBuilder, MICROSOFT, QuantPolicy, data_type};
use crate::matrix::Matrix;
use crate::onnx::{Attribute, DataType};

/// How the weights of a linear map are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As numbers.
    Dense(ElementType),
    /// As codes and scales.
    Blocks(Bits),
}

/// The form of a linear map's weights. Rows that are not whole blocks stay f16.
pub fn stored_as(precision: Precision, keep: QuantPolicy, inputs: usize) -> Stored {
    match precision {
        Precision::F32 => Stored::Dense(ElementType::F32),
        Precision::F16 => Stored::Dense(ElementType::F16),
        _ if !inputs.is_multiple_of(BLOCK) => Stored::Dense(ElementType::F16),
        Precision::Int4 if keep == QuantPolicy::Segment => Stored::Blocks(Bits::Four),
        Precision::Int4 | Precision::Int8 => Stored::Blocks(Bits::Eight),
    }
}

impl GraphBuilder {
    /// Rows of a large table: stored as f16 unless the segment is f32, looked up,
    /// then converted.
    pub fn lookup(&mut self, name: &str, matrix: Matrix, ids: &str) -> String {
        let element = if self.precision == Precision::F32 {
            ElementType::F32
        } else {
            ElementType::F16
        };
        let dims = [matrix.rows(), matrix.width()];
        let weight = format!("{name}.weight");
        let place = self.layout.rows(&weight, matrix, element);
        self.external(&weight, data_type(element), &dims, place);
        let rows = self.op(
            "Gather",
            name,
            &[&weight, ids],
            vec![Attribute::int("axis", 0)],
        );
        if element == self.element() {
            rows
        } else {
            self.cast_to_compute(&format!("{name}.wide"), &rows)
        }
    }

    /// `x` times the transposed weight, plus the bias.
    pub fn linear(
        &mut self,
        name: &str,
        x: &str,
        weight: Matrix,
        bias: Option<Matrix>,
        keep: QuantPolicy,
    ) -> String {
        let (outputs, inputs) = (weight.rows(), weight.width());
        let product = match stored_as(self.precision, keep, inputs) {
            Stored::Dense(element) => self.dense(name, x, weight, element),
            Stored::Blocks(bits) => self.blocks(name, x, weight, bits),
        };
        let Some(bias) = bias else { return product };
        assert_eq!(bias.size(), outputs, "{name}");
        let vector = self.table(&format!("{name}.bias"), bias, &[outputs]);
        self.op(
            "Add",
            &format!("{name}.add_bias"),
            &[&product, &vector],
            vec![],
        )
    }

    fn dense(&mut self, name: &str, x: &str, weight: Matrix, element: ElementType) -> String {
        let dims = [weight.width(), weight.rows()];
        let mut value = format!("{name}.weight");
        let place = self.layout.columns(&value, weight, element);
        self.external(&value, data_type(element), &dims, place);
        if element != self.element() {
            value = self.cast_to_compute(&format!("{value}.wide"), &value);
        }
        self.op("MatMul", name, &[x, &value], vec![])
    }

    /// A convolution, or its transpose, of square kernels; its weights are never in
    /// blocks. `(stride, padding)` hold for both axes.
    #[allow(clippy::too_many_arguments, reason = "what a convolution is")]
    pub fn convolution(
        &mut self,
        op: &str,
        name: &str,
        x: &str,
        weight: Matrix,
        dims: &[usize],
        bias: Option<Matrix>,
        (stride, padding): (usize, usize),
    ) -> String {
        let kernel = self.kernel(&format!("{name}.weight"), weight, dims);
        self.convolve(op, name, x, &kernel, dims, bias, (stride, padding))
    }

    /// The kernels of a convolution, for several of them to share.
    pub fn kernel(&mut self, name: &str, weight: Matrix, dims: &[usize]) -> String {
        let element = if self.precision == Precision::F32 {
            ElementType::F32
        } else {
            ElementType::F16
        };
        let place = self.layout.rows(name, weight, element);
        self.external(name, data_type(element), dims, place);
        if element == self.element() {
            name.to_owned()
        } else {
            self.cast_to_compute(&format!("{name}.wide"), name)
        }
    }

    /// As [`GraphBuilder::convolution`], with kernels of [`GraphBuilder::kernel`].
    #[allow(clippy::too_many_arguments, reason = "what a convolution is")]
    pub fn convolve(
        &mut self,
        op: &str,
        name: &str,
        x: &str,
        kernel: &str,
        dims: &[usize],
        bias: Option<Matrix>,
        (stride, padding): (usize, usize),
    ) -> String {
        let mut inputs = vec![x.to_owned(), kernel.to_owned()];
        if let Some(bias) = bias {
            let size = bias.size();
            inputs.push(self.table(&format!("{name}.bias"), bias, &[size]));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![
            Attribute::ints("kernel_shape", &[dims[2] as i64, dims[3] as i64]),
            Attribute::ints("pads", &[padding as i64; 4]),
            Attribute::ints("strides", &[stride as i64; 2]),
        ];
        self.op(op, name, &inputs, attributes)
    }

    fn blocks(&mut self, name: &str, x: &str, weight: Matrix, bits: Bits) -> String {
        let (outputs, inputs) = (weight.rows(), weight.width());
        let per_row = inputs / BLOCK;
        let (codes, scales) = (format!("{name}.weight"), format!("{name}.scales"));
        let [codes_at, scales_at] = self.layout.blocks(&codes, weight, bits);
        self.external(
            &codes,
            DataType::Uint8,
            &[outputs, per_row, bits.block_bytes()],
            codes_at,
        );
        self.external(&scales, DataType::Float16, &[outputs, per_row], scales_at);
        let wide = self.cast(&format!("{scales}.wide"), &scales, DataType::Float);
        let attributes = vec![
            Attribute::int("K", inputs as i64),
            Attribute::int("N", outputs as i64),
            Attribute::int("accuracy_level", 4),
            Attribute::int("bits", bits.count() as i64),
            Attribute::int("block_size", BLOCK as i64),
        ];
        self.named(
            "MatMulNBits",
            name,
            &[x, &codes, &wide],
            &[name],
            attributes,
        );
        if let Some(node) = self.graph.node.last_mut() {
            MICROSOFT.clone_into(&mut node.domain);
        }
        name.to_owned()
    }
}
