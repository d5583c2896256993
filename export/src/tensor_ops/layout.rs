//! Operators that move values and compute nothing.

use crate::array::{Array, Values};

/// `x` with an axis and the last one exchanged.
pub(super) fn swap_with_last(x: &Array, axis: usize) -> Array {
    let mut order: Vec<i64> = (0..x.shape.len() as i64).collect();
    let last = order.len() - 1;
    order.swap(axis, last);
    transpose(x, &order)
}

/// The slices of `x` along an axis that the indices name.
pub(super) fn gather(x: &Array, indices: &[i64], axis: usize) -> Array {
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
pub(super) fn pad(x: &Array, pads: &[i64]) -> Array {
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

pub(super) fn concat(parts: &[&Array], axis: usize) -> Array {
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

pub(super) fn split(x: &Array, sizes: &[i64]) -> Vec<Array> {
    let mut from = 0;
    let parts = sizes.iter().map(|&size| {
        let part = slice(x, from, from + size, x.shape.len() as i64 - 1);
        from += size;
        part
    });
    parts.collect()
}

pub(super) fn slice(x: &Array, from: i64, to: i64, axis: i64) -> Array {
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

pub(super) fn reshape(x: &Array, wanted: &[i64]) -> Array {
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

pub(super) fn transpose(x: &Array, order: &[i64]) -> Array {
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
