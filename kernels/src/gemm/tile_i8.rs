//! The integer register tile: packed weights times quantised rows.

use std::marker::PhantomData;
use std::ops::Range;

use crate::activations::RowsView;
use crate::layout::BLOCK;
use crate::simd::microkernel::{MAX_ROWS_PER_ACCUMULATOR, Microkernel, PerRow, SimdOp};

/// A packed piece of a matrix: `groups` times what `pack` writes.
pub(crate) struct Panel<'a> {
    pub(crate) groups: usize,
    pub(crate) quants: &'a [u8],
    pub(crate) scales: &'a [f32],
}

/// Accumulates the products of `row_range` with the `blocks` of a packed panel
/// into `sums`, or overwrites them if the blocks begin at zero. `sums` has
/// `width` values per row.
///
/// # Safety
/// The features of `K` must be available, rows and blocks inside `rows`.
pub(crate) unsafe fn gemm<K: Microkernel>(
    rows: &RowsView<'_>,
    row_range: Range<usize>,
    blocks: Range<usize>,
    panel: &Panel<'_>,
    sums: &mut [f32],
    width: usize,
) {
    let tile_rows = const { K::MR * K::ROWS };
    let full = row_range.len() / tile_rows * tile_rows;
    let (full_sums, rest_sums) = sums.split_at_mut((full * width).min(sums.len()));
    let parts = [
        (row_range.start, full, tile_rows, full_sums),
        (
            row_range.start + full,
            row_range.len() - full,
            row_range.len() - full,
            rest_sums,
        ),
    ];
    for (row, row_count, tile_rows, sums) in parts {
        if row_count == 0 {
            continue;
        }
        let args = TileArgs {
            rows,
            row,
            row_count,
            tile_rows,
            blocks: blocks.clone(),
            panel,
            width,
        };
        // SAFETY: the caller's promises are passed on; the sums are those of
        // `row_count` rows.
        unsafe {
            match panel.groups {
                1 => with_groups::<K, 1>(args, sums),
                2 if const { K::NR >= 2 } => with_groups::<K, 2>(args, sums),
                3 if const { K::NR >= 3 } => with_groups::<K, 3>(args, sums),
                4 if const { K::NR >= 4 } => with_groups::<K, 4>(args, sums),
                groups => unreachable!("a panel of {groups} groups"),
            }
        }
    }
}

/// # Safety
/// As [`gemm`], with a panel of `G` groups.
#[inline(always)]
unsafe fn with_groups<K: Microkernel, const G: usize>(args: TileArgs<'_>, sums: &mut [f32]) {
    // SAFETY: the caller's promises are passed on.
    unsafe {
        match args.tile_rows.div_ceil(K::ROWS) {
            1 => with_rows::<K, 1, G>(args, sums),
            2 if const { K::MR >= 2 } => with_rows::<K, 2, G>(args, sums),
            3 if const { K::MR >= 3 } => with_rows::<K, 3, G>(args, sums),
            4 if const { K::MR >= 4 } => with_rows::<K, 4, G>(args, sums),
            5 if const { K::MR >= 5 } => with_rows::<K, 5, G>(args, sums),
            6 if const { K::MR >= 6 } => with_rows::<K, 6, G>(args, sums),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }
}

/// # Safety
/// As [`gemm`], with a panel of `G` groups and tiles of `R` times `ROWS` rows.
#[inline(always)]
unsafe fn with_rows<K: Microkernel, const R: usize, const G: usize>(
    args: TileArgs<'_>,
    sums: &mut [f32],
) {
    let microkernel = PhantomData;
    // SAFETY: the caller's promises are passed on.
    unsafe {
        K::with_features(Tiles::<K, R, G> {
            args,
            sums,
            microkernel,
        })
    }
}

struct TileArgs<'a> {
    rows: &'a RowsView<'a>,
    row: usize,
    /// A multiple of `tile_rows`.
    row_count: usize,
    /// Rows of one tile: `R * ROWS`, or one less.
    tile_rows: usize,
    blocks: Range<usize>,
    panel: &'a Panel<'a>,
    width: usize,
}

/// Tiles of `R` times [`Microkernel::ROWS`] rows and `G` groups, one below the
/// other. They share one call, which would cost as much as some blocks.
struct Tiles<'a, K, const R: usize, const G: usize> {
    args: TileArgs<'a>,
    sums: &'a mut [f32],
    microkernel: PhantomData<K>,
}

