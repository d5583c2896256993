//! AMX int8 tiles: 16 rows by 16 columns at a time.
//!
//! A tile register holds up to 16 rows of 64 bytes. `tdpbssd` multiplies one
//! of activations (rows by 32 values) with one of weights (32 values by 16
//! columns, in exactly the order in which AVX-512 packs a block) and leaves
//! the integer dot products of a whole block. They pass through the
//! first-level cache to AVX-512, which scales and adds them up, while the
//! tiles are busy with the next block.
//!
//! The tile instructions have no stable intrinsics, so they are written as
//! assembly. The compiler never uses tile registers itself.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::OnceLock;

use super::avx512;
use crate::kernel::{Kernel, Panel, Vector};
use crate::layout::{Bits, QuantizedMatrix};
use crate::limits::Peak;
use crate::quantize::Rows;

const LANES: usize = 16;
/// Bytes of a packed block.
const PACKED: usize = LANES * 32;
const TILE_ROWS: usize = 16;

pub(crate) static KERNEL: Kernel = Kernel::vector(
    LANES,
    2,
    TILE_ROWS,
    avx512::DIRECT_ROWS,
    Peak {
        run: peak,
        products: 4 * 16 * 16 * 64,
    },
    Vector {
        chunk: 32,
        direct: avx512::direct,
        pack,
        tiles,
    },
);

/// Whether the processor has the tiles and the operating system lets this
/// process use them, for which it is asked once.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8
}

/// Linux gives the large state of the tiles only to those who ask.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the call asks for a permission and touches no memory of this
    // process; the kernel overwrites rcx and r11, which are named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The shapes of the tile registers, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Registers 0 and 1 hold dot products, 2 and 3 activations, 4 and 5
    /// weights.
    fn of_rows(rows: u8) -> Self {
        let mut shapes = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        shapes.row_bytes[..6].copy_from_slice(&[64, 64, 32, 32, 64, 64]);
        shapes.rows[..6].copy_from_slice(&[rows, rows, rows, rows, 8, 8]);
        shapes
    }

    /// # Safety
    /// Needs AMX.
    unsafe fn load(&self) {
        // SAFETY: the instruction reads these 64 bytes and changes only tile
        // registers.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) std::ptr::from_ref(self), options(nostack, readonly, preserves_flags));
        }
    }
}

/// Gives the tile registers up when it goes out of scope, so that a switch to
/// another thread need not save them.
struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        // SAFETY: only made where tiles have been configured.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// # Safety
/// As [`crate::kernel::Pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pack(
    matrix: &QuantizedMatrix<'_>,
    column: usize,
    blocks: Range<usize>,
    quants: &mut [u8],
    scales: &mut [f32],
) {
    let zero = _mm512_set1_epi8(match matrix.bits() {
        Bits::Four => 8,
        Bits::Eight => -128,
    });
    // SAFETY: the caller's promise.
    unsafe {
        avx512::pack_with(matrix, column, blocks, quants, scales, |vector| {
            _mm512_sub_epi8(vector, zero)
        });
    }
}

/// # Safety
/// As [`crate::kernel::Tiles`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tiles(
    rows: &Rows<'_>,
    rows_range: Range<usize>,
    blocks: Range<usize>,
    panel: &Panel<'_>,
    sums: &mut [f32],
    width: usize,
) {
    let release = Release;
    let mut row = rows_range.start;
    // The last rows are what is left in powers of two.
    for size in [16, 8, 4, 2, 1] {
        if rows_range.end - row < size {
            continue;
        }
        // SAFETY: the caller has AMX.
        unsafe { Shapes::of_rows(size as u8).load() };
        while rows_range.end - row >= size {
            let tile = Tile {
                rows,
                row,
                blocks: blocks.clone(),
                panel,
                width,
            };
            let sums = &mut sums[(row - rows_range.start) * width..];
            for group in 0..panel.groups {
                // SAFETY: the caller's promises are passed on, and the tiles
                // have been configured for this number of rows.
                unsafe {
                    match size {
                        16 => tile.multiply::<16>(group, sums),
                        8 => tile.multiply::<8>(group, sums),
                        4 => tile.multiply::<4>(group, sums),
                        2 => tile.multiply::<2>(group, sums),
                        _ => tile.multiply::<1>(group, sums),
                    }
                }
            }
            row += size;
        }
    }
    drop(release);
}

struct Tile<'a> {
    rows: &'a Rows<'a>,
    row: usize,
    blocks: Range<usize>,
    panel: &'a Panel<'a>,
    width: usize,
}

/// The dot products of one block, on their way from the tiles to the vectors.
#[repr(C, align(64))]
struct Dots([[i32; LANES]; TILE_ROWS]);

