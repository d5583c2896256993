//! Every instruction set of this machine against the portable code, which is
//! the specification: bit for bit, on random and on adversarial inputs.

use deltavlm_kernels::{Bits, Epilogue, Isa, QuantizedMatrix, Scales, ThreadPool, matmul};
use half::f16;
use proptest::prelude::*;

/// Numbers that look random and are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as u32
    }

    /// Between -1 and 1.
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1_u32 << 30) as f32 - 1.0
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

struct Case {
    bits: Bits,
    m: usize,
    n: usize,
    k: usize,
    x: Vec<f32>,
    quants: Vec<u8>,
    scales: Vec<f32>,
    halves: Option<Vec<f16>>,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
}

impl Case {
    fn new(bits: Bits, m: usize, n: usize, k: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let blocks = n * k / 32;
        Self {
            bits,
            m,
            n,
            k,
            x: numbers.floats(m * k),
            quants: numbers.bytes(blocks * bits.block_bytes()),
            scales: numbers.floats(blocks),
            halves: None,
            bias: None,
            residual: None,
        }
    }

    fn halved(mut self) -> Self {
        self.halves = Some(self.scales.iter().map(|s| f16::from_f32(*s)).collect());
        self
    }

    fn with_epilogue(mut self) -> Self {
        let mut numbers = Numbers(7);
        self.bias = Some(numbers.floats(self.n));
        self.residual = Some(numbers.floats(self.m * self.n));
        self
    }

    fn matrix(&self) -> QuantizedMatrix<'_> {
        let scales = match &self.halves {
            Some(halves) => Scales::F16(halves),
            None => Scales::F32(&self.scales),
        };
        QuantizedMatrix::new(self.bits, self.n, self.k, &self.quants, scales).unwrap()
    }

    fn epilogue(&self) -> Epilogue<'_> {
        Epilogue {
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref(),
            ..Epilogue::default()
        }
    }

    fn run(&self, pool: &ThreadPool) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.m * self.n];
        matmul(pool, &self.x, &self.matrix(), self.epilogue(), &mut out).unwrap();
        out
    }

    fn check(&self, pool: &ThreadPool) {
        let expected = self.run(&pool.with_isa(Isa::Scalar).unwrap());
        for isa in Isa::available() {
            let actual = self.run(&pool.with_isa(isa).unwrap());
            assert_same(&actual, &expected, self.n, isa);
        }
    }
}

/// Equal bits; any NaN equals any other, since its payload is not specified.
fn assert_same(actual: &[f32], expected: &[f32], n: usize, isa: Isa) {
    for (i, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!(
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            "{isa}, row {}, column {}: {a:e} instead of {b:e}",
            i / n,
            i % n,
        );
    }
}

fn pool() -> ThreadPool {
    ThreadPool::new(2).unwrap()
}

/// Where a machine or an emulator is meant to have certain instruction sets,
/// their names in this variable, separated by commas, make it an error that
/// they are not tested.
const REQUIRED: &str = "DELTAVLM_REQUIRED_ISA";

#[test]
fn required_instruction_sets_are_tested() {
    for name in std::env::var(REQUIRED)
        .unwrap_or_default()
        .split_terminator(',')
    {
        let isa: Isa = name.parse().unwrap();
        assert!(Isa::available().contains(&isa), "{isa}");
    }
}

const BOTH: [Bits; 2] = [Bits::Four, Bits::Eight];

#[test]
fn every_number_of_rows_up_to_three_tiles() {
    let pool = pool();
    for bits in BOTH {
        for m in 1..=50 {
            Case::new(bits, m, 37, 64, m as u64).check(&pool);
        }
    }
}

#[test]
fn every_number_of_columns_up_to_three_panels() {
    let pool = pool();
    for bits in BOTH {
        for n in 1..=100 {
            Case::new(bits, 1, n, 96, n as u64)
                .with_epilogue()
                .check(&pool);
            Case::new(bits, 9, n, 96, n as u64)
                .with_epilogue()
                .check(&pool);
        }
    }
}

#[test]
fn every_number_of_blocks_across_two_chunks() {
    let pool = pool();
    for bits in BOTH {
        for blocks in (1..=9).chain([31, 32, 33, 63, 64, 65, 67]) {
            for m in [1, 3, 17] {
                Case::new(bits, m, 18, blocks * 32, blocks as u64).check(&pool);
                Case::new(bits, m, 18, blocks * 32, blocks as u64)
                    .halved()
                    .check(&pool);
            }
        }
    }
}

#[test]
fn shapes_of_the_models() {
    let pool = pool();
    for (m, n, k) in [
        (1, 512, 4096),
        (72, 96, 1408),
        (257, 96, 192),
        (400, 40, 64),
    ] {
        for bits in BOTH {
            Case::new(bits, m, n, k, 3).with_epilogue().check(&pool);
            Case::new(bits, m, n, k, 3).halved().check(&pool);
        }
    }
}

