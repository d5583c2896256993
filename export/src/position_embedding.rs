//! Computed position tables: bicubic resizing of learned ones, and rotary angles.

/// Cubic convolution parameter of PyTorch's `interpolate(mode="bicubic")`.
const A: f64 = -0.75;

/// Resizes the grid part of `[1 + grid^2, width]` position embeddings as
/// PyTorch's `interpolate(mode="bicubic", align_corners=False)` does; the class
/// token's row stays.
pub(crate) fn resize(values: &[f32], grid: usize, wanted: usize, width: usize) -> Vec<f32> {
    let (class, cells) = values.split_at(width);
    let taps: Vec<_> = (0..wanted).map(|i| taps(i, grid, wanted)).collect();
    let mut out = class.to_vec();
    let mut sums = vec![0.0f64; width];
    for row in &taps {
        for column in &taps {
            sums.fill(0.0);
            for (y, wy) in row {
                for (x, wx) in column {
                    let cell = &cells[(y * grid + x) * width..][..width];
                    sums.iter_mut()
                        .zip(cell)
                        .for_each(|(sum, &value)| *sum += wy * wx * f64::from(value));
                }
            }
            out.extend(sums.iter().map(|&sum| sum as f32));
        }
    }
    out
}

fn taps(i: usize, from: usize, to: usize) -> [(usize, f64); 4] {
    let at = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
    let first = libm::floor(at);
    let t = at - first;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    let clamp = |offset: f64| (first + offset).clamp(0.0, from as f64 - 1.0) as usize;
    [-1.0, 0.0, 1.0, 2.0]
        .map(clamp)
        .into_iter()
        .zip(weights)
        .collect::<Vec<_>>()
        .try_into()
        .expect("four taps")
}

/// Cosines or sines of position times rate, `[positions, head_dim / 2]`. Angles
/// are products in f32, as in the published model.
pub(crate) fn rotary(
    positions: usize,
    head_dim: usize,
    base: f64,
    factor: f64,
    sine: bool,
) -> Vec<f32> {
    let rates: Vec<f32> = (0..head_dim / 2)
        .map(|i| (1.0 / libm::pow(base, (2 * i) as f64 / head_dim as f64) / factor) as f32)
        .collect();
    let turn = if sine { libm::sin } else { libm::cos };
    (0..positions)
        .flat_map(|position| {
            rates
                .iter()
                .map(move |rate| turn(f64::from(position as f32 * rate)) as f32)
        })
        .collect()
}
