//! The operators of the graphs on arrays in memory, for the reference interpreter.

use deltavlm_kernels::{Isa, matmul_f32};

use crate::array::{Array, Values};
use crate::onnx::Node;

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

/// `x` `[M,K]` times the transpose of `weight` `[N,K]`: `[M,N]`.
pub(crate) fn multiply(x: &[f32], weight: &[f32], width: usize) -> Vec<f32> {
    matmul_f32(Isa::detect(), x, weight, width).expect("whole rows on both sides")
}

/// A convolution of pictures by gathering what each output sees.
fn convolution(node: &Node, inputs: &[&Array]) -> Array {
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

/// The mean along an axis, which stays with size 1.
fn reduce_mean(x: &Array, axis: usize) -> Array {
    let size = x.shape[axis];
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    let mut out = Vec::with_capacity(x.floats().len() / size);
    for block in x.floats().chunks_exact(size * inner) {
        out.extend((0..inner).map(|at| {
            let column = block.iter().skip(at).step_by(inner);
            (column.map(|&value| f64::from(value)).sum::<f64>() / size as f64) as f32
        }));
    }
    Array::f32(&shape, out)
}

/// `x` with an axis and the last one exchanged.
fn swap_with_last(x: &Array, axis: usize) -> Array {
    let mut order: Vec<i64> = (0..x.shape.len() as i64).collect();
    let last = order.len() - 1;
    order.swap(axis, last);
    transpose(x, &order)
}

/// The slices of `x` along an axis that the indices name.
fn gather(x: &Array, indices: &[i64], axis: usize) -> Array {
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut shape = x.shape.clone();
    shape[axis] = indices.len();
    let mut out = Vec::with_capacity(shape.iter().product());
    for block in x.floats().chunks_exact(x.shape[axis] * inner) {
        for &index in indices {
            out.extend_from_slice(&block[index as usize * inner..][..inner]);
        }
    }
    Array::f32(&shape, out)
}

/// Zeros before and after each axis.
fn pad(x: &Array, pads: &[i64]) -> Array {
    let (before, after) = pads.split_at(x.shape.len());
    let mut padded = x.clone();
    for (axis, (&before, &after)) in before.iter().zip(after).enumerate() {
        let inner: usize = padded.shape[axis + 1..].iter().product();
        let size = padded.shape[axis];
        let (before, after) = (before as usize * inner, after as usize * inner);
        let mut out = Vec::new();
        for block in padded.floats().chunks_exact(size * inner) {
            out.extend(std::iter::repeat_n(0.0, before));
            out.extend_from_slice(block);
            out.extend(std::iter::repeat_n(0.0, after));
        }
        let mut shape = padded.shape.clone();
        shape[axis] += (before + after) / inner;
        padded = Array::f32(&shape, out);
    }
    padded
}

/// The transpose of a convolution with stride 2: every input spreads its kernel.
fn transposed_convolution(node: &Node, inputs: &[&Array]) -> Array {
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

fn matmul(a: &Array, b: &Array, threads: usize) -> Array {
    let rank = a.shape.len();
    let (m, k) = (a.shape[rank - 2], a.shape[rank - 1]);
    let n = b.shape[rank - 1];
    let batch: Vec<usize> = a.shape[..rank - 2]
        .iter()
        .zip(&b.shape)
        .map(|(&a, &b)| a.max(b))
        .collect();
    let mut shape = batch.clone();
    shape.extend([m, n]);
    let mut out = vec![0.0f32; shape.iter().product()];
    let place = |array: &Array, mut index: usize| {
        let (mut at, mut stride) = (0, 1);
        for (axis, &size) in batch.iter().enumerate().rev() {
            let held = array.shape[axis];
            if held > 1 {
                at += index % size * stride;
            }
            index /= size;
            stride *= held;
        }
        at
    };
    parallel(&mut out, m * n, threads, |index, out| {
        let a = &a.floats()[place(a, index) * m * k..][..m * k];
        let b = &b.floats()[place(b, index) * k * n..][..k * n];
        let mut turned = vec![0.0; k * n];
        for (row, line) in b.chunks_exact(n).enumerate() {
            line.iter()
                .enumerate()
                .for_each(|(column, &value)| turned[column * k + row] = value);
        }
        out.copy_from_slice(&multiply(a, &turned, k));
    });
    Array::f32(&shape, out)
}

fn binary(a: &Array, b: &Array, f: impl Fn(f32, f32) -> f32) -> Array {
    let rank = a.shape.len().max(b.shape.len());
    let wide = |shape: &[usize]| {
        let mut wide = vec![1; rank - shape.len()];
        wide.extend_from_slice(shape);
        wide
    };
    let (left, right) = (wide(&a.shape), wide(&b.shape));
    let shape: Vec<usize> = left.iter().zip(&right).map(|(&l, &r)| l.max(r)).collect();
    let (x, y) = (a.floats(), b.floats());
    let size: usize = shape.iter().product();
    let out = if left == right {
        x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect()
    } else if x.len() == size
        && shape.ends_with(&right[right.iter().take_while(|&&d| d == 1).count()..])
    {
        x.iter()
            .zip(y.iter().cycle())
            .map(|(&x, &y)| f(x, y))
            .collect()
    } else {
        let offsets = |held: &[usize]| {
            let mut offsets = vec![0usize];
            let mut stride: usize = held.iter().product();
            for (&size, &held) in shape.iter().zip(held) {
                stride /= held.max(1);
                let step = if held > 1 { stride } else { 0 };
                offsets = offsets
                    .iter()
                    .flat_map(|&at| (0..size).map(move |i| at + i * step))
                    .collect();
            }
            offsets
        };
        offsets(&left)
            .into_iter()
            .zip(offsets(&right))
            .map(|(l, r)| f(x[l], y[r]))
            .collect()
    };
    Array::f32(&shape, out)
}

fn map(x: &Array, threads: usize, f: impl Fn(f32) -> f32 + Sync) -> Array {
    let mut out = x.floats().to_vec();
    parallel(&mut out, 4096, threads, |_, values| {
        values.iter_mut().for_each(|value| *value = f(*value))
    });
    Array::f32(&x.shape, out)
}

fn rows(x: &Array, threads: usize, f: impl Fn(&mut [f32]) + Sync) -> Array {
    let mut out = x.floats().to_vec();
    let width = x.shape.last().copied().unwrap_or(1);
    parallel(&mut out, width, threads, |_, row| f(row));
    Array::f32(&x.shape, out)
}

/// Calls `f` with the index and content of every piece, on several threads.
fn parallel(
    values: &mut [f32],
    piece: usize,
    threads: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) {
    let pieces = values.len().div_ceil(piece.max(1));
    let share = pieces.div_ceil(threads.max(1)).max(1);
    if pieces < 2 || values.len() < 1 << 14 {
        values
            .chunks_mut(piece.max(1))
            .enumerate()
            .for_each(|(i, part)| f(i, part));
        return;
    }
    std::thread::scope(|scope| {
        for (t, part) in values.chunks_mut(share * piece).enumerate() {
            let f = &f;
            scope.spawn(move || {
                part.chunks_mut(piece)
                    .enumerate()
                    .for_each(|(i, part)| f(t * share + i, part))
            });
        }
    });
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-value))
}