#[test]
fn extreme_weights_and_activations_do_not_saturate() {
    let pool = pool();
    for bits in BOTH {
        for weight in [0x00, 0xff, 0x0f, 0xf0, 0x7f, 0x80] {
            for x in [1.0, -1.0] {
                for m in [1, 8] {
                    let mut case = Case::new(bits, m, 17, 128, 1);
                    case.quants.fill(weight);
                    case.x.fill(x);
                    case.scales.fill(1.0);
                    case.check(&pool);
                    // Every other activation of the other sign.
                    case.x.iter_mut().step_by(2).for_each(|v| *v = -x);
                    case.check(&pool);
                }
            }
        }
    }
}

#[test]
fn extreme_sums_are_exact() {
    // 32 times 127 times -128, the largest magnitude that a block can have.
    let mut case = Case::new(Bits::Eight, 1, 1, 32, 1);
    case.quants.fill(0);
    case.x.fill(127.0);
    case.scales.fill(1.0);
    for isa in Isa::available() {
        assert_eq!(case.run(&pool().with_isa(isa).unwrap()), [-520_192.0]);
    }
}

#[test]
fn zeros_denormals_and_huge_numbers() {
    let pool = pool();
    let values = [
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE / 8.0,
        1e-30,
        1e30,
        f32::MAX,
        -f32::MAX,
    ];
    for bits in BOTH {
        for m in [1, 7] {
            for (i, value) in values.into_iter().enumerate() {
                let mut case = Case::new(bits, m, 19, 96, i as u64).with_epilogue();
                case.x[..32].fill(value);
                case.check(&pool);
                let mut case = Case::new(bits, m, 19, 96, i as u64);
                case.scales.iter_mut().step_by(3).for_each(|s| *s = value);
                case.check(&pool);
                case.halved().check(&pool);
            }
        }
    }
}

#[test]
fn what_is_not_finite_reaches_exactly_its_own_rows() {
    let pool = pool();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for bits in BOTH {
            for m in [2, 13] {
                let mut case = Case::new(bits, m, 21, 96, 5);
                case.x[96 + 40] = bad;
                case.check(&pool);
                for isa in Isa::available() {
                    let out = case.run(&pool.with_isa(isa).unwrap());
                    for (row, out) in out.chunks(21).enumerate() {
                        assert!(out.iter().all(|v| v.is_nan() == (row == 1)), "{isa}");
                    }
                }
            }
        }
    }
}

#[test]
fn scales_that_are_not_finite_reach_exactly_their_own_columns() {
    let pool = pool();
    for bits in BOTH {
        for m in [1, 13] {
            let mut case = Case::new(bits, m, 21, 96, 5);
            case.scales[3 * 3 + 1] = f32::NAN;
            case.check(&pool);
            for isa in Isa::available() {
                let out = case.run(&pool.with_isa(isa).unwrap());
                assert!(
                    out.iter()
                        .enumerate()
                        .all(|(i, v)| v.is_nan() == (i % 21 == 3))
                );
            }
        }
    }
}

#[test]
fn neither_threads_nor_neighbours_change_a_result() {
    for bits in BOTH {
        let case = Case::new(bits, 200, 130, 160, 11);
        for isa in Isa::available() {
            let expected = case.run(&ThreadPool::new(1).unwrap().with_isa(isa).unwrap());
            for threads in [2, 3, 8] {
                let pool = ThreadPool::new(threads).unwrap().with_isa(isa).unwrap();
                assert_same(&case.run(&pool), &expected, case.n, isa);
            }
            // Each row alone.
            let pool = pool().with_isa(isa).unwrap();
            for row in [0, 1, 77, 199] {
                let mut out = vec![0.0; case.n];
                let x = &case.x[row * case.k..(row + 1) * case.k];
                matmul(&pool, x, &case.matrix(), Epilogue::default(), &mut out).unwrap();
                assert_same(
                    &out,
                    &expected[row * case.n..(row + 1) * case.n],
                    case.n,
                    isa,
                );
            }
        }
    }
}

#[test]
fn weights_may_begin_at_any_byte() {
    let pool = pool();
    let case = Case::new(Bits::Four, 3, 20, 64, 9);
    let expected = case.run(&pool);
    for offset in 1..8 {
        let mut moved = vec![0; offset];
        moved.extend(&case.quants);
        let matrix = QuantizedMatrix::new(
            Bits::Four,
            20,
            64,
            &moved[offset..],
            Scales::F32(&case.scales),
        )
        .unwrap();
        for isa in Isa::available() {
            let mut out = vec![0.0; 60];
            let pool = pool.with_isa(isa).unwrap();
            matmul(&pool, &case.x, &matrix, Epilogue::default(), &mut out).unwrap();
            assert_same(&out, &expected, 20, isa);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_and_any_bits(
        four in any::<bool>(),
        m in 1_usize..40,
        n in 1_usize..70,
        blocks in 1_usize..40,
        halved in any::<bool>(),
        seed in any::<u64>(),
        raw in any::<bool>(),
    ) {
        let bits = if four { Bits::Four } else { Bits::Eight };
        let mut case = Case::new(bits, m, n, blocks * 32, seed);
        if raw {
            // Activations and scales of any bit pattern at all.
            let mut numbers = Numbers(seed ^ 1);
            for value in case.x.iter_mut().chain(&mut case.scales) {
                if numbers.next().is_multiple_of(8) {
                    *value = f32::from_bits(numbers.next() << 1 ^ numbers.next());
                }
            }
        }
        let case = if halved { case.halved() } else { case };
        case.check(&pool());
    }
}
