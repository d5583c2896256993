//! Dense products of matrices that are at hand: the inner loops.
//!
//! `out[i][j] = sum over k of x[i][k] * w[k][j]`, one rounding per step, `k`
//! ascending from zero. Lanes are columns `j`, so no instruction set sums in
//! another order than the portable code, and all give the same bits.

use crate::simd::f32::{PortableF32, SimdF32};
use crate::simd::isa::Isa;
use crate::simd::prefetch::prefetch;

/// ColumnPtrs are computed in whole multiples of this.
pub(crate) const COLUMNS: usize = 16;
/// Rows that are computed together at most.
const TILE_ROWS: usize = 6;

/// Matrices in memory; a stride is the distance of two rows.
#[derive(Clone, Copy)]
pub(crate) struct GemmArgs {
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    /// A multiple of [`COLUMNS`].
    pub(crate) columns: usize,
    pub(crate) x: *const f32,
    pub(crate) x_stride: usize,
    pub(crate) w: *const f32,
    pub(crate) w_stride: usize,
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
    /// Whether `out` holds sums to go on from.
    pub(crate) accumulate: bool,
}

/// Memory that is asked for while a product is computed: a little with every tile,
/// as many requests at once would hold up the loads of the product.
pub(crate) struct Prefetcher {
    from: *const u8,
    /// Bytes of a row.
    bytes: usize,
    /// Bytes from one row to the next.
    stride: usize,
    rows: usize,
    rows_per_tile: usize,
}

impl Prefetcher {
    pub(crate) fn none() -> Self {
        Self::new(std::ptr::null(), 0, 0, 0, 1)
    }

    /// These rows, while `x_rows` are multiplied. The address may be any.
    pub(crate) fn new(
        from: *const u8,
        bytes: usize,
        stride: usize,
        rows: usize,
        x_rows: usize,
    ) -> Self {
        Self {
            from,
            bytes,
            stride,
            rows,
            rows_per_tile: rows.div_ceil(x_rows.div_ceil(TILE_ROWS)),
        }
    }

    #[inline(always)]
    fn issue(&mut self) {
        for _ in 0..self.rows_per_tile.min(self.rows) {
            for at in (0..self.bytes).step_by(64) {
                prefetch::<false>(self.from.wrapping_add(at), 1);
            }
            self.from = self.from.wrapping_add(self.stride);
            self.rows -= 1;
        }
    }
}

