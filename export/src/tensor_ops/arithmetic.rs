//! Products, element-wise operators with broadcasting, and the threads they run on.

use deltavlm_kernels::{Isa, matmul_f32};

use crate::array::Array;

/// `x` `[M,K]` times the transpose of `weight` `[N,K]`: `[M,N]`.
pub(crate) fn multiply(x: &[f32], weight: &[f32], width: usize) -> Vec<f32> {
    matmul_f32(Isa::detect(), x, weight, width).expect("whole rows on both sides")
}

pub(super) fn matmul(a: &Array, b: &Array, threads: usize) -> Array {
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
        let mut transposed = vec![0.0; k * n];
        for (row, line) in b.chunks_exact(n).enumerate() {
            line.iter()
                .enumerate()
                .for_each(|(column, &value)| transposed[column * k + row] = value);
        }
        out.copy_from_slice(&multiply(a, &transposed, k));
    });
    Array::f32(&shape, out)
}

pub(super) fn binary(a: &Array, b: &Array, f: impl Fn(f32, f32) -> f32) -> Array {
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

pub(super) fn map(x: &Array, threads: usize, f: impl Fn(f32) -> f32 + Sync) -> Array {
    let mut out = x.floats().to_vec();
    parallel(&mut out, 4096, threads, |_, values| {
        values.iter_mut().for_each(|value| *value = f(*value))
    });
    Array::f32(&x.shape, out)
}

pub(super) fn rows(x: &Array, threads: usize, f: impl Fn(&mut [f32]) + Sync) -> Array {
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

/// The mean along an axis, which stays with size 1.
pub(super) fn reduce_mean(x: &Array, axis: usize) -> Array {
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

pub(super) fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-value))
}
