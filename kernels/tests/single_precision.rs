//! Dense products, attention, norms and gates: every instruction set gives the bits
//! of the portable code, and those are near what double precision gives.

use deltavlm_kernels::{
    Activation, AttentionBias, DenseMatrix, DenseValues, Epilogue, GluKind, Heads, Isa, KvCache,
    Norm, Queries, Rotary, ThreadPool, attend, glu, matmul_dense, normalize,
};
use half::f16;

/// Pools of every instruction set, the portable one first.
fn pools() -> Vec<ThreadPool> {
    let pool = ThreadPool::new(3).unwrap();
    let available = Isa::available();
    available
        .into_iter()
        .map(|isa| pool.with_isa(isa).unwrap())
        .collect()
}

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs `work` on every instruction set; all bits must be those of the portable one.
fn same_bits(what: &str, work: impl Fn(&ThreadPool) -> Vec<f32>) -> Vec<f32> {
    let pools = pools();
    let expected = work(&pools[0]);
    for pool in &pools[1..] {
        for (i, (found, expected)) in work(pool).iter().zip(&expected).enumerate() {
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(
                same,
                "{what}, {}: value {i} is {found}, not {expected}",
                pool.isa()
            );
        }
    }
    expected
}

fn near(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= tolerance,
            "{what}: value {i} is {found}, not {expected}"
        );
    }
}

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

/// One attention, its keys given in two pieces.
struct Case {
    sequences: usize,
    heads: usize,
    kv_heads: usize,
    width: usize,
    past: usize,
    new: usize,
    rotary: bool,
}

impl Case {
    fn angles(&self, from: usize, count: usize) -> (Vec<f32>, Vec<f32>) {
        let half = self.width / 2;
        let angle = |i: usize| {
            let (position, e) = (from + i / self.width % count, i % self.width % half.max(1));
            position as f32 / (1.0 + e as f32)
        };
        let all = 0..self.sequences * count * self.width;
        (
            all.clone().map(|i| angle(i).cos()).collect(),
            all.map(|i| angle(i).sin()).collect(),
        )
    }

    fn bias(&self) -> Vec<f32> {
        let total = self.past + self.new;
        (0..self.sequences * self.new * total)
            .map(|at| {
                if at % total <= self.past + at / total % self.new {
                    0.0
                } else {
                    -1e9
                }
            })
            .collect()
    }

    /// Rows of queries, keys and values side by side, as a model computes them.
    fn rows(&self, count: usize, seed: u32) -> Vec<f32> {
        numbers(self.sequences * count * self.stride(), seed)
    }

    fn stride(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.width
    }

    fn parts<'a>(&self, values: &'a [f32]) -> [Heads<'a>; 3] {
        let starts = [
            0,
            self.heads * self.width,
            (self.heads + self.kv_heads) * self.width,
        ];
        starts.map(|first| Heads {
            values,
            offset: first,
            stride: self.stride(),
        })
    }

    fn run(&self, pool: &ThreadPool) -> Vec<f32> {
        let mut kept = KvCache::default();
        kept.reset(self.sequences, self.kv_heads, self.width);
        let mut out = vec![f32::NAN; self.sequences * self.new * self.heads * self.width];
        for (from, count, seed) in [(0, self.past, 5), (self.past, self.new, 6)] {
            let rows = self.rows(count, seed);
            let (cos, sin) = self.angles(from, count.max(1));
            let rotary = self.rotary.then_some(Rotary {
                cos: &cos[..self.sequences * count * self.width],
                sin: &sin[..self.sequences * count * self.width],
            });
            let [q, k, v] = self.parts(&rows);
            kept.append(pool, count, k, v, rotary).unwrap();
            if from == self.past && count == self.new {
                let queries = Queries {
                    heads: q,
                    num_heads: self.heads,
                    sequences: self.sequences,
                    positions: count,
                    scale: 0.25,
                    rotary,
                };
                let bias = self.bias();
                let bias = AttentionBias {
                    values: &bias,
                    per_sequence: true,
                    per_query: true,
                };
                out.fill(f32::NAN);
                attend(pool, &queries, &kept, Some(bias), &mut out).unwrap();
            }
        }
        out
    }

    fn exact(&self) -> Vec<f64> {
        let (width, total) = (self.width, self.past + self.new);
        let pieces = [
            (0, self.past, self.rows(self.past, 5)),
            (self.past, self.new, self.rows(self.new, 6)),
        ];
        // Head `head` of kind 0, 1 or 2 at a position, turned as it must be.
        let vector = |kind: usize, sequence: usize, position: usize, head: usize| -> Vec<f64> {
            let (from, count, rows) = &pieces[usize::from(position >= self.past)];
            let row = sequence * count + position - from;
            let x = &rows[row * self.stride() + self.parts(rows)[kind].offset + head * width..]
                [..width];
            if kind == 2 || !self.rotary {
                return x.iter().map(|x| f64::from(*x)).collect();
            }
            let (cos, sin) = self.angles(*from, *count);
            let half = width / 2;
            (0..width)
                .map(|e| {
                    let other = if e < half { -x[e + half] } else { x[e - half] };
                    let at = row * width + e;
                    f64::from(x[e]) * f64::from(cos[at]) + f64::from(other) * f64::from(sin[at])
                })
                .collect()
        };
        let mut out = Vec::new();
        for sequence in 0..self.sequences {
            for query in 0..self.new {
                for head in 0..self.heads {
                    let shared = head / (self.heads / self.kv_heads);
                    let q = vector(0, sequence, self.past + query, head);
                    let seen = total.min(self.past + query + 1);
                    let weights: Vec<f64> = (0..seen)
                        .map(|m| {
                            let k = vector(1, sequence, m, shared);
                            (0.25 * q.iter().zip(&k).map(|(q, k)| q * k).sum::<f64>()).exp()
                        })
                        .collect();
                    let all: f64 = weights.iter().sum();
                    let mut context = vec![0.0; width];
                    for (m, weight) in weights.iter().enumerate() {
                        for (context, v) in context.iter_mut().zip(vector(2, sequence, m, shared)) {
                            *context += weight / all * v;
                        }
                    }
                    out.extend(context);
                }
            }
        }
        out
    }
}