impl<K: Microkernel, const R: usize, const G: usize> SimdOp for Tiles<'_, K, R, G> {
    type Output = ();

    #[inline(always)]
    unsafe fn run(self) {
        let TileArgs {
            rows,
            row,
            row_count,
            tile_rows,
            blocks,
            panel,
            width,
        } = self.args;
        let sums = self.sums;
        // A copy: behind the reference, the compiler would read it again after
        // every store to the sums.
        let row_blocks = rows.blocks;
        let packed_block = const { K::LANES * BLOCK };
        const { assert!(K::LOADS * K::STEPS * size_of::<K::Weights>() == K::LANES * BLOCK) };
        const { assert!(size_of::<K::Block>() == K::LANES * BLOCK) };
        let count = blocks.len();
        assert!(panel.quants.len() == G * count * packed_block);
        assert!(panel.scales.len() == G * count * K::LANES);
        assert!(sums.len() >= (row_count - 1) * width + G * K::LANES);
        assert!(tile_rows > 0 && row_count.is_multiple_of(tile_rows));
        let last = tile_rows - 1;
        // Row `i` of accumulator `r`. An odd last row is its own partner.
        let row_of = |r: usize, i: usize| {
            if const { K::ROWS == 1 } {
                r
            } else {
                (K::ROWS * r + i).min(last)
            }
        };
        let quants = panel.quants.as_ptr();
        let scales = panel.scales.as_ptr();
        for tile in 0..row_count / tile_rows {
            let row = row + tile * tile_rows;
            // SAFETY: everything is inside by the caller's promise and the
            // assertions above.
            unsafe {
                let x = rows_of::<K, R>(rows, row, blocks.start, last);
                let first_block = row * row_blocks + blocks.start;
                let x_scales = rows.scales.as_ptr().add(first_block);
                let compensation = rows.compensation.as_ptr().add(first_block);
                let sums = sums.as_mut_ptr().add(tile * tile_rows * width);
                let sum_ptr = |r: usize, g: usize| -> PerRow<*mut f32> {
                    let at = |i: usize| sums.add(row_of(r, i) * width + g * K::LANES);
                    [at(0), at(1)]
                };
                let load =
                    |r: usize, g: usize| K::load_sum(sum_ptr(r, g).map(|sum| sum.cast_const()));

                let mut totals = [[K::zero(); G]; R];
                if K::SUMS_IN_REGISTERS {
                    if blocks.start > 0 {
                        for (r, totals) in totals.iter_mut().enumerate() {
                            for (g, total) in totals.iter_mut().enumerate() {
                                *total = load(r, g);
                            }
                        }
                    }
                } else if blocks.start == 0 {
                    for (r, totals) in totals.iter().enumerate() {
                        for (g, zero) in totals.iter().enumerate() {
                            K::store_sum(sum_ptr(r, g), *zero);
                        }
                    }
                }
                for block in 0..count {
                    let of_block = |r: usize, i: usize| row_of(r, i) * row_blocks + block;
                    let compensation =
                        |r: usize| [0, 1].map(|i| compensation.wrapping_add(of_block(r, i)));
                    let mut dots = [[K::zero_accumulator(); G]; R];
                    for (r, dots) in dots.iter_mut().enumerate() {
                        *dots = [K::start(compensation(r)); G];
                    }
                    for load in 0..K::LOADS {
                        let at = block * BLOCK + load * (BLOCK / K::LOADS);
                        let activations =
                            |r: usize| K::load_activations(x[r].map(|x| x.wrapping_add(at)));
                        let mut x = [activations(0); R];
                        for (r, x) in x.iter_mut().enumerate().skip(1) {
                            *x = activations(r);
                        }
                        let weights = quants
                            .add(block * packed_block)
                            .cast::<K::Weights>()
                            .add(load * K::STEPS);
                        let group = count * packed_block;
                        step::<K, R, G, 0>(weights, group, &x, &mut dots);
                        if const { K::STEPS > 1 } {
                            step::<K, R, G, 1>(weights, group, &x, &mut dots);
                        }
                        if const { K::STEPS > 2 } {
                            step::<K, R, G, 2>(weights, group, &x, &mut dots);
                            step::<K, R, G, 3>(weights, group, &x, &mut dots);
                        }
                        if const { K::STEPS > 4 } {
                            step::<K, R, G, 4>(weights, group, &x, &mut dots);
                            step::<K, R, G, 5>(weights, group, &x, &mut dots);
                            step::<K, R, G, 6>(weights, group, &x, &mut dots);
                            step::<K, R, G, 7>(weights, group, &x, &mut dots);
                        }
                    }
                    let w_scale =
                        |g: usize| K::load_scale(scales.add((g * count + block) * K::LANES));
                    for r in 0..R {
                        let x_scale = [0, 1].map(|i| x_scales.wrapping_add(of_block(r, i)));
                        let x_scale = K::broadcast_scale(x_scale);
                        let mut finished = [K::zero(); G];
                        for (finished, dots) in finished.iter_mut().zip(dots[r]) {
                            *finished = K::finish(dots, compensation(r));
                        }
                        // Read before the first store, so that the compiler need
                        // not read what the groups share once for each.
                        let mut row_sums = totals[r];
                        for (g, sum) in row_sums.iter_mut().enumerate() {
                            if !K::SUMS_IN_REGISTERS {
                                *sum = load(r, g);
                            }
                            *sum = K::scale_add(finished[g], x_scale, w_scale(g), *sum);
                        }
                        if K::SUMS_IN_REGISTERS {
                            totals[r] = row_sums;
                        } else {
                            for (g, sum) in row_sums.iter().enumerate() {
                                K::store_sum(sum_ptr(r, g), *sum);
                            }
                        }
                    }
                }
                if K::SUMS_IN_REGISTERS {
                    for (r, totals) in totals.iter().enumerate() {
                        for (g, total) in totals.iter().enumerate() {
                            K::store_sum(sum_ptr(r, g), *total);
                        }
                    }
                }
            }
        }
    }
}