impl Tile<'_> {
    /// # Safety
    /// `R` rows from `self.row` must be inside the rows, the blocks inside
    /// both rows and panel, the group inside the panel, and the tiles must be
    /// configured for `R` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply<const R: usize>(&self, group: usize, sums: &mut [f32]) {
        let rows = self.rows;
        let count = self.blocks.len();
        let quants = &self.panel.quants[group * count * PACKED..][..count * PACKED];
        let scales = &self.panel.scales[group * count * LANES..][..count * LANES];
        assert!(sums.len() >= (R - 1) * self.width + (group + 1) * LANES);
        let first = self.blocks.start;
        let x = &rows.quants[self.row * rows.stride + first * 32..];
        assert!(x.len() >= (R - 1) * rows.stride + count * 32);
        let x_scales = &rows.scales[self.row * rows.blocks + first..];
        assert!(x_scales.len() >= (R - 1) * rows.blocks + count);
        let sums = sums[group * LANES..].as_mut_ptr();
        let mut dots = [const { Dots([[0; LANES]; TILE_ROWS]) }; 2];
        // SAFETY: inside by the assertions above; the tiles are configured by
        // the caller's promise.
        unsafe {
            let mut totals = [_mm512_setzero_ps(); R];
            for (r, total) in totals.iter_mut().enumerate() {
                *total = _mm512_loadu_ps(sums.add(r * self.width));
            }
            let start = |block: usize, dots: &mut Dots| {
                let (x, weights) = (
                    x.as_ptr().add(block * 32),
                    quants.as_ptr().add(block * PACKED),
                );
                // Two sets of registers, as consecutive blocks overlap.
                if block % 2 == 0 {
                    asm!(
                        "tilezero tmm0",
                        "tileloadd tmm2, [{x} + {stride}]",
                        "tileloadd tmm4, [{weights} + {line}]",
                        "tdpbssd tmm0, tmm2, tmm4",
                        "tilestored [{dots} + {line}], tmm0",
                        x = in(reg) x,
                        stride = in(reg) rows.stride,
                        weights = in(reg) weights,
                        line = in(reg) 64_usize,
                        dots = in(reg) std::ptr::from_mut(dots),
                        options(nostack, preserves_flags),
                    );
                } else {
                    asm!(
                        "tilezero tmm1",
                        "tileloadd tmm3, [{x} + {stride}]",
                        "tileloadd tmm5, [{weights} + {line}]",
                        "tdpbssd tmm1, tmm3, tmm5",
                        "tilestored [{dots} + {line}], tmm1",
                        x = in(reg) x,
                        stride = in(reg) rows.stride,
                        weights = in(reg) weights,
                        line = in(reg) 64_usize,
                        dots = in(reg) std::ptr::from_mut(dots),
                        options(nostack, preserves_flags),
                    );
                }
            };
            start(0, &mut dots[0]);
            for block in 0..count {
                if block + 1 < count {
                    start(block + 1, &mut dots[(block + 1) % 2]);
                }
                let scale = _mm512_loadu_ps(scales.as_ptr().add(block * LANES));
                let dots = &dots[block % 2];
                for (r, total) in totals.iter_mut().enumerate() {
                    let dots = _mm512_cvtepi32_ps(_mm512_load_si512(dots.0[r].as_ptr().cast()));
                    let x_scale = _mm512_set1_ps(*x_scales.get_unchecked(r * rows.blocks + block));
                    *total = _mm512_fmadd_ps(dots, _mm512_mul_ps(x_scale, scale), *total);
                }
            }
            for (r, total) in totals.into_iter().enumerate() {
                _mm512_storeu_ps(sums.add(r * self.width), total);
            }
        }
    }
}

/// # Safety
/// Needs AMX.
unsafe fn peak(rounds: usize) -> i32 {
    let mut shapes = Shapes::of_rows(16);
    shapes.row_bytes[..8].fill(64);
    shapes.rows[..8].fill(16);
    // SAFETY: the caller has AMX; only tile registers change.
    unsafe {
        shapes.load();
        let release = Release;
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            options(nostack, nomem, preserves_flags),
        );
        // A round is as long as those of the other kernels are short.
        for _ in 0..rounds {
            asm!(
                "tdpbssd tmm0, tmm4, tmm5",
                "tdpbssd tmm1, tmm4, tmm5",
                "tdpbssd tmm2, tmm4, tmm5",
                "tdpbssd tmm3, tmm4, tmm5",
                options(nostack, nomem, preserves_flags),
            );
        }
        drop(release);
    }
    0
}