#[test]
fn attention() {
    let cases = [
        (1, 2, 2, 32, 0, 1, false),
        (1, 3, 3, 88, 0, 65, false),
        (2, 4, 2, 16, 5, 3, true),
        (3, 2, 1, 20, 30, 1, true),
        (1, 1, 1, 128, 17, 50, true),
    ];
    for (sequences, heads, kv_heads, width, past, new, rotary) in cases {
        let case = Case {
            sequences,
            heads,
            kv_heads,
            width,
            past,
            new,
            rotary,
        };
        let what =
            format!("{sequences} of {new} after {past}, {heads}/{kv_heads} heads of {width}");
        let found = same_bits(&what, |pool| case.run(pool));
        near(&what, &found, &case.exact(), 2e-6);
    }
}

#[test]
fn chosen_sequences_are_kept_and_grow() {
    let pool = ThreadPool::new(2).unwrap();
    let case = Case {
        sequences: 3,
        heads: 2,
        kv_heads: 2,
        width: 16,
        past: 20,
        new: 1,
        rotary: false,
    };
    let rows = case.rows(20, 5);
    let [_, k, v] = case.parts(&rows);
    let mut kept = KvCache::default();
    kept.reset(3, 2, 16);
    kept.append(&pool, 20, k, v, None).unwrap();
    let ask = |kept: &KvCache, sequences: usize| {
        let query = numbers(case.stride(), 9).repeat(sequences);
        let mut out = vec![0.0; sequences * 32];
        let heads = Heads {
            values: &query,
            offset: 0,
            stride: case.stride(),
        };
        let queries = Queries {
            heads,
            num_heads: 2,
            sequences,
            positions: 1,
            scale: 1.0,
            rotary: None,
        };
        attend(&pool, &queries, kept, None, &mut out).unwrap();
        out
    };
    let before = ask(&kept, 3);
    kept.select(&[2, 0, 2, 1]);
    assert_eq!(kept.len(), 20);
    let after = ask(&kept, 4);
    for (to, from) in [2, 0, 2, 1].into_iter().enumerate() {
        assert_eq!(after[to * 32..][..32], before[from * 32..][..32]);
    }
}

#[test]
fn one_sequence_of_keys_serves_all_queries() {
    let pool = ThreadPool::new(2).unwrap();
    let (keys, query) = (numbers(10 * 64, 1), numbers(2 * 3 * 32, 2));
    let mut kept = KvCache::default();
    kept.reset(1, 2, 16);
    let part = |first| Heads {
        values: &keys,
        offset: first,
        stride: 64,
    };
    kept.append(&pool, 10, part(0), part(32), None).unwrap();
    let ask = |values: &[f32], sequences: usize| {
        let mut out = vec![0.0; values.len()];
        let heads = Heads {
            values,
            offset: 0,
            stride: 32,
        };
        let queries = Queries {
            heads,
            num_heads: 2,
            sequences,
            positions: 3,
            scale: 1.0,
            rotary: None,
        };
        attend(&pool, &queries, &kept, None, &mut out).unwrap();
        out
    };
    let both = ask(&query, 2);
    assert_eq!(both[..96], ask(&query[..96], 1));
    assert_eq!(both[96..], ask(&query[96..], 1));
}

#[test]
fn wrong_sizes_are_refused() {
    let pool = ThreadPool::new(1).unwrap();
    let values = vec![0.0; 64];
    let mut kept = KvCache::default();
    kept.reset(1, 2, 16);
    let heads = Heads {
        values: &values,
        offset: 0,
        stride: 32,
    };
    let mut out = vec![0.0; 64];
    let mut queries = Queries {
        heads,
        num_heads: 2,
        sequences: 1,
        positions: 2,
        scale: 1.0,
        rotary: None,
    };
    assert!(
        attend(&pool, &queries, &kept, None, &mut out).is_err(),
        "no keys yet"
    );
    assert!(
        kept.append(&pool, 3, heads, heads, None).is_err(),
        "rows are missing"
    );
    assert!(
        kept.append(&pool, 2, heads, Heads { offset: 1, ..heads }, None)
            .is_err()
    );
    kept.append(&pool, 2, heads, heads, None).unwrap();
    attend(&pool, &queries, &kept, None, &mut out).unwrap();
    let bias = AttentionBias {
        values: &values[..3],
        per_sequence: false,
        per_query: true,
    };
    assert!(attend(&pool, &queries, &kept, Some(bias), &mut out).is_err());
    queries.num_heads = 3;
    assert!(attend(&pool, &queries, &kept, None, &mut out).is_err());
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
