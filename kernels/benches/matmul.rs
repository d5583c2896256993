//! How fast the products are, and how near to what the machine can do.
//!
//! Prints the limits first, then for each shape the best of several runs, with
//! one and with two threads, as a share of the limit that binds it: bytes read
//! for one row, integer operations for many. All measurements of one line are
//! interleaved, as other work on the machine disturbs them.
//!
//! `cargo bench -p deltavlm-kernels --bench matmul -- [shape filter]`;
//! `DELTAVLM_ISA` chooses the instruction set.

use std::hint::black_box;
use std::time::{Duration, Instant};

use deltavlm_kernels::roofline::Roofline;
use deltavlm_kernels::{
    Bits, DenseMatrix, DenseValues, Epilogue, Heads, KvCache, QuantizedMatrix, Queries, Scales,
    ThreadPool, attend, matmul, matmul_dense,
};

/// Rows, inner dimension, columns; the widths of the models.
const SHAPES: [(usize, usize, usize); 9] = [
    (1, 4096, 4096),
    (1, 4096, 11008),
    (1, 11008, 4096),
    (32, 4096, 4096),
    (72, 4096, 11008),
    (257, 1408, 4224),
    (257, 1408, 6144),
    (257, 6144, 1408),
    (257, 192, 768),
];

const RUNS: usize = 60;
/// Weights of a decoder do not stay in the cache between two steps, so the
/// copies of a one-row product's weights are larger than it together.
const COLD: usize = 768 << 20;

fn main() {
    let filter: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let pools = [1, 2].map(|threads| ThreadPool::new(threads).expect("a pool"));
    println!("instruction set {}", pools[0].isa());
    let limits = pools.each_ref().map(Roofline::measure);
    for (pool, limits) in pools.iter().zip(&limits) {
        println!(
            "{} thread(s): {:.0} G int8 operations/s, {:.0} G f32 operations/s, {:.1} GB/s read",
            pool.threads(),
            limits.int8_ops / 1e9,
            limits.f32_ops / 1e9,
            limits.read_bytes / 1e9
        );
    }
    println!(
        "\n{:<20}{:>5}{:>12}{:>12}{:>8}{:>10}{:>10}{:>10}",
        "M x K x N", "bits", "1 thread", "2 threads", "scale", "share 1", "share 2", "GB/s 2"
    );
    if filter.is_empty() || filter.iter().any(|f| f == "attention") {
        for shape in [(257, 16, 88), (72, 32, 128), (226, 4, 32)] {
            attention(shape, &pools, &limits);
        }
    }
    for (m, k, n) in SHAPES {
        let name = format!("{m}x{k}x{n}");
        if filter.is_empty() || filter.iter().any(|f| name.contains(f.as_str())) {
            for bits in [Bits::Four, Bits::Eight] {
                line(&name, (m, k, n), bits, &pools, &limits);
            }
            dense(&name, (m, k, n), &pools, &limits);
        }
    }
}

/// Attention of `m` queries over as many keys.
fn attention(
    (m, heads, width): (usize, usize, usize),
    pools: &[ThreadPool; 2],
    limits: &[Roofline; 2],
) {
    let row = heads * width;
    let values: Vec<f32> = (0..3 * m * row)
        .map(|i| (i % 97) as f32 / 97.0 - 0.5)
        .collect();
    let part = |i: usize| Heads {
        values: &values,
        offset: i * row,
        stride: 3 * row,
    };
    let mut cache = KvCache::default();
    let mut out = vec![0.0; m * row];
    let (mut best, mut append_best) = ([Duration::MAX; 2], [Duration::MAX; 2]);
    for _ in 0..RUNS {
        for (i, pool) in pools.iter().enumerate() {
            let start = Instant::now();
            cache.reset(1, heads, width);
            cache
                .append(pool, m, part(1), part(2), None)
                .expect("shape");
            append_best[i] = append_best[i].min(start.elapsed());
            let queries = Queries {
                heads: part(0),
                num_heads: heads,
                sequences: 1,
                positions: m,
                scale: 0.1,
                rotary: None,
            };
            attend(pool, &queries, &cache, None, &mut out).expect("shape");
            best[i] = best[i].min(start.elapsed());
        }
    }
    black_box(&out);
    let seconds = best.map(|best| best.as_secs_f64());
    let share = |i: usize| 100.0 * (4 * m * m * row) as f64 / limits[i].f32_ops / seconds[i];
    println!(
        "attention {m} of {heads} x {width}: {:.3} ms, {:.3} ms, {:.2}x, {:.0}%, {:.0}%; append {:.3} ms, {:.3} ms",
        seconds[0] * 1e3,
        seconds[1] * 1e3,
        seconds[0] / seconds[1],
        share(0),
        share(1),
        append_best[0].as_secs_f64() * 1e3,
        append_best[1].as_secs_f64() * 1e3,
    );
}

