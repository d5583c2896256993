//! Dense products, norms and gates: every instruction set gives the bits of the
//! portable code, and those are near what double precision gives.

mod common;

use common::{near, numbers, same_bits};
use deltavlm_kernels::{
    Activation, DenseMatrix, DenseValues, Epilogue, GluKind, Norm, glu, matmul_dense, normalize,
};
use half::f16;

fn gelu(x: f64) -> f64 {
    // The error function by its series: enough for the values that occur here.
    let z = x / std::f64::consts::SQRT_2;
    let (mut term, mut sum) = (z, z);
    for n in 1..120 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    x * 0.5 * (1.0 + sum * std::f64::consts::FRAC_2_SQRT_PI)
}

#[test]
fn dense_products() {
    for (m, k, n) in [
        (1, 1, 1),
        (1, 300, 70),
        (7, 129, 16),
        (6, 128, 64),
        (45, 257, 130),
        (400, 33, 5),
    ] {
        let (x, w) = (numbers(m * k, 1), numbers(k * n, 2));
        let (bias, residual) = (numbers(n, 3), numbers(m * n, 4));
        let halves: Vec<f16> = w.iter().map(|w| f16::from_f32(*w)).collect();
        for half in [false, true] {
            let values = if half {
                DenseValues::F16(&halves)
            } else {
                DenseValues::F32(&w)
            };
            let stored = |at: usize| {
                if half {
                    halves[at].to_f64()
                } else {
                    f64::from(w[at])
                }
            };
            let what = format!("{m}x{k}x{n}");
            let found = same_bits(&what, |pool| {
                let mut out = vec![f32::NAN; m * n];
                let epilogue = Epilogue {
                    bias: Some(&bias),
                    activation: Activation::Gelu,
                    residual: Some(&residual),
                };
                let matrix = DenseMatrix::new(k, n, values).unwrap();
                matmul_dense(pool, &x, &matrix, epilogue, &mut out).unwrap();
                out
            });
            let exact: Vec<f64> = (0..m * n)
                .map(|at| {
                    let (i, j) = (at / n, at % n);
                    let terms = (0..k).map(|e| f64::from(x[i * k + e]) * stored(e * n + j));
                    let sum: f64 = terms.sum::<f64>() + f64::from(bias[j]);
                    let active = if sum.abs() < 5.5 {
                        gelu(sum)
                    } else {
                        sum.max(0.0)
                    };
                    active + f64::from(residual[at])
                })
                .collect();
            near(&what, &found, &exact, 2e-5);
        }
    }
}

#[test]
fn a_broken_number_is_never_hidden() {
    let mut x = numbers(64, 1);
    x[3] = f32::NAN;
    let w = numbers(32 * 20, 2);
    let found = same_bits("NaN", |pool| {
        let mut out = vec![0.0; 40];
        let epilogue = Epilogue {
            activation: Activation::Gelu,
            ..Epilogue::default()
        };
        let matrix = DenseMatrix::new(32, 20, DenseValues::F32(&w)).unwrap();
        matmul_dense(pool, &x, &matrix, epilogue, &mut out).unwrap();
        out
    });
    assert!(found[..20].iter().all(|v| v.is_nan()) && found[20..].iter().all(|v| v.is_finite()));
}

#[test]
fn norms() {
    for width in [1, 7, 16, 48, 1408] {
        let x: Vec<f32> = numbers(3 * width, 1)
            .iter()
            .map(|x| x * 3.0 + 1.0)
            .collect();
        let (scale, shift) = (numbers(width, 2), numbers(width, 3));
        for shifted in [false, true] {
            let norm = Norm {
                scale: &scale,
                shift: shifted.then_some(&shift),
                epsilon: 1e-5,
            };
            let found = same_bits("norm", |pool| {
                let mut out = vec![f32::NAN; x.len()];
                normalize(pool, &x, &norm, &mut out).unwrap();
                out
            });
            let exact: Vec<f64> = x
                .chunks(width)
                .flat_map(|x| {
                    let count = width as f64;
                    let mean = if shifted {
                        x.iter().map(|x| f64::from(*x)).sum::<f64>() / count
                    } else {
                        0.0
                    };
                    let variance = x
                        .iter()
                        .map(|x| (f64::from(*x) - mean).powi(2))
                        .sum::<f64>()
                        / count;
                    let factor = 1.0 / (variance + 1e-5).sqrt();
                    let columns = x.iter().zip(scale.iter().zip(&shift));
                    let shift = if shifted { 1.0 } else { 0.0 };
                    columns
                        .map(|(x, (s, b))| {
                            (f64::from(*x) - mean) * factor * f64::from(*s) + shift * f64::from(*b)
                        })
                        .collect::<Vec<_>>()
                })
                .collect();
            near("norm", &found, &exact, 1e-5);
        }
    }
}

#[test]
fn gates() {
    let (width, rows) = (37, 5);
    let x: Vec<f32> = numbers(2 * width * rows, 1)
        .iter()
        .map(|x| x * 9.0)
        .collect();
    for gate in [GluKind::SwiGlu, GluKind::GatedTanh] {
        let found = same_bits("gate", |pool| {
            let mut out = vec![f32::NAN; width * rows];
            glu(pool, gate, &x, width, &mut out).unwrap();
            out
        });
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let exact: Vec<f64> = x
            .chunks(2 * width)
            .flat_map(|row| {
                let (first, second) = row.split_at(width);
                let both = first
                    .iter()
                    .zip(second)
                    .map(|(a, b)| (f64::from(*a), f64::from(*b)));
                both.map(|(a, b)| match gate {
                    GluKind::SwiGlu => a * sigmoid(a) * b,
                    _ => sigmoid(b) * a.tanh(),
                })
                .collect::<Vec<_>>()
            })
            .collect();
        near("gate", &found, &exact, 2e-5);
    }
}
