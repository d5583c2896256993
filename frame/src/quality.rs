//! Whether a tile can be judged: seen twice, not dark, not under clouds.
//!
//! All limits compare a tile with the same ground in the reference, which is sharp and clear
//! by agreement; a roof or a field may be as bright as a cloud, but it was so before.

use deltavlm_imaging::{Image, Rect};

/// Why a tile is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TileFault {
    /// Too much of it was not seen in one of the two pictures.
    NoData,
    /// Too dark to see structure that the other picture has.
    Dark,
    /// Clouds, glare or haze over it.
    Clouded,
}

impl TileFault {
    /// `no_data`, `dark` or `clouded`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Dark => "dark",
            Self::Clouded => "clouded",
        }
    }
}

/// Beyond which a tile is not asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Greatest share of pixels without data in either picture.
    pub no_data: f64,
    /// Greatest share of the tile inside clouds, glare or haze, their borders not counted.
    pub clouded: f64,
    /// Luminance, 0 to 255, that a picture whose ground is lighter at the other date must reach
    /// in its lightest twentieth.
    pub dark: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            no_data: 0.1,
            clouded: 0.05,
            dark: 45.0,
        }
    }
}

/// Blocks along a tile's side; the block is the unit of judgement.
const BLOCKS: u32 = 24;
/// Fewest pixels of a block's side.
const LEAST_BLOCK: u32 = 4;
/// A block this light, this grey and this smooth may be a cloud. A white roof of more than some
/// 40 m, at half a metre a pixel, cannot be told from one: it is masked, and said to be.
const CLOUD_LUMINANCE: f32 = 170.0;
const CLOUD_CHROMA: f32 = 30.0;
const CLOUD_DEVIATION: f32 = 12.0;
/// The other picture must differ by this much for it to be one.
const CLOUD_RISE: f32 = 35.0;
/// Haze takes contrast: less than this share of the other picture's is left, where that has some.
const HAZE_CONTRAST: f32 = 0.35;
const HAZE_RISE: f32 = 20.0;
const TEXTURE: f32 = 8.0;

/// What stands in the way of judging `tile`; `None` when nothing does.
pub fn fault(before: &Image, after: &Image, tile: Rect, limits: &Limits) -> Option<TileFault> {
    if unseen(before, after, tile) as f64 > limits.no_data * tile.area() as f64 {
        return Some(TileFault::NoData);
    }
    let (a, b) = (blocks(before, tile), blocks(after, tile));
    let (light_a, light_b) = (lightest(&a), lightest(&b));
    let dark = |one: f32, other: f32| f64::from(one) < limits.dark && one < 0.5 * other;
    if dark(light_a, light_b) || dark(light_b, light_a) || light_a.max(light_b) < 8.0 {
        return Some(TileFault::Dark);
    }
    let flagged: Vec<bool> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| a.clouded_beside(b) || b.clouded_beside(a))
        .collect();
    let clouded = interior(&flagged, tile.width.div_ceil(block_side(tile)) as usize);
    (clouded as f64 > limits.clouded * a.len() as f64).then_some(TileFault::Clouded)
}

/// Flagged blocks with none beside them that is not: clouds are wide, new roofs and roads narrow.
fn interior(flagged: &[bool], across: usize) -> usize {
    let down = flagged.len() / across;
    let is_interior = |x: usize, y: usize| {
        let rows = y.saturating_sub(1)..(y + 2).min(down);
        rows.flat_map(|y| (x.saturating_sub(1)..(x + 2).min(across)).map(move |x| (x, y)))
            .all(|(x, y)| flagged[y * across + x])
    };
    (0..down * across)
        .filter(|at| is_interior(at % across, at / across))
        .count()
}

fn block_side(tile: Rect) -> u32 {
    (tile.width.min(tile.height) / BLOCKS).max(LEAST_BLOCK)
}

/// Pixels of the tile that one of the pictures, or both, did not see.
fn unseen(before: &Image, after: &Image, tile: Rect) -> usize {
    if before.validity().is_none() && after.validity().is_none() {
        return 0;
    }
    let rows = tile.y..tile.y + tile.height;
    let columns = tile.x..tile.x + tile.width;
    rows.flat_map(|y| columns.clone().map(move |x| (x, y)))
        .filter(|&(x, y)| !before.is_valid(x, y) || !after.is_valid(x, y))
        .count()
}

/// Mean and deviation of luminance, and how coloured it is.
struct Block {
    luminance: f32,
    deviation: f32,
    chroma: f32,
}

