//! Softmax and the normalisations, a row at a time, with sums in double precision.

pub(super) fn softmax(row: &mut [f32]) {
    let peak = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for value in row.iter_mut() {
        *value = libm::expf(*value - peak);
        sum += f64::from(*value);
    }
    let inverse = (1.0 / sum) as f32;
    row.iter_mut().for_each(|value| *value *= inverse);
}

pub(super) fn layer_norm(row: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    normalise(row, epsilon);
    for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
        *value = *value * scale + shift;
    }
}

/// Mean 0 and variance 1.
pub(super) fn normalise(row: &mut [f32], epsilon: f32) {
    let count = row.len() as f64;
    let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = row
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2))
        .sum::<f64>()
        / count;
    let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
    row.iter_mut()
        .for_each(|value| *value = ((f64::from(*value) - mean) * inverse) as f32);
}

pub(super) fn rms_norm(row: &mut [f32], scale: &[f32], epsilon: f32) {
    let square = row
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum::<f64>()
        / row.len() as f64;
    let inverse = (1.0 / (square + f64::from(epsilon)).sqrt()) as f32;
    row.iter_mut()
        .zip(scale)
        .for_each(|(value, scale)| *value = *value * inverse * scale);
}
