//! Scaled dot-product attention in one pass, over keys and values that stay.
//!
//! For a query `q`, keys `k` and values `v` of one head, with one rounding per
//! step and positions ascending:
//!
//! ```text
//! score[m] = fma over e of (q[e] * scale, k[m][e]); score[m] += bias[m]
//! weight[m] = exp(score[m] - largest score);  total = sum of the weights
//! out[e] = (fma over m of (weight[m], v[m][e])) / total
//! ```
//!
//! `exp` and the order of the sum are those of this crate, so all instruction
//! sets and any number of threads give the same bits.

use std::cell::RefCell;
use std::ops::Range;

use crate::compiled::compiled;
use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::key_values::KeyValues;
use crate::layout::check_length;
use crate::math;
use crate::pool::Pool;
use crate::scratch::Buffer;
use crate::tile::{Ahead, COLUMNS, Tiles};
use crate::values::{largest, sum_of};

/// Queries of one task.
const QUERIES: usize = 132;

/// Vectors of heads inside wider rows: head `h` of position `i` begins at
/// `first + i * stride + h * width`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Rows of all positions of all sequences.
    pub values: &'a [f32],
    /// Where the first head of the first row begins.
    pub first: usize,
    /// The length of a row.
    pub stride: usize,
}

impl Heads<'_> {
    pub(crate) fn check(
        &self,
        what: &'static str,
        positions: usize,
        width: usize,
    ) -> Result<(), ShapeError> {
        check_length(what, positions * self.stride, self.values.len())?;
        if self.first + width > self.stride {
            return Err(ShapeError::Length {
                what,
                expected: self.first + width,
                actual: self.stride,
            });
        }
        Ok(())
    }

    pub(crate) fn row(&self, position: usize, head: usize, width: usize) -> &[f32] {
        &self.values[position * self.stride + self.first + head * width..][..width]
    }
}

/// Angles by which pairs of channels half a head apart are turned.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    /// Cosines, one row of the head's width per position of every sequence.
    pub cos: &'a [f32],
    /// Sines, likewise.
    pub sin: &'a [f32],
}

impl Rotary<'_> {
    pub(crate) fn check(&self, values: usize) -> Result<(), ShapeError> {
        check_length("cosines", values, self.cos.len())?;
        check_length("sines", values, self.sin.len())
    }

    #[inline(always)]
    pub(crate) fn turn(&self, position: usize, x: &[f32], factor: f32, out: &mut [f32]) {
        let (width, half) = (x.len(), x.len() / 2);
        let cos = &self.cos[position * width..][..width];
        let sin = &self.sin[position * width..][..width];
        for e in 0..half {
            let (a, b) = (x[e], x[e + half]);
            out[e] = (a * cos[e] + -b * sin[e]) * factor;
            out[e + half] = (b * cos[e + half] + a * sin[e + half]) * factor;
        }
    }
}

/// Numbers added to the scores.
#[derive(Clone, Copy, Debug)]
pub struct Bias<'a> {
    /// `[sequences or 1, queries or 1, positions]`
    pub values: &'a [f32],
    /// Whether every sequence has rows of its own.
    pub by_sequence: bool,
    /// Whether every query has a row of its own.
    pub by_query: bool,
}

/// The queries of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// Where they are.
    pub heads: Heads<'a>,
    /// Number of heads: a multiple of the heads of keys and values, which
    /// consecutive query heads share.
    pub count: usize,
    /// Sequences. Keys of one sequence serve all of them.
    pub sequences: usize,
    /// Queries of each sequence.
    pub new: usize,
    /// What every query is multiplied with.
    pub scale: f32,
    /// The turn of every query.
    pub rotary: Option<Rotary<'a>>,
}

/// Attention of `queries` over what is kept: `out` is `[sequences, new, heads * width]`.
pub fn attend(
    pool: &Pool,
    queries: &Queries<'_>,
    kept: &KeyValues,
    bias: Option<Bias<'_>>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let Queries {
        count,
        sequences,
        new,
        ..
    } = *queries;
    let width = kept.width;
    let row = count * width;
    let positions = sequences * new;
    queries.heads.check("queries", positions, row)?;
    if let Some(rotary) = queries.rotary {
        rotary.check(positions * width)?;
    }
    check_length("output", positions * row, out.len())?;
    check_length(
        "sequences of keys",
        if kept.sequences == 1 { 1 } else { sequences },
        kept.sequences,
    )?;
    if kept.heads == 0 || kept.length == 0 {
        return Err(ShapeError::Zero { what: "keys" });
    }
    check_length("query heads", count / kept.heads * kept.heads, count)?;
    if let Some(bias) = bias {
        let rows =
            if bias.by_sequence { sequences } else { 1 } * if bias.by_query { new } else { 1 };
        check_length("bias", rows * kept.length, bias.values.len())?;
    }
    let pieces = new.div_ceil(QUERIES);
    let out = Disjoint::new(out);
    let isa = pool.isa();
    pool.run(sequences * count * pieces, |task| {
        let (index, piece) = (task / pieces, task % pieces);
        let (sequence, head) = (index / count, index % count);
        let first = piece * QUERIES;
        let rows = first..new.min(first + QUERIES);
        one_head(
            isa,
            queries,
            kept,
            bias,
            (sequence, head),
            rows.clone(),
            |query, values| {
                let at = (sequence * new + query) * row + head * width;
                // SAFETY: every query of every head belongs to one task.
                unsafe { out.part(at..at + width) }.copy_from_slice(values);
            },
        );
    });
    Ok(())
}

