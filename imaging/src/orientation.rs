//! The eight ways in which EXIF says that a picture is turned.

/// How stored pixels are to be turned for display: EXIF's values 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// As stored.
    pub const UPRIGHT: Self = Self(1);

    /// From EXIF's number; everything unknown is upright, as viewers take it.
    pub fn from_exif(value: u64) -> Self {
        match value {
            1..=8 => Self(value as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// EXIF's number.
    pub fn exif(self) -> u8 {
        self.0
    }

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Where a displayed pixel lies in the stored picture of `width` x `height`.
    /// Coordinates have pixel centres at integers.
    pub fn to_stored(self, (width, height): (u32, u32), x: f64, y: f64) -> (f64, f64) {
        let (right, bottom) = (f64::from(width) - 1.0, f64::from(height) - 1.0);
        match self.0 {
            2 => (right - x, y),
            3 => (right - x, bottom - y),
            4 => (x, bottom - y),
            5 => (y, x),
            6 => (y, bottom - x),
            7 => (right - y, bottom - x),
            8 => (right - y, x),
            _ => (x, y),
        }
    }

    /// Turns pixels of `channels` values each; returns them with their new size.
    pub(crate) fn apply<T: Copy>(
        self,
        pixels: Vec<T>,
        channels: usize,
        (width, height): (u32, u32),
    ) -> (Vec<T>, (u32, u32)) {
        if self == Self::UPRIGHT {
            return (pixels, (width, height));
        }
        let (new_width, new_height) = match self.swaps_sides() {
            true => (height, width),
            false => (width, height),
        };
        let mut turned = Vec::with_capacity(pixels.len());
        let (right, bottom) = (width as usize - 1, height as usize - 1);
        for y in 0..new_height as usize {
            for x in 0..new_width as usize {
                let (sx, sy) = match self.0 {
                    2 => (right - x, y),
                    3 => (right - x, bottom - y),
                    4 => (x, bottom - y),
                    5 => (y, x),
                    6 => (y, bottom - x),
                    7 => (right - y, bottom - x),
                    _ => (right - y, x),
                };
                let at = (sy * width as usize + sx) * channels;
                turned.extend_from_slice(&pixels[at..at + channels]);
            }
        }
        (turned, (new_width, new_height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_pixels_turn_alike() {
        let pixels: Vec<u8> = (0..6).collect();
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif);
            let (turned, (width, height)) = orientation.apply(pixels.clone(), 1, (3, 2));
            for y in 0..height {
                for x in 0..width {
                    let (sx, sy) = orientation.to_stored((3, 2), f64::from(x), f64::from(y));
                    let stored = pixels[(sy * 3.0 + sx) as usize];
                    assert_eq!(turned[(y * width + x) as usize], stored, "{exif} {x} {y}");
                }
            }
        }
        assert_eq!(Orientation::from_exif(9), Orientation::UPRIGHT);
    }
}