fn softmax(row: &mut [f32]) {
    let peak = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for value in row.iter_mut() {
        *value = libm::expf(*value - peak);
        sum += f64::from(*value);
    }
    let inverse = (1.0 / sum) as f32;
    row.iter_mut().for_each(|value| *value *= inverse);
}

fn layer_norm(row: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    normalise(row, epsilon);
    for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
        *value = *value * scale + shift;
    }
}

/// Mean 0 and variance 1.
fn normalise(row: &mut [f32], epsilon: f32) {
    let count = row.len() as f64;
    let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = row
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2))
        .sum::<f64>()
        / count;
    let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
    row.iter_mut()
        .for_each(|value| *value = ((f64::from(*value) - mean) * inverse) as f32);
}

fn rms_norm(row: &mut [f32], scale: &[f32], epsilon: f32) {
    let square = row
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum::<f64>()
        / row.len() as f64;
    let inverse = (1.0 / (square + f64::from(epsilon)).sqrt()) as f32;
    row.iter_mut()
        .zip(scale)
        .for_each(|(value, scale)| *value = *value * inverse * scale);
}

fn concat(parts: &[&Array], axis: usize) -> Array {
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    let outer: usize = shape[..axis].iter().product();
    if matches!(parts[0].values, Values::I64(_)) {
        return Array::i64(
            &shape,
            parts
                .iter()
                .flat_map(|part| part.integers().iter().copied())
                .collect(),
        );
    }
    let mut out = Vec::with_capacity(shape.iter().product());
    for i in 0..outer {
        for part in parts {
            let run = part.floats().len() / outer;
            out.extend_from_slice(&part.floats()[i * run..(i + 1) * run]);
        }
    }
    Array::f32(&shape, out)
}

