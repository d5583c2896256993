//! CMYK as Pillow makes RGB of it.

/// From cyan, magenta, yellow and black, 255 for full ink.
pub(crate) fn to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - u32::from(k);
    let ink = |value: u8| {
        let product = u32::from(value) * white + 128;
        ((product >> 8) + product) >> 8
    };
    // Never below 0, because no ink is more than the white.
    [c, m, y].map(|value| white.saturating_sub(ink(value)) as u8)
}
