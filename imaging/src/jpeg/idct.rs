//! The accurate integer inverse transform (Loeffler, Ligtenberg, Moschytz) with the
//! constants and roundings of libjpeg's `islow`.

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// Dequantises and transforms one block into rows of `stride`.
pub(super) fn block(coefficients: &[i16; 64], table: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut work = [0i32; 64];
    for column in 0..8 {
        let value = |row: usize| {
            i32::from(coefficients[row * 8 + column])
                .wrapping_mul(i32::from(table[row * 8 + column]))
        };
        let column_values = std::array::from_fn(value);
        let transformed = transform(column_values, CONST_BITS - PASS1_BITS);
        for (row, value) in transformed.into_iter().enumerate() {
            work[row * 8 + column] = value;
        }
    }
    for (row, values) in work.as_chunks::<8>().0.iter().enumerate() {
        let samples = transform(*values, CONST_BITS + PASS1_BITS + 3);
        for (sample, value) in out[row * stride..row * stride + 8].iter_mut().zip(samples) {
            *sample = (value + 128).clamp(0, 255) as u8;
        }
    }
}

/// Eight values at once, scaled down by `shift` bits with rounding.
fn transform(v: [i32; 8], shift: u32) -> [i32; 8] {
    let mul = |a: i32, b: i32| a.wrapping_mul(b);
    // Even part.
    let z1 = mul(v[2].wrapping_add(v[6]), 4433);
    let t2 = z1.wrapping_sub(mul(v[6], 15137));
    let t3 = z1.wrapping_add(mul(v[2], 6270));
    let t0 = v[0].wrapping_add(v[4]) << CONST_BITS;
    let t1 = v[0].wrapping_sub(v[4]) << CONST_BITS;
    let even = [
        t0.wrapping_add(t3),
        t1.wrapping_add(t2),
        t1.wrapping_sub(t2),
        t0.wrapping_sub(t3),
    ];
    // Odd part.
    let z1 = mul(v[7].wrapping_add(v[1]), -7373);
    let z2 = mul(v[5].wrapping_add(v[3]), -20995);
    let (z3, z4) = (v[7].wrapping_add(v[3]), v[5].wrapping_add(v[1]));
    let z5 = mul(z3.wrapping_add(z4), 9633);
    let z3 = mul(z3, -16069).wrapping_add(z5);
    let z4 = mul(z4, -3196).wrapping_add(z5);
    let odd = [
        mul(v[1], 12299).wrapping_add(z1).wrapping_add(z4),
        mul(v[3], 25172).wrapping_add(z2).wrapping_add(z3),
        mul(v[5], 16819).wrapping_add(z2).wrapping_add(z4),
        mul(v[7], 2446).wrapping_add(z1).wrapping_add(z3),
    ];
    let descale = |x: i32| x.wrapping_add(1 << (shift - 1)) >> shift;
    std::array::from_fn(|index| {
        if index < 4 {
            descale(even[index].wrapping_add(odd[index]))
        } else {
            descale(even[7 - index].wrapping_sub(odd[7 - index]))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_detail_is_flat() {
        let mut coefficients = [0; 64];
        coefficients[0] = 10;
        let mut out = [0; 64];
        block(&coefficients, &[8; 64], &mut out, 8);
        // 80 / 8 above the middle.
        assert_eq!(out, [138; 64]);
    }
}
