//! What is known of the transform before the pictures are compared.

use super::homography::Homography;

/// A start and how far from it the truth may lie. Pose gives it; it chooses where the search begins
/// and never decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Frame pixel to reference pixel.
    pub start: Homography,
    /// Greatest shift from the start in reference pixels; infinite: anywhere in the reference.
    pub shift_px: f64,
    /// Greatest rotation from the start, in degrees.
    pub rotation_deg: f64,
    /// Greatest change of scale from the start, as a factor of one or more, either way.
    pub scale: f64,
}

impl Prior {
    /// Nothing is known but that both were taken from about one height, with about the same side up.
    pub fn unknown() -> Self {
        Prior {
            start: Homography::IDENTITY,
            shift_px: f64::INFINITY,
            rotation_deg: 17.0,
            scale: 1.15,
        }
    }

    /// Whether every number can be used.
    pub fn is_usable(&self) -> bool {
        self.start.is_finite()
            && self.start.inverse().is_some()
            && self.shift_px >= 0.0
            && (0.0..=180.0).contains(&self.rotation_deg)
            && (1.0..=4.0).contains(&self.scale)
    }

    /// The box of the frame in reference pixels by the start: left, top, right, bottom.
    pub(super) fn footprint(&self, frame: (usize, usize)) -> Option<[f64; 4]> {
        bounds(&self.start, frame)
    }

    /// The part of the reference that can hold the frame.
    pub(super) fn searched(
        &self,
        frame: (usize, usize),
        reference: (usize, usize),
    ) -> Option<[f64; 4]> {
        let b = self.footprint(frame)?;
        let diagonal = (b[2] - b[0]).hypot(b[3] - b[1]) / 2.0;
        let turned = diagonal * (self.rotation_deg.min(90.0).to_radians().sin() + self.scale - 1.0);
        let grow = self.shift_px + turned.min(diagonal * self.scale);
        let searched = [
            (b[0] - grow).max(-0.5),
            (b[1] - grow).max(-0.5),
            (b[2] + grow).min(reference.0 as f64 - 0.5),
            (b[3] + grow).min(reference.1 as f64 - 0.5),
        ];
        (searched[2] - searched[0] >= 16.0 && searched[3] - searched[1] >= 16.0).then_some(searched)
    }
}

/// The box around a picture of `size` brought elsewhere; `None` where it crosses the horizon.
pub(super) fn bounds(map: &Homography, size: (usize, usize)) -> Option<[f64; 4]> {
    let (right, bottom) = (size.0 as f64 - 0.5, size.1 as f64 - 0.5);
    let mut found = [
        f64::INFINITY,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NEG_INFINITY,
    ];
    for corner in [[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]] {
        let [x, y] = map.apply(corner);
        if !(x.is_finite() && y.is_finite() && map.area_scale(corner) > 0.0) {
            return None;
        }
        found = [
            found[0].min(x),
            found[1].min(y),
            found[2].max(x),
            found[3].max(y),
        ];
    }
    Some(found)
}
