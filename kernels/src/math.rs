//! Functions that networks apply to every value, without branches, so that the
//! compiler turns a loop over them into vector code.
//!
//! A NaN stays a NaN: comparisons are written so that it takes the path of
//! ordinary numbers.

/// Adding and subtracting it rounds to the nearest integer, ties to even.
const ROUND_MAGIC: f32 = 12_582_912.0;
/// Results below the smallest normal number are zero.
const EXP_UNDERFLOW: f32 = -87.336_54;
/// Results beyond the largest number are infinite.
const EXP_OVERFLOW: f32 = 88.722_83;
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`, with a relative error below 2e-7.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = if x > EXP_OVERFLOW { EXP_OVERFLOW } else { x };
    let clamped = if clamped < EXP_UNDERFLOW {
        EXP_UNDERFLOW
    } else {
        clamped
    };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND_MAGIC);
    let n = shifted - ROUND_MAGIC;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let p = 1.987_569_1e-4_f32
        .mul_add(r, 1.398_2e-3)
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_6e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 5e-1);
    let p = p.mul_add(r * r, r) + 1.0;
    // Two factors, as 2^128 is no number, though its product with `p` may be one.
    let n = shifted.to_bits().wrapping_sub(ROUND_MAGIC.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let y = p * power(half) * power(n.wrapping_sub(half));
    let y = if x < EXP_UNDERFLOW { 0.0 } else { y };
    if x > EXP_OVERFLOW { f32::INFINITY } else { y }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// The hyperbolic tangent, with an absolute error below 3e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// `x * P(a normal variable is below x)`, with an absolute error below
/// 2e-7 times `|x|` plus one: formula 7.1.26 of Abramowitz and Stegun.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let p = 1.061_405_4_f32
        .mul_add(t, -1.453_152)
        .mul_add(t, 1.421_413_7)
        .mul_add(t, -0.284_496_74)
        .mul_add(t, 0.254_829_6)
        * t;
    let tail = 0.5 * p * exp(-(z * z));
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    // Infinity times the tail's zero would be a NaN that the function has not.
    if below == 0.0 { 0.0 } else { x * below }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every magnitude, densely where the functions bend.
    fn points() -> impl Iterator<Item = f32> {
        let dense = (-200_000..=200_000).map(|i| i as f32 / 2000.0);
        let wide = (0..=254_u32).flat_map(|exponent| {
            [0, 0x2a_aaaa, 0x7f_ffff].map(|mantissa| f32::from_bits(exponent << 23 | mantissa))
        });
        dense.chain(wide.flat_map(|x| [x, -x]))
    }

    #[test]
    fn exp_is_near_the_exponential() {
        for x in points() {
            let (found, exact) = (f64::from(exp(x)), f64::from(x).exp());
            if exact < f64::from(f32::MIN_POSITIVE) {
                assert!(found <= 1.3e-38, "{x}: {found}");
            } else if exact < f64::from(f32::MAX) * 0.9999 {
                assert!(
                    ((found - exact) / exact).abs() < 2e-7,
                    "{x}: {found} {exact}"
                );
            } else {
                assert!(found > 3.3e38, "{x}: {found}");
            }
        }
    }

    #[test]
    fn tanh_and_sigmoid_are_near_theirs() {
        for x in points() {
            let wide = f64::from(x);
            assert!((f64::from(tanh(x)) - wide.tanh()).abs() < 3e-7, "{x}");
            let exact = 1.0 / (1.0 + (-wide).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 2e-7, "{x}");
        }
    }

    /// `erfc` by its continued fraction and its series, in double precision.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        if x < 2.0 {
            let (mut term, mut sum) = (x, x);
            for n in 1..60 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
        }
        let fraction = (1..=60)
            .rev()
            .fold(x, |below, n| x + f64::from(n) / 2.0 / below);
        (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn gelu_is_near_its_definition() {
        for x in points().filter(|x| x.abs() < 1e30) {
            let wide = f64::from(x);
            let exact = wide * 0.5 * erfc(-wide / std::f64::consts::SQRT_2);
            let error = (f64::from(gelu(x)) - exact).abs();
            assert!(error < 2e-7 * (wide.abs() + 1.0), "{x}: {error}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for f in [exp, sigmoid, silu, tanh, gelu] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(gelu(f32::INFINITY), f32::INFINITY);
        assert_eq!(gelu(f32::NEG_INFINITY), 0.0);
    }
}
