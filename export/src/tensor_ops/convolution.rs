//! Convolution and its transpose, on arrays `[N,C,H,W]`.

use super::arithmetic::multiply;
use super::attributes::ints;
use crate::array::Array;
use crate::onnx::Node;

/// A convolution of pictures by gathering what each output sees.
pub(super) fn convolution(node: &Node, inputs: &[&Array]) -> Array {
    let (x, weight) = (inputs[0], inputs[1]);
    let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3]);
    let (outputs, kernel) = (weight.shape[0], weight.shape[2]);
    let padding = ints(node, "pads").first().map_or(0, |&pad| pad as usize);
    let (tall, wide) = (
        height + 2 * padding + 1 - kernel,
        width + 2 * padding + 1 - kernel,
    );
    let mut out = Vec::with_capacity(x.shape[0] * outputs * tall * wide);
    for picture in x.floats().chunks_exact(channels * height * width) {
        let seen = patches(picture, [channels, height, width], kernel, padding);
        // Outputs as rows, cells as columns: the order of `NCHW`.
        let mut found = multiply(weight.floats(), &seen, channels * kernel * kernel);
        add_bias(&mut found, inputs.get(2), tall * wide);
        out.extend(found);
    }
    Array::f32(&[x.shape[0], outputs, tall, wide], out)
}

/// What each output of a convolution sees, one row each.
fn patches(
    values: &[f32],
    [channels, height, width]: [usize; 3],
    kernel: usize,
    padding: usize,
) -> Vec<f32> {
    let (tall, wide) = (
        height + 2 * padding + 1 - kernel,
        width + 2 * padding + 1 - kernel,
    );
    let mut seen = vec![0.0; tall * wide * channels * kernel * kernel];
    let mut cells = seen.chunks_exact_mut(channels * kernel * kernel);
    for y in 0..tall {
        for x in 0..wide {
            let cell = cells.next().expect("one cell per output");
            for c in 0..channels {
                for i in (0..kernel * kernel).filter(|i| {
                    (padding..height + padding).contains(&(y + i / kernel))
                        && (padding..width + padding).contains(&(x + i % kernel))
                }) {
                    let (row, column) = (y + i / kernel - padding, x + i % kernel - padding);
                    cell[c * kernel * kernel + i] = values[(c * height + row) * width + column];
                }
            }
        }
    }
    seen
}

/// The transpose of a convolution with stride 2: every input spreads its kernel.
pub(super) fn transposed_convolution(node: &Node, inputs: &[&Array]) -> Array {
    let (x, weight) = (inputs[0], inputs[1]);
    let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3]);
    let (outputs, kernel) = (weight.shape[1], weight.shape[2]);
    let padding = ints(node, "pads").first().map_or(0, |&pad| pad as usize);
    let (tall, wide) = (2 * height, 2 * width);
    let (values, weights) = (x.floats(), weight.floats());
    let mut out = vec![0.0; outputs * tall * wide];
    for c in 0..channels {
        for (at, &value) in values[c * height * width..][..height * width]
            .iter()
            .enumerate()
        {
            for o in 0..outputs {
                let kernels = &weights[(c * outputs + o) * kernel * kernel..][..kernel * kernel];
                for (i, weight) in kernels.iter().enumerate() {
                    let row = (2 * (at / width) + i / kernel).checked_sub(padding);
                    let column = (2 * (at % width) + i % kernel).checked_sub(padding);
                    if let (Some(row), Some(column)) = (row, column)
                        && row < tall
                        && column < wide
                    {
                        out[(o * tall + row) * wide + column] += value * weight;
                    }
                }
            }
        }
    }
    add_bias(&mut out, inputs.get(2), tall * wide);
    Array::f32(&[1, outputs, tall, wide], out)
}

fn add_bias(out: &mut [f32], bias: Option<&&Array>, plane: usize) {
    let Some(bias) = bias else { return };
    for (plane, &bias) in out.chunks_exact_mut(plane).zip(bias.floats()) {
        plane.iter_mut().for_each(|value| *value += bias);
    }
}