impl GemmArgs {
    /// Computes the product.
    ///
    /// # Safety
    /// The instruction set must be available; all of `x` (`rows` of `inner`), `w`
    /// (`inner` of `columns`) and `out` (`rows` of `columns`) must be readable, and
    /// `out` writable and not part of the others.
    pub(crate) unsafe fn multiply(self, isa: Isa, prefetcher: &mut Prefetcher) {
        debug_assert!(self.columns.is_multiple_of(COLUMNS));
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{__m256, __m512};

            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
            unsafe fn avx512(args: GemmArgs, prefetcher: &mut Prefetcher) {
                // SAFETY: the caller's promises.
                unsafe { args.loop_columns::<__m512, TILE_ROWS, 4>(prefetcher) }
            }
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2(args: GemmArgs, prefetcher: &mut Prefetcher) {
                // SAFETY: the caller's promises.
                unsafe { args.loop_columns::<__m256, TILE_ROWS, 2>(prefetcher) }
            }
            match isa {
                // SAFETY: the caller's promises.
                Isa::Avx512Vnni => return unsafe { avx512(self, prefetcher) },
                // SAFETY: the caller's promises.
                Isa::Avx2 | Isa::AvxVnni => return unsafe { avx2(self, prefetcher) },
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if isa != Isa::Scalar {
            // SAFETY: the caller's promises; NEON is part of the architecture.
            return unsafe {
                self.loop_columns::<std::arch::aarch64::float32x4_t, TILE_ROWS, 4>(prefetcher)
            };
        }
        let _ = isa;
        // SAFETY: the caller's promises.
        unsafe { self.loop_columns::<PortableF32, 4, 1>(prefetcher) }
    }

    /// Column by column, so that a few columns of `w` stay near while all rows
    /// meet them. `R` rows and `G` registers are computed together.
    ///
    /// # Safety
    /// As [`GemmArgs::multiply`].
    #[inline(always)]
    unsafe fn loop_columns<V: SimdF32, const R: usize, const G: usize>(
        self,
        prefetcher: &mut Prefetcher,
    ) {
        let mut column = 0;
        while column < self.columns {
            let left = (self.columns - column) / V::LANES;
            // SAFETY: these registers are inside the columns.
            column += V::LANES
                * unsafe {
                    if left >= G {
                        self.loop_rows::<V, R, G>(column, prefetcher);
                        G
                    } else if left >= 2 {
                        self.loop_rows::<V, R, 2>(column, prefetcher);
                        2
                    } else {
                        self.loop_rows::<V, R, 1>(column, prefetcher);
                        1
                    }
                };
        }
    }

    /// # Safety
    /// As [`GemmArgs::multiply`]; `G` registers from `column` are inside.
    #[inline(always)]
    unsafe fn loop_rows<V: SimdF32, const R: usize, const G: usize>(
        self,
        column: usize,
        prefetcher: &mut Prefetcher,
    ) {
        let mut row = 0;
        while row < self.rows {
            let left = self.rows - row;
            prefetcher.issue();
            // SAFETY: these rows are inside.
            row += unsafe {
                if left >= R {
                    self.tile::<V, R, G>(row, column);
                    R
                } else if left >= 4 {
                    self.tile::<V, 4, G>(row, column);
                    4
                } else if left >= 2 {
                    self.tile::<V, 2, G>(row, column);
                    2
                } else {
                    self.tile::<V, 1, G>(row, column);
                    1
                }
            };
        }
    }

    /// # Safety
    /// As [`GemmArgs::multiply`]; `R` rows from `row` and `G` registers from `column`
    /// are inside.
    #[inline(always)]
    unsafe fn tile<V: SimdF32, const R: usize, const G: usize>(self, row: usize, column: usize) {
        // SAFETY: inside by the caller's promise.
        unsafe {
            let out = self.out.add(row * self.out_stride + column);
            let place = |r: usize, g: usize| r * self.out_stride + g * V::LANES;
            let mut sums = [[V::zero(); G]; R];
            if self.accumulate {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (g, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(out.add(place(r, g)));
                    }
                }
            }
            let x = self.x.add(row * self.x_stride);
            let mut w = self.w.add(column);
            for k in 0..self.inner {
                let mut weights = [V::zero(); G];
                for (g, weights) in weights.iter_mut().enumerate() {
                    *weights = V::load(w.add(g * V::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(x.add(r * self.x_stride + k));
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = sum.mul_add(x, weights);
                    }
                }
                w = w.wrapping_add(self.w_stride);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (g, sum) in sums.iter().enumerate() {
                    sum.store(out.add(place(r, g)));
                }
            }
        }
    }
}

/// Multiplies and adds in registers, `rounds` times, and says how many products
/// there are in a round.
pub(crate) fn peak(isa: Isa, rounds: usize) -> usize {
    #[inline(always)]
    unsafe fn run<V: SimdF32>(rounds: usize) -> usize {
        const REGISTERS: usize = 12;
        let x = std::hint::black_box([0.5_f32; 16]);
        // SAFETY: the caller has the instruction set, and no register holds more
        // than 16 numbers.
        unsafe {
            let weights = V::load(x.as_ptr());
            let mut sums = [weights; REGISTERS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = sum.mul_add(weights, weights);
                }
            }
            let mut out = [0.0; 16];
            for sum in sums {
                sum.store(out.as_mut_ptr());
                std::hint::black_box(&out);
            }
        }
        REGISTERS * V::LANES
    }
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m256, __m512};

        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn avx512(rounds: usize) -> usize {
            // SAFETY: the attribute.
            unsafe { run::<__m512>(rounds) }
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2(rounds: usize) -> usize {
            // SAFETY: the attribute.
            unsafe { run::<__m256>(rounds) }
        }
        match isa {
            // SAFETY: whoever names an instruction set has checked that it is available.
            Isa::Avx512Vnni => return unsafe { avx512(rounds) },
            // SAFETY: as above.
            Isa::Avx2 | Isa::AvxVnni => return unsafe { avx2(rounds) },
            _ => {}
        }
    }
    #[cfg(target_arch = "aarch64")]
    if isa != Isa::Scalar {
        // SAFETY: NEON is part of the architecture.
        return unsafe { run::<std::arch::aarch64::float32x4_t>(rounds) };
    }
    let _ = isa;
    // SAFETY: portable code.
    unsafe { run::<PortableF32>(rounds) }
}
