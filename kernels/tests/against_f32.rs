//! The products against plain multiplication in double precision with the
//! weights that the quantised ones stand for.

use deltavlm_kernels::{
    Bits, DenseMatrix, DenseValues, Epilogue, Isa, QuantizedMatrix, Scales, ShapeError, ThreadPool,
    dequantize, matmul, matmul_dense, quantize,
};

fn gaussian(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    (0..count)
        .map(|_| {
            let (radius, angle) = (uniform(), uniform());
            ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
        })
        .collect()
}

fn reference(x: &[f32], weights: &[f32], k: usize) -> Vec<f64> {
    x.chunks(k)
        .flat_map(|x| {
            weights.chunks(k).map(|w| {
                x.iter()
                    .zip(w)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w))
                    .sum()
            })
        })
        .collect()
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
    let a: f64 = a.iter().map(|a| f64::from(*a) * f64::from(*a)).sum();
    let b: f64 = b.iter().map(|b| b * b).sum();
    dot / (a * b).sqrt()
}

fn relative_error(a: &[f32], b: &[f64]) -> f64 {
    let difference: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    (difference / norm).sqrt()
}

#[test]
fn eight_bits_against_the_original_weights() {
    let (m, n, k) = (20, 64, 1408);
    let (x, weights) = (gaussian(m * k, 1), gaussian(n * k, 2));
    let quantized = quantize(Bits::Eight, n, k, &weights).unwrap();
    let mut out = vec![0.0; m * n];
    let pool = ThreadPool::new(2).unwrap();
    matmul(&pool, &x, &quantized.view(), Epilogue::default(), &mut out).unwrap();
    let cosine = cosine(&out, &reference(&x, &weights, k));
    assert!(cosine >= 0.9999, "cosine {cosine}");
}

#[test]
fn both_widths_against_the_dequantised_weights() {
    let (m, n, k) = (20, 64, 1408);
    let (x, weights) = (gaussian(m * k, 3), gaussian(n * k, 4));
    let pool = ThreadPool::new(2).unwrap();
    for bits in [Bits::Four, Bits::Eight] {
        let quantized = quantize(bits, n, k, &weights).unwrap();
        let mut out = vec![0.0; m * n];
        matmul(&pool, &x, &quantized.view(), Epilogue::default(), &mut out).unwrap();
        let expected = reference(&x, &dequantize(&quantized.view()), k);
        let error = relative_error(&out, &expected);
        assert!(error <= 1e-2, "{bits:?}: relative error {error}");
    }
}

#[test]
fn bias_and_residual_are_added() {
    let pool = ThreadPool::new(2).unwrap();
    let weights = quantize(Bits::Eight, 3, 32, &[1.0; 96]).unwrap();
    let x = [1.0; 64];
    let (bias, residual) = ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    let mut out = [0.0; 6];
    let epilogue = Epilogue {
        bias: Some(&bias),
        residual: Some(&residual),
        ..Epilogue::default()
    };
    matmul(&pool, &x, &weights.view(), epilogue, &mut out).unwrap();
    assert_eq!(out, [43.0, 54.0, 65.0, 73.0, 84.0, 95.0]);
}

#[test]
fn no_rows_are_no_work() {
    let pool = ThreadPool::new(2).unwrap();
    let weights = quantize(Bits::Four, 3, 32, &[1.0; 96]).unwrap();
    let dense = DenseMatrix::new(32, 3, DenseValues::F32(&[1.0; 96])).unwrap();
    for isa in Isa::available() {
        let pool = pool.with_isa(isa).unwrap();
        matmul(&pool, &[], &weights.view(), Epilogue::default(), &mut []).unwrap();
        matmul_dense(&pool, &[], &dense, Epilogue::default(), &mut []).unwrap();
    }
}

#[test]
fn wrong_sizes_are_refused_and_nothing_is_written() {
    let pool = ThreadPool::new(1).unwrap();
    let (quants, scales) = ([0; 32], [1.0; 2]);
    let weights = QuantizedMatrix::new(Bits::Four, 2, 32, &quants, Scales::F32(&scales)).unwrap();
    let mut out = [9.0; 3];
    let none = Epilogue::default();
    assert_eq!(
        matmul(&pool, &[1.0; 32], &weights, none, &mut out),
        Err(ShapeError::Length {
            what: "output",
            expected: 2,
            actual: 3
        })
    );
    assert_eq!(
        matmul(&pool, &[1.0; 33], &weights, none, &mut out[..2]),
        Err(ShapeError::Length {
            what: "activations",
            expected: 32,
            actual: 33
        })
    );
    let bias = Epilogue {
        bias: Some(&[1.0]),
        ..Epilogue::default()
    };
    assert_eq!(
        matmul(&pool, &[1.0; 32], &weights, bias, &mut out[..2]),
        Err(ShapeError::Length {
            what: "bias",
            expected: 2,
            actual: 1
        })
    );
    let residual = Epilogue {
        residual: Some(&[1.0]),
        ..Epilogue::default()
    };
    assert_eq!(
        matmul(&pool, &[1.0; 32], &weights, residual, &mut out[..2]),
        Err(ShapeError::Length {
            what: "residual",
            expected: 2,
            actual: 1
        })
    );
    assert_eq!(out, [9.0; 3]);
}
