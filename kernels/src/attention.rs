//! Scaled dot-product attention in one pass, over keys and values that stay.
//!
//! For a query `q`, keys `k` and values `v` of one head, with one rounding per
//! step and positions ascending:
//!
//! ```text
//! score[m] = fma over e of (q[e] * scale, k[m][e]); score[m] += bias[m]
//! weight[m] = exp(score[m] - max_or_nan score);  total = sum of the weights
//! out[e] = (fma over m of (weight[m], v[m][e])) / total
//! ```
//!
//! `exp` and the order of the sum are those of this crate, so all instruction
//! sets and any number of threads give the same bits.

use std::cell::RefCell;
use std::ops::Range;

use crate::aligned_buffer::AlignedBuffer;
use crate::elementwise::{max_or_nan, sum_of};
use crate::error::ShapeError;
use crate::gemm::tile_f32::{COLUMNS, GemmArgs, Prefetcher};
use crate::heads::{Heads, Rotary};
use crate::kv_cache::KvCache;
use crate::layout::check_length;
use crate::math;
use crate::shared_slice::SharedSliceMut;
use crate::simd::multiversion::multiversion;
use crate::thread_pool::ThreadPool;

/// Queries of one task.
const QUERIES_PER_TASK: usize = 132;

/// Numbers added to the scores.
#[derive(Clone, Copy, Debug)]
pub struct AttentionBias<'a> {
    /// `[sequences or 1, queries or 1, positions]`
    pub values: &'a [f32],
    /// Whether every sequence has rows of its own.
    pub per_sequence: bool,
    /// Whether every query has a row of its own.
    pub per_query: bool,
}

/// The queries of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Where they are.
    pub heads: Heads<'a>,
    /// Number of heads: a multiple of the heads of keys and values, which
    /// consecutive query heads share.
    pub num_heads: usize,
    /// Sequences. Keys of one sequence serve all of them.
    pub sequences: usize,
    /// Queries of each sequence.
    pub positions: usize,
    /// What every query is multiplied with.
    pub scale: f32,
    /// The turn of every query.
    pub rotary: Option<Rotary<'a>>,
}

/// Attention of `queries` over what is cache: `out` is `[sequences, new, heads * width]`.
pub fn attend(
    pool: &ThreadPool,
    queries: &Queries<'_>,
    cache: &KvCache,
    bias: Option<AttentionBias<'_>>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let Queries {
        num_heads: count,
        sequences,
        positions: new,
        ..
    } = *queries;
    let width = cache.width;
    let row = count * width;
    let positions = sequences * new;
    queries.heads.check("queries", positions, row)?;
    if let Some(rotary) = queries.rotary {
        rotary.check(positions * width)?;
    }
    check_length("output", positions * row, out.len())?;
    check_length(
        "sequences of keys",
        if cache.sequences == 1 { 1 } else { sequences },
        cache.sequences,
    )?;
    if cache.heads == 0 || cache.length == 0 {
        return Err(ShapeError::Zero { what: "keys" });
    }
    check_length("query heads", count / cache.heads * cache.heads, count)?;
    if let Some(bias) = bias {
        let rows =
            if bias.per_sequence { sequences } else { 1 } * if bias.per_query { new } else { 1 };
        check_length("bias", rows * cache.length, bias.values.len())?;
    }
    let pieces = new.div_ceil(QUERIES_PER_TASK);
    let out = SharedSliceMut::new(out);
    let isa = pool.isa();
    pool.run(sequences * count * pieces, |task| {
        let (index, piece) = (task / pieces, task % pieces);
        let (sequence, head) = (index / count, index % count);
        let first = piece * QUERIES_PER_TASK;
        let rows = first..new.min(first + QUERIES_PER_TASK);
        attend_one_head(
            isa,
            queries,
            cache,
            bias,
            (sequence, head),
            rows.clone(),
            |query, values| {
                let at = (sequence * new + query) * row + head * width;
                // SAFETY: every query of every head belongs to one task.
                unsafe { out.slice_mut(at..at + width) }.copy_from_slice(values);
            },
        );
    });
    Ok(())
}

/// Positions whose values stay in the first-level cache while all queries meet them.
const CHUNK: usize = 128;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch {
        queries: AlignedBuffer::new(),
        scores: AlignedBuffer::new(),
        context: AlignedBuffer::new(),
    }) };
}

struct Scratch {
    queries: AlignedBuffer<f32>,
    scores: AlignedBuffer<f32>,
    context: AlignedBuffer<f32>,
}

