//! How much structure has changed in a tile: cheap, and only to decide which tiles come first.
//!
//! Edges are compared, not brightness, which follows sun and season: for each block of the tile
//! a histogram of gradient directions, and the mean of the blocks that differ most.

use deltavlm_imaging::{Image, Rect, resize};

/// Side to which a tile is shrunk, and the blocks on it.
const SIDE: usize = 96;
const BLOCK: usize = 12;
const DIRECTIONS: usize = 8;
/// Share of the blocks that decide.
const DECIDING: f64 = 0.15;

/// Changed structure of a tile, 0 (none) to 1.
pub fn change(before: &Image, after: &Image, tile: Rect) -> f32 {
    let histograms = |picture: &Image| {
        histograms(&resize(
            &picture.crop(tile.x, tile.y, tile.width, tile.height),
            SIDE as u32,
            SIDE as u32,
        ))
    };
    let (a, b) = (histograms(before), histograms(after));
    // Structure is strong or weak beside what the tile holds in both pictures.
    let mean = |h: &[Histogram]| h.iter().map(Histogram::energy).sum::<f32>() / h.len() as f32;
    let usual = 0.5 * (mean(&a) + mean(&b)) + f32::EPSILON;
    let mut differences: Vec<f32> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| a.difference(b, usual))
        .collect();
    differences.sort_by(|x, y| y.total_cmp(x));
    let deciding = ((differences.len() as f64 * DECIDING) as usize).max(1);
    differences[..deciding].iter().sum::<f32>() / deciding as f32
}

/// Gradient magnitude by direction.
#[derive(Default, Clone, Copy)]
struct Histogram([f32; DIRECTIONS]);

impl Histogram {
    fn energy(&self) -> f32 {
        self.0.iter().sum()
    }

    /// Share of the structure of both that is not the same, weighted by how strong it is.
    fn difference(&self, other: &Self, usual: f32) -> f32 {
        let sum = self.energy() + other.energy();
        let apart: f32 = self
            .0
            .iter()
            .zip(&other.0)
            .map(|(a, b)| (a - b).abs())
            .sum();
        let strength = sum / (sum + 2.0 * usual);
        strength * apart / (sum + f32::EPSILON)
    }
}

fn histograms(rgb: &[u8]) -> Vec<Histogram> {
    let luminance: Vec<f32> = rgb
        .chunks_exact(3)
        .map(|p| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]))
        .collect();
    let across = SIDE / BLOCK;
    let mut blocks = vec![Histogram::default(); across * across];
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            let at = y * SIDE + x;
            let dx = luminance[at + 1] - luminance[at - 1];
            let dy = luminance[at + SIDE] - luminance[at - SIDE];
            // Doubled angle: an edge has no front and back.
            let angle = (2.0 * dy.atan2(dx)).rem_euclid(std::f32::consts::TAU);
            let bin = (angle / std::f32::consts::TAU * DIRECTIONS as f32) as usize % DIRECTIONS;
            blocks[y / BLOCK * across + x / BLOCK].0[bin] += dx.hypot(dy);
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: Rect = Rect {
        x: 0,
        y: 0,
        width: 128,
        height: 128,
    };

    fn fields(light: f32, house: bool) -> Image {
        let rgb = (0..128 * 128u32)
            .flat_map(|i| {
                let (x, y) = (i % 128, i / 128);
                let mut value = if (x / 32 + y / 48) % 2 == 0 {
                    80.0
                } else {
                    130.0
                };
                value += ((x * 31 + y * 17) % 11) as f32;
                if house && (40..64).contains(&x) && (40..64).contains(&y) {
                    value = if x < 52 { 200.0 } else { 60.0 };
                }
                [(value * light).min(255.0) as u8; 3]
            })
            .collect();
        Image::from_rgb("fields", 128, 128, rgb).unwrap()
    }

    #[test]
    fn a_house_counts_for_more_than_the_light() {
        let before = fields(1.0, false);
        let lighter = change(&before, &fields(1.3, false), TILE);
        let built = change(&before, &fields(1.0, true), TILE);
        assert!(built > 2.0 * lighter, "house {built}, light {lighter}");
        assert!(change(&before, &before, TILE) < 1e-6);
    }
}