fn split(x: &Array, sizes: &[i64]) -> Vec<Array> {
    let mut from = 0;
    let parts = sizes.iter().map(|&size| {
        let part = slice(x, from, from + size, x.shape.len() as i64 - 1);
        from += size;
        part
    });
    parts.collect()
}

fn slice(x: &Array, from: i64, to: i64, axis: i64) -> Array {
    let axis = axis as usize;
    let size = x.shape[axis] as i64;
    let bound = |at: i64| if at < 0 { (at + size).max(0) } else { at.min(size) } as usize;
    let (from, to) = (bound(from), bound(to));
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut shape = x.shape.clone();
    shape[axis] = to - from;
    let runs = x.floats().chunks_exact((x.shape[axis] * inner).max(1));
    Array::f32(
        &shape,
        runs.flat_map(|run| &run[from * inner..to * inner])
            .copied()
            .collect(),
    )
}

fn reshape(x: &Array, wanted: &[i64]) -> Array {
    let size: usize = x.shape.iter().product();
    let mut shape: Vec<usize> = wanted
        .iter()
        .enumerate()
        .map(|(i, &dim)| {
            if dim == 0 {
                x.shape[i]
            } else {
                dim.max(1) as usize
            }
        })
        .collect();
    if let Some(free) = wanted.iter().position(|&dim| dim == -1) {
        shape[free] = size / shape.iter().product::<usize>().max(1);
    }
    Array {
        shape,
        values: x.values.clone(),
    }
}

fn transpose(x: &Array, order: &[i64]) -> Array {
    let mut strides = vec![1; x.shape.len()];
    for i in (1..x.shape.len()).rev() {
        strides[i - 1] = strides[i] * x.shape[i];
    }
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis as usize]).collect();
    let steps: Vec<usize> = order.iter().map(|&axis| strides[axis as usize]).collect();
    let values = x.floats();
    let mut out = Vec::with_capacity(values.len());
    let (last, last_step) = (shape[shape.len() - 1], steps[steps.len() - 1]);
    let mut index = vec![0; shape.len() - 1];
    for _ in 0..values.len() / last.max(1) {
        let at: usize = index.iter().zip(&steps).map(|(i, step)| i * step).sum();
        out.extend((0..last).map(|i| values[at + i * last_step]));
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Array::f32(&shape, out)
}

fn axis(node: &Node, x: &Array) -> usize {
    axis_of(int(node, "axis"), x)
}

/// An axis that may count from the end.
fn axis_of(axis: i64, x: &Array) -> usize {
    if axis < 0 {
        (axis + x.shape.len() as i64) as usize
    } else {
        axis as usize
    }
}

fn int(node: &Node, name: &str) -> i64 {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .and_then(|a| a.i)
        .unwrap_or(0)
}

fn float(node: &Node, name: &str) -> f32 {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .and_then(|a| a.f)
        .unwrap_or(0.0)
}

fn ints<'a>(node: &'a Node, name: &str) -> &'a [i64] {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .map_or(&[], |a| &a.ints)
}