fn attend_one_head(
    isa: crate::Isa,
    queries: &Queries<'_>,
    cache: &KvCache,
    bias: Option<AttentionBias<'_>>,
    (sequence, head): (usize, usize),
    rows: Range<usize>,
    mut write: impl FnMut(usize, &[f32]),
) {
    let (width, padded, length) = (cache.width, cache.padded(), cache.length);
    let columns = length.next_multiple_of(COLUMNS);
    let shared = if cache.sequences == 1 { 0 } else { sequence };
    let part = shared * cache.heads + head / (queries.num_heads / cache.heads);
    let keys = &cache.keys[part * width * cache.capacity..][..width * cache.capacity];
    let values = &cache.values[part * cache.capacity * padded..][..cache.capacity * padded];
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.queries.grow(rows.len() * width);
        scratch.scores.grow(rows.len() * columns);
        scratch.context.grow(rows.len() * padded);
        let scaled = &mut scratch.queries.as_mut_slice()[..rows.len() * width];
        let scores = &mut scratch.scores.as_mut_slice()[..rows.len() * columns];
        let context = &mut scratch.context.as_mut_slice()[..rows.len() * padded];
        load_queries(isa, queries, (sequence, head), width, rows.clone(), scaled);
        let products = GemmArgs {
            rows: rows.len(),
            inner: width,
            columns,
            x: scaled.as_ptr(),
            x_stride: width,
            w: keys.as_ptr(),
            w_stride: cache.capacity,
            out: scores.as_mut_ptr(),
            out_stride: columns,
            accumulate: false,
        };
        // SAFETY: the instruction set is a pool's, hence available; the scratch has
        // just been cut to these sizes, and `columns` is at max the capacity, as
        // both are multiples of the same number.
        unsafe { products.multiply(isa, &mut Prefetcher::none()) };
        for (query, scores) in rows.clone().zip(scores.chunks_exact_mut(columns)) {
            let bias = bias.map(|bias| {
                let of_sequence = if bias.per_sequence { sequence } else { 0 };
                let row = if bias.per_query {
                    of_sequence * queries.positions + query
                } else {
                    of_sequence
                };
                &bias.values[row * length..][..length]
            });
            softmax(isa, bias, length, scores);
        }
        for start in (0..length).step_by(CHUNK) {
            let sums = GemmArgs {
                rows: rows.len(),
                inner: CHUNK.min(length - start),
                columns: padded,
                x: scores[start..].as_ptr(),
                x_stride: columns,
                w: values[start * padded..].as_ptr(),
                w_stride: padded,
                out: context.as_mut_ptr(),
                out_stride: padded,
                accumulate: start > 0,
            };
            // SAFETY: as above; `length` is at max the capacity.
            unsafe { sums.multiply(isa, &mut Prefetcher::none()) };
        }
        for (query, context) in rows.zip(context.chunks_exact(padded)) {
            write(query, &context[..width]);
        }
    });
}

multiversion! {
    fn load_queries(
        queries: &Queries<'_>,
        place: (usize, usize),
        width: usize,
        rows: Range<usize>,
        scaled: &mut [f32],
    ) = load_queries_of
}

#[inline(always)]
fn load_queries_of(
    queries: &Queries<'_>,
    (sequence, head): (usize, usize),
    width: usize,
    rows: Range<usize>,
    scaled: &mut [f32],
) {
    for (query, scaled) in rows.zip(scaled.chunks_exact_mut(width)) {
        let position = sequence * queries.positions + query;
        let from = queries.heads.row(position, head, width);
        match queries.rotary {
            Some(rotary) => rotary.apply(position, from, queries.scale, scaled),
            None => {
                for (scaled, x) in scaled.iter_mut().zip(from) {
                    *scaled = x * queries.scale;
                }
            }
        }
    }
}

multiversion! {
    /// Scores to weights that add up to one.
    fn softmax(bias: Option<&[f32]>, length: usize, scores: &mut [f32]) = softmax_of
}

#[inline(always)]
fn softmax_of(bias: Option<&[f32]>, length: usize, scores: &mut [f32]) {
    if let Some(bias) = bias {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += bias;
        }
    }
    // ColumnPtrs beyond the last position hold products with old memory.
    scores[length..].fill(f32::NEG_INFINITY);
    let max = max_or_nan(scores);
    for score in scores.iter_mut() {
        *score = math::exp(*score - max);
    }
    let factor = 1.0 / sum_of(scores, |weight| weight);
    for score in scores.iter_mut() {
        *score *= factor;
    }
}
