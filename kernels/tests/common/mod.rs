//! Inputs, and comparisons of every instruction set with the portable code and
//! with double precision.

use deltavlm_kernels::{Isa, ThreadPool};

/// Pools of every instruction set, the portable one first.
pub(crate) fn pools() -> Vec<ThreadPool> {
    let pool = ThreadPool::new(3).unwrap();
    let available = Isa::available();
    available
        .into_iter()
        .map(|isa| pool.with_isa(isa).unwrap())
        .collect()
}

pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs `work` on every instruction set; all bits must be those of the portable one.
pub(crate) fn same_bits(what: &str, work: impl Fn(&ThreadPool) -> Vec<f32>) -> Vec<f32> {
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

pub(crate) fn near(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= tolerance,
            "{what}: value {i} is {found}, not {expected}"
        );
    }
}