/// Where the values of each row of a tile begin. One address follows from the
/// one before: the compiler would compute products with vector instructions.
///
/// # Safety
/// The rows must be inside.
#[inline(always)]
unsafe fn rows_of<K: Microkernel, const R: usize>(
    rows: &RowsView<'_>,
    row: usize,
    block: usize,
    last: usize,
) -> [PerRow<*const i8>; R] {
    // SAFETY: the caller's promise.
    let mut next = unsafe { rows.quants.as_ptr().add(row * rows.stride + block * BLOCK) };
    let mut x = [[next; MAX_ROWS_PER_ACCUMULATOR]; R];
    for (r, x) in x.iter_mut().enumerate() {
        for i in 0..K::ROWS {
            x[i..].fill(next);
            if K::ROWS == 1 || K::ROWS * r + i < last {
                next = next.wrapping_add(rows.stride);
            }
        }
    }
    x
}

/// Step `STEP` of all rows and groups; the weights of two groups are `group`
/// bytes apart.
///
/// # Safety
/// The features of `K`, and weights for the step.
#[inline(always)]
unsafe fn step<K: Microkernel, const R: usize, const G: usize, const STEP: usize>(
    weights: *const K::Weights,
    group: usize,
    x: &[K::Activations; R],
    dots: &mut [[K::Accumulator; G]; R],
) {
    // SAFETY: the caller's promises.
    unsafe {
        let load = |g: usize| weights.add(STEP).byte_add(g * group).read_unaligned();
        let mut weights = [load(0); G];
        for (g, weights) in weights.iter_mut().enumerate().skip(1) {
            *weights = load(g);
        }
        for (x, dots) in x.iter().zip(dots) {
            let x = K::broadcast::<STEP>(*x);
            for (dots, weights) in dots.iter_mut().zip(weights) {
                *dots = K::dot::<STEP>(*dots, weights, x);
            }
        }
    }
}

/// Accumulators of the peak measurement: enough to hide the latency of the
/// dot-product instruction, few enough for 16 registers.
const PEAK_ACCUMULATORS: usize = 12;

/// Multiplications of 8-bit numbers in one round of [`peak`].
pub(crate) const fn peak_products<K: Microkernel>() -> usize {
    PEAK_ACCUMULATORS * K::LANES * K::ROWS * BLOCK / (K::LOADS * K::STEPS)
}

/// The dot-product instructions in a loop, on operands that never leave the
/// registers.
///
/// # Safety
/// The features of `K` must be available.
pub(crate) unsafe fn peak<K: Microkernel>(rounds: usize) {
    struct Peak<K>(usize, PhantomData<K>);
    impl<K: Microkernel> SimdOp for Peak<K> {
        type Output = ();

        #[inline(always)]
        unsafe fn run(self) {
            #[repr(align(64))]
            struct Aligned([i8; 256]);
            let values = std::hint::black_box(Aligned([3; 256]));
            let values = values.0.as_ptr();
            // SAFETY: any bytes are weights and activations, and there are
            // enough of them.
            unsafe {
                let weights = values.cast::<K::Weights>().read_unaligned();
                let x = K::broadcast::<0>(K::load_activations([values; 2]));
                let mut dots = [K::zero_accumulator(); PEAK_ACCUMULATORS];
                for _ in 0..self.0 {
                    let weights = std::hint::black_box(weights);
                    for dots in &mut dots {
                        *dots = K::dot::<0>(*dots, weights, x);
                    }
                }
                for dots in dots {
                    std::hint::black_box(dots);
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { K::with_features(Peak::<K>(rounds, PhantomData)) }
}
