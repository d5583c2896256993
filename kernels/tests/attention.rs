//! Attention: every instruction set gives the bits of the portable code, and
//! those are near what double precision gives.

mod common;

use common::{near, numbers, same_bits};
use deltavlm_kernels::{AttentionBias, Heads, KvCache, Queries, Rotary, ThreadPool, attend};

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
