//! 8-bit rows to the planes that the vision encoder takes.

/// Scales to 0..1, subtracts the mean, divides by the deviation; `[3, height, width]`.
pub fn normalise(rgb: &[u8], mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    let mut planes = Vec::with_capacity(rgb.len());
    for channel in 0..3 {
        let values = rgb.iter().skip(channel).step_by(3);
        planes
            .extend(values.map(|&value| (f32::from(value) / 255.0 - mean[channel]) / std[channel]));
    }
    planes
}

#[cfg(test)]
mod tests {
    #[test]
    fn planes_follow_one_another() {
        let planes = super::normalise(&[0, 255, 51, 255, 0, 51], [0.0, 0.5, 0.2], [1.0, 0.5, 1.0]);
        assert_eq!(planes, [0.0, 1.0, 1.0, -1.0, 0.0, 0.0]);
    }
}
