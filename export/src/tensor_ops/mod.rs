//! The operators of the graphs on arrays in memory, for the reference interpreter.

mod arithmetic;
mod attributes;
mod convolution;
mod layout;
mod norm;

use self::arithmetic::{binary, map, matmul, reduce_mean, rows, sigmoid};
use self::attributes::{axis, axis_of, float, int, ints};
use self::convolution::{convolution, transposed_convolution};
use self::layout::{concat, gather, pad, reshape, slice, split, swap_with_last, transpose};
use self::norm::{layer_norm, normalise, rms_norm, softmax};
use crate::array::{Array, Values};
use crate::onnx::Node;

pub(crate) use self::arithmetic::multiply;

/// Applies an operator that has no streamed weights.
pub(crate) fn apply(node: &Node, inputs: &[&Array], threads: usize) -> Result<Vec<Array>, String> {
    let x = *inputs.first().ok_or("no input")?;
    let one = |array| Ok(vec![array]);
    match node.op_type.as_str() {
        "Cast" if matches!(x.values, Values::I64(_)) => one(Array::f32(
            &x.shape,
            x.integers().iter().map(|&value| value as f32).collect(),
        )),
        "Cast" => one(x.clone()),
        "Add" => one(binary(x, inputs[1], |a, b| a + b)),
        "Sub" => one(binary(x, inputs[1], |a, b| a - b)),
        "Mul" => one(binary(x, inputs[1], |a, b| a * b)),
        "Div" => one(binary(x, inputs[1], |a, b| a / b)),
        "Sqrt" => one(map(x, threads, f32::sqrt)),
        "ReduceMean" => one(reduce_mean(x, axis_of(inputs[1].integers()[0], x))),
        "Max" => one(binary(x, inputs[1], f32::max)),
        "Neg" => one(map(x, threads, |value| -value)),
        "Tanh" => one(map(x, threads, libm::tanhf)),
        "Sigmoid" => one(map(x, threads, sigmoid)),
        "Gelu" => one(map(x, threads, |value| {
            0.5 * value * (1.0 + libm::erff(value * std::f32::consts::FRAC_1_SQRT_2))
        })),
        "Softmax" if axis(node, x) + 1 < x.shape.len() => {
            let axis = axis(node, x);
            one(swap_with_last(
                &rows(&swap_with_last(x, axis), threads, softmax),
                axis,
            ))
        }
        "Softmax" => one(rows(x, threads, softmax)),
        "InstanceNormalization" => {
            let plane: usize = x.shape[2..].iter().product();
            let flat = Array::f32(&[x.shape[0] * x.shape[1], plane], x.floats().to_vec());
            let epsilon = float(node, "epsilon");
            let mut normal = rows(&flat, threads, |row| normalise(row, epsilon))
                .floats()
                .to_vec();
            let affine = inputs[1].floats().iter().zip(inputs[2].floats()).cycle();
            for (row, (scale, shift)) in normal.chunks_exact_mut(plane).zip(affine) {
                row.iter_mut()
                    .for_each(|value| *value = *value * scale + shift);
            }
            one(Array::f32(&x.shape, normal))
        }
        "Gather" => one(gather(x, inputs[1].integers(), axis(node, x))),
        "LayerNormalization" => {
            let (scale, shift, epsilon) = (
                inputs[1].floats(),
                inputs[2].floats(),
                float(node, "epsilon"),
            );
            one(rows(x, threads, |row| {
                layer_norm(row, scale, shift, epsilon)
            }))
        }
        "RMSNormalization" => {
            let (scale, epsilon) = (inputs[1].floats(), float(node, "epsilon"));
            one(rows(x, threads, |row| rms_norm(row, scale, epsilon)))
        }
        "Conv" => one(convolution(node, inputs)),
        "ConvTranspose" => one(transposed_convolution(node, inputs)),
        "MatMul" => one(matmul(x, inputs[1], threads)),
        "Concat" => one(concat(inputs, axis(node, x))),
        "Split" => Ok(split(x, inputs[1].integers())),
        "Slice" => one(slice(
            x,
            inputs[1].integers()[0],
            inputs[2].integers()[0],
            inputs[3].integers()[0],
        )),
        "Reshape" => one(reshape(x, inputs[1].integers())),
        "Transpose" => one(transpose(x, ints(node, "perm"))),
        "Shape" => {
            let (start, end) = (int(node, "start") as usize, int(node, "end") as usize);
            let sizes: Vec<i64> = x.shape[start..end]
                .iter()
                .map(|&size| size as i64)
                .collect();
            one(Array::i64(&[sizes.len()], sizes))
        }
        "Expand" => {
            let shape: Vec<usize> = inputs[1]
                .integers()
                .iter()
                .map(|&size| size as usize)
                .collect();
            let zeros = Array::f32(&shape, vec![0.0; shape.iter().product()]);
            one(binary(x, &zeros, |a, _| a))
        }
        "Unsqueeze" => {
            let mut shape = x.shape.clone();
            inputs[1]
                .integers()
                .iter()
                .for_each(|&axis| shape.insert(axis as usize, 1));
            one(Array {
                shape,
                values: x.values.clone(),
            })
        }
        "Squeeze" => {
            let mut shape = x.shape.clone();
            shape.remove(inputs[1].integers()[0] as usize);
            one(Array {
                shape,
                values: x.values.clone(),
            })
        }
        "Pad" => one(pad(x, inputs[1].integers())),
        other => Err(format!(
            "`{other}` is not one of the operators that are written"
        )),
    }
}