/// Positions whose values stay in the first-level cache while all queries meet them.
const CHUNK: usize = 128;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch {
        queries: Buffer::new(),
        scores: Buffer::new(),
        context: Buffer::new(),
    }) };
}

struct Scratch {
    queries: Buffer<f32>,
    scores: Buffer<f32>,
    context: Buffer<f32>,
}

fn one_head(
    isa: crate::Isa,
    queries: &Queries<'_>,
    kept: &KeyValues,
    bias: Option<Bias<'_>>,
    (sequence, head): (usize, usize),
    rows: Range<usize>,
    mut write: impl FnMut(usize, &[f32]),
) {
    let (width, padded, length) = (kept.width, kept.padded(), kept.length);
    let columns = length.next_multiple_of(COLUMNS);
    let shared = if kept.sequences == 1 { 0 } else { sequence };
    let part = shared * kept.heads + head / (queries.count / kept.heads);
    let keys = &kept.keys[part * width * kept.capacity..][..width * kept.capacity];
    let values = &kept.values[part * kept.capacity * padded..][..kept.capacity * padded];
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.queries.grow(rows.len() * width);
        scratch.scores.grow(rows.len() * columns);
        scratch.context.grow(rows.len() * padded);
        let scaled = &mut scratch.queries.values()[..rows.len() * width];
        let scores = &mut scratch.scores.values()[..rows.len() * columns];
        let context = &mut scratch.context.values()[..rows.len() * padded];
        take_queries(isa, queries, (sequence, head), width, rows.clone(), scaled);
        let products = Tiles {
            rows: rows.len(),
            inner: width,
            columns,
            x: scaled.as_ptr(),
            x_stride: width,
            w: keys.as_ptr(),
            w_stride: kept.capacity,
            out: scores.as_mut_ptr(),
            out_stride: columns,
            goes_on: false,
        };
        // SAFETY: the instruction set is a pool's, hence available; the scratch has
        // just been cut to these sizes, and `columns` is at most the capacity, as
        // both are multiples of the same number.
        unsafe { products.multiply(isa, &mut Ahead::nothing()) };
        for (query, scores) in rows.clone().zip(scores.chunks_exact_mut(columns)) {
            let bias = bias.map(|bias| {
                let of_sequence = if bias.by_sequence { sequence } else { 0 };
                let row = if bias.by_query {
                    of_sequence * queries.new + query
                } else {
                    of_sequence
                };
                &bias.values[row * length..][..length]
            });
            weigh(isa, bias, length, scores);
        }
        for start in (0..length).step_by(CHUNK) {
            let sums = Tiles {
                rows: rows.len(),
                inner: CHUNK.min(length - start),
                columns: padded,
                x: scores[start..].as_ptr(),
                x_stride: columns,
                w: values[start * padded..].as_ptr(),
                w_stride: padded,
                out: context.as_mut_ptr(),
                out_stride: padded,
                goes_on: start > 0,
            };
            // SAFETY: as above; `length` is at most the capacity.
            unsafe { sums.multiply(isa, &mut Ahead::nothing()) };
        }
        for (query, context) in rows.zip(context.chunks_exact(padded)) {
            write(query, &context[..width]);
        }
    });
}

compiled! {
    fn take_queries(
        queries: &Queries<'_>,
        place: (usize, usize),
        width: usize,
        rows: Range<usize>,
        scaled: &mut [f32],
    ) = take_queries_of
}

#[inline(always)]
fn take_queries_of(
    queries: &Queries<'_>,
    (sequence, head): (usize, usize),
    width: usize,
    rows: Range<usize>,
    scaled: &mut [f32],
) {
    for (query, scaled) in rows.zip(scaled.chunks_exact_mut(width)) {
        let position = sequence * queries.new + query;
        let from = queries.heads.row(position, head, width);
        match queries.rotary {
            Some(rotary) => rotary.turn(position, from, queries.scale, scaled),
            None => {
                for (scaled, x) in scaled.iter_mut().zip(from) {
                    *scaled = x * queries.scale;
                }
            }
        }
    }
}

compiled! {
    /// Scores to weights that add up to one.
    fn weigh(bias: Option<&[f32]>, length: usize, scores: &mut [f32]) = weigh_of
}

#[inline(always)]
fn weigh_of(bias: Option<&[f32]>, length: usize, scores: &mut [f32]) {
    if let Some(bias) = bias {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += bias;
        }
    }
    // Columns beyond the last position hold products with old memory.
    scores[length..].fill(f32::NEG_INFINITY);
    let most = largest(scores);
    for score in scores.iter_mut() {
        *score = math::exp(*score - most);
    }
    let factor = 1.0 / sum_of(scores, |weight| weight);
    for score in scores.iter_mut() {
        *score *= factor;
    }
}
