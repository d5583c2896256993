//! The registry: which microkernel an instruction set uses, as a table of
//! monomorphised functions.

use std::ops::Range;

use super::task_grid::TaskGrid;
use super::tile_i8::{self, Panel};
use super::{gemv, pack};
use crate::activations::RowsView;
use crate::layout::{Bits, QuantizedMatrix};
use crate::simd::isa::Isa;
use crate::simd::microkernel::Microkernel;
use crate::simd::portable::Portable;

/// More rows than this are split over tasks, each of which packs the weights
/// again.
const MAX_ROWS: usize = 384;
/// The most panels of a task: they share what is read of the rows.
const MAX_PANELS: usize = 8;
/// Tasks per thread of a matrix-vector product.
const GEMV_TASKS_PER_THREAD: usize = 4;
/// The most panels of such a task.
const GEMV_MAX_PANELS: usize = 8;

/// The functions and blocking of one instruction set.
pub(crate) struct Kernel {
    /// Output columns per group.
    pub(crate) lanes: usize,
    /// Output columns per packed panel, a multiple of `lanes`.
    pub(crate) panel: usize,
    /// Rows of a full register tile.
    pub(crate) tile_rows: usize,
    /// The most rows for which `gemv` is used.
    pub(crate) gemv_max_rows: usize,
    /// The dot-product instruction in a loop.
    pub(crate) peak: Peak,
    four: MicrokernelFns,
    eight: MicrokernelFns,
}

/// What [`tile_i8::peak`] is for one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Peak {
    /// Requires the kernel's instruction set.
    pub(crate) run: unsafe fn(rounds: usize),
    /// Multiplications of 8-bit numbers per round.
    pub(crate) products: usize,
}

/// The functions for weights of one width. All of them require the instruction
/// set to be available, and indices inside the rows and the matrix.
#[derive(Clone, Copy)]
pub(crate) struct MicrokernelFns {
    /// [`gemv::gemv`]
    pub(crate) gemv: Gemv,
    /// [`pack::pack`]
    pub(crate) pack: Pack,
    /// [`tile_i8::gemm`]
    pub(crate) gemm: Gemm,
}

type Gemv = unsafe fn(
    rows: &RowsView<'_>,
    row_range: Range<usize>,
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    sums: &mut [f32],
    width: usize,
);

type Pack = unsafe fn(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    quants: &mut [u8],
    scales: &mut [f32],
);

type Gemm = unsafe fn(
    rows: &RowsView<'_>,
    row_range: Range<usize>,
    blocks: Range<usize>,
    panel: &Panel<'_>,
    sums: &mut [f32],
    width: usize,
);

static PORTABLE: Kernel = Kernel::new::<Portable<4>, Portable<8>>();

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Kernel;
    use crate::simd::avx2::{Avx2, AvxVnni};
    use crate::simd::avx512::Avx512Vnni;
    use crate::simd::avx512_gemv;

    pub(super) static AVX2: Kernel = Kernel::new::<Avx2<4>, Avx2<8>>();
    pub(super) static AVX_VNNI: Kernel = Kernel::new::<AvxVnni<4>, AvxVnni<8>>();
    pub(super) static AVX512_VNNI: Kernel = Kernel::new::<Avx512Vnni<4>, Avx512Vnni<8>>()
        .with_gemv(avx512_gemv::gemv, avx512_gemv::gemv);
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon {
    use super::{Kernel, gemv};
    use crate::simd::neon_dotprod::NeonDotprod;
    use crate::simd::neon_i8mm::NeonI8mm;

    pub(super) static DOTPROD: Kernel = Kernel::new::<NeonDotprod<4>, NeonDotprod<8>>();
    pub(super) static I8MM: Kernel = Kernel::new::<NeonI8mm<4>, NeonI8mm<8>>()
        .with_gemv(gemv::gemv::<NeonDotprod<4>>, gemv::gemv::<NeonDotprod<8>>);
}

impl Kernel {
    /// The kernel of an instruction set that is available.
    pub(crate) fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &x86::AVX2,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => &x86::AVX_VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => &x86::AVX512_VNNI,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::NeonDotprod => &neon::DOTPROD,
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Isa::NeonI8mm => &neon::I8MM,
            _ => &PORTABLE,
        }
    }

    const fn new<Four: Microkernel, Eight: Microkernel>() -> Self {
        assert!(matches!(Four::BITS, Bits::Four) && matches!(Eight::BITS, Bits::Eight));
        assert!(Four::LANES == Eight::LANES && Four::NR == Eight::NR);
        assert!(Four::MR * Four::ROWS == Eight::MR * Eight::ROWS);
        assert!(Four::GEMV_MAX_ROWS == Eight::GEMV_MAX_ROWS);
        Self {
            lanes: Four::LANES,
            panel: Four::LANES * Four::NR,
            tile_rows: Four::MR * Four::ROWS,
            gemv_max_rows: Four::GEMV_MAX_ROWS,
            peak: Peak {
                run: tile_i8::peak::<Four>,
                products: tile_i8::peak_products::<Four>(),
            },
            four: MicrokernelFns::new::<Four>(),
            eight: MicrokernelFns::new::<Eight>(),
        }
    }

    /// The same with other functions for a few rows.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code)
    )]
    const fn with_gemv(mut self, four: Gemv, eight: Gemv) -> Self {
        self.four.gemv = four;
        self.eight.gemv = eight;
        self
    }

    /// The functions for weights of one width.
    pub(crate) fn fns(&self, bits: Bits) -> &MicrokernelFns {
        match bits {
            Bits::Four => &self.four,
            Bits::Eight => &self.eight,
        }
    }

    /// How a product of `m` rows and `n` columns is split into tasks.
    pub(crate) fn task_grid(&self, m: usize, n: usize, threads: usize) -> TaskGrid {
        if m <= self.gemv_max_rows {
            // Each column is read once: long runs, but enough of them.
            let max = n
                .div_ceil(threads * GEMV_TASKS_PER_THREAD)
                .next_multiple_of(self.lanes);
            let max = max.min(GEMV_MAX_PANELS * self.panel);
            return TaskGrid::new((m, self.gemv_max_rows), (n, max), self.lanes, threads);
        }
        let max = MAX_PANELS * self.panel;
        TaskGrid::new((m, MAX_ROWS), (n, max), self.panel, threads)
    }
}

impl MicrokernelFns {
    const fn new<K: Microkernel>() -> Self {
        Self {
            gemv: if K::ROWS == 1 && K::GEMV_MAX_ROWS > 0 {
                gemv::gemv::<K>
            } else {
                no_gemv
            },
            pack: pack::pack::<K>,
            gemm: tile_i8::gemm::<K>,
        }
    }
}

/// Stands where [`Kernel::with_gemv`] puts another function, or where
/// [`Kernel::gemv_max_rows`] is zero.
unsafe fn no_gemv(
    _: &RowsView<'_>,
    _: Range<usize>,
    _: &QuantizedMatrix<'_>,
    _: usize,
    _: &mut [f32],
    _: usize,
) {
    unreachable!("this microkernel has no matrix-vector product");
}