impl Block {
    fn clouded_beside(&self, other: &Block) -> bool {
        let rise = self.luminance - other.luminance;
        let cloud = self.luminance > CLOUD_LUMINANCE
            && self.chroma < CLOUD_CHROMA
            && self.deviation < CLOUD_DEVIATION
            && rise > CLOUD_RISE;
        let haze = other.deviation > TEXTURE
            && self.deviation < HAZE_CONTRAST * other.deviation
            && self.chroma < CLOUD_CHROMA
            && rise > HAZE_RISE;
        cloud || haze
    }
}

fn blocks(picture: &Image, tile: Rect) -> Vec<Block> {
    let (width, rgb) = (picture.size().0 as usize, picture.rgb());
    let side = block_side(tile);
    let mut blocks = Vec::new();
    for top in (tile.y..tile.y + tile.height).step_by(side as usize) {
        for left in (tile.x..tile.x + tile.width).step_by(side as usize) {
            let (mut sum, mut squares, mut channels, mut count) = (0.0, 0.0, [0.0f32; 3], 0.0f32);
            for y in top..(top + side).min(tile.y + tile.height) {
                for x in left..(left + side).min(tile.x + tile.width) {
                    let at = 3 * (y as usize * width + x as usize);
                    let [r, g, b] = [0, 1, 2].map(|c| f32::from(rgb[at + c]));
                    let luminance = 0.299 * r + 0.587 * g + 0.114 * b;
                    sum += luminance;
                    squares += luminance * luminance;
                    channels[0] += r;
                    channels[1] += g;
                    channels[2] += b;
                    count += 1.0;
                }
            }
            let mean = sum / count;
            let channels = channels.map(|sum| sum / count);
            blocks.push(Block {
                luminance: mean,
                deviation: (squares / count - mean * mean).max(0.0).sqrt(),
                chroma: channels.iter().copied().fold(0.0, f32::max)
                    - channels.iter().copied().fold(255.0, f32::min),
            });
        }
    }
    blocks
}

/// Luminance that a twentieth of the blocks reaches.
fn lightest(blocks: &[Block]) -> f32 {
    let mut values: Vec<f32> = blocks.iter().map(|block| block.luminance).collect();
    values.sort_by(f32::total_cmp);
    values[values.len() * 19 / 20]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: Rect = Rect {
        x: 0,
        y: 0,
        width: 64,
        height: 64,
    };

    /// Fields and roofs: blocks of different colours with texture.
    fn ground() -> Vec<u8> {
        (0..64 * 64)
            .flat_map(|i: u32| {
                let (x, y) = (i % 64, i / 64);
                let roof = (x / 16 + y / 16) % 3 == 0;
                let grain = (x * 7 + y * 13) % 23;
                let base = if roof { [150, 90, 70] } else { [70, 100, 55] };
                base.map(|v: u32| (v + grain) as u8)
            })
            .collect()
    }

    fn picture(rgb: Vec<u8>) -> Image {
        Image::from_rgb("test", 64, 64, rgb).unwrap()
    }

    fn judged(after: Vec<u8>) -> Option<TileFault> {
        fault(
            &picture(ground()),
            &picture(after),
            TILE,
            &Limits::default(),
        )
    }

    #[test]
    fn the_same_ground_and_another_light_can_be_judged() {
        assert_eq!(judged(ground()), None);
        let lighter = ground().iter().map(|v| v.saturating_add(40)).collect();
        assert_eq!(judged(lighter), None);
    }

    #[test]
    fn a_cloud_over_a_quarter_cannot() {
        let mut after = ground();
        for y in 0..40 {
            for x in 0..40 {
                after[3 * (y * 64 + x)..][..3].fill(235);
            }
        }
        assert_eq!(judged(after), Some(TileFault::Clouded));
    }

    #[test]
    fn a_new_white_roof_is_no_cloud() {
        let mut after = ground();
        for y in 20..36 {
            for x in 20..36 {
                after[3 * (y * 64 + x)..][..3].fill(235);
            }
        }
        assert_eq!(judged(after), None);
    }

    #[test]
    fn haze_and_darkness_cannot() {
        let hazy = ground()
            .iter()
            .map(|v| (u32::from(*v) / 5 + 150) as u8)
            .collect();
        assert_eq!(judged(hazy), Some(TileFault::Clouded));
        let dark = ground().iter().map(|v| v / 10).collect();
        assert_eq!(judged(dark), Some(TileFault::Dark));
    }

    #[test]
    fn what_was_not_seen_cannot() {
        let valid = (0..64 * 64).map(|i| i % 64 > 12).collect();
        let after = picture(ground()).with_validity(valid).unwrap();
        let found = fault(&picture(ground()), &after, TILE, &Limits::default());
        assert_eq!(found, Some(TileFault::NoData));
    }
}