fn line(
    name: &str,
    (m, k, n): (usize, usize, usize),
    bits: Bits,
    pools: &[ThreadPool; 2],
    limits: &[Roofline; 2],
) {
    let blocks = n * k / 32;
    let size = blocks * (bits.block_bytes() + 4);
    let copies = if m == 1 { COLD.div_ceil(size) } else { 1 };
    let quants: Vec<Vec<u8>> = (0..copies)
        .map(|copy| {
            (0..blocks * bits.block_bytes())
                .map(|i| (i * 7 + i / 61 + copy) as u8)
                .collect()
        })
        .collect();
    let scales: Vec<Vec<f32>> = (0..copies).map(|_| vec![0.01; blocks]).collect();
    let x: Vec<f32> = (0..m * k).map(|i| (i % 97) as f32 - 48.0).collect();
    let mut out = vec![0.0; m * n];
    let mut best = [Duration::MAX; 2];
    for run in 0..RUNS {
        for (i, (pool, best)) in pools.iter().zip(&mut best).enumerate() {
            let copy = (2 * run + i) % copies;
            let scales = Scales::F32(&scales[copy]);
            let matrix = QuantizedMatrix::new(bits, n, k, &quants[copy], scales).expect("shape");
            let start = Instant::now();
            matmul(pool, black_box(&x), &matrix, Epilogue::default(), &mut out).expect("shape");
            *best = (*best).min(start.elapsed());
        }
    }
    black_box(&out);
    let seconds = best.map(|best| best.as_secs_f64());
    let share = |i: usize| {
        let (bytes, ops) = (size as f64, (2 * m * k * n) as f64);
        // Whichever limit would take longer is the one that binds.
        let memory = bytes / limits[i].read_bytes;
        let compute = if limits[i].int8_ops > 0.0 {
            ops / limits[i].int8_ops
        } else {
            0.0
        };
        let binds = if m == 1 { memory } else { compute };
        100.0 * binds / seconds[i]
    };
    println!(
        "{:<20}{:>5}{:>9.3} ms{:>9.3} ms{:>7.2}x{:>9.0}%{:>9.0}%{:>10.1}",
        name,
        if bits == Bits::Four { 4 } else { 8 },
        seconds[0] * 1e3,
        seconds[1] * 1e3,
        seconds[0] / seconds[1],
        share(0),
        share(1),
        size as f64 / seconds[1] / 1e9,
    );
}

/// The same product with weights in single precision.
fn dense(
    name: &str,
    (m, k, n): (usize, usize, usize),
    pools: &[ThreadPool; 2],
    limits: &[Roofline; 2],
) {
    let x = vec![1.0_f32; m * k];
    let w = vec![0.5_f32; n * k];
    let matrix = DenseMatrix::new(k, n, DenseValues::F32(&w)).expect("shape");
    let mut out = vec![0.0_f32; m * n];
    let mut best = [Duration::MAX; 2];
    for _ in 0..RUNS / 3 {
        for (pool, best) in pools.iter().zip(&mut best) {
            let start = Instant::now();
            matmul_dense(pool, black_box(&x), &matrix, Epilogue::default(), &mut out)
                .expect("shape");
            *best = (*best).min(start.elapsed());
        }
    }
    black_box(&out);
    let seconds = best.map(|best| best.as_secs_f64());
    let share = |i: usize| 100.0 * (2 * m * k * n) as f64 / limits[i].f32_ops / seconds[i];
    println!(
        "{:<20}{:>5}{:>9.3} ms{:>9.3} ms{:>7.2}x{:>9.0}%{:>9.0}%",
        name,
        "f32",
        seconds[0] * 1e3,
        seconds[1] * 1e3,
        seconds[0] / seconds[1],
        share(0),
        share(1),
    );
}
