//! Tiles by size on the ground, always the same ones for one reference.

use deltavlm_imaging::{Rect, Tiling};

use crate::error::FrameError;
use crate::survey::Settings;

/// Fewest pixels of a tile's side: below, a house of 10 m has fewer than 5.
pub const LEAST_SIDE: u32 = 64;

/// The tiles of a picture of `size`, row by row. They follow from the size of the reference and
/// its ground sampling alone, so that the same place is the same tile at every flight.
///
/// # Errors
/// [`FrameError::OffScale`], [`FrameError::Setting`].
pub fn tiles(
    size: (u32, u32),
    ground_m_per_px: Option<f64>,
    settings: &Settings,
) -> Result<Vec<Rect>, FrameError> {
    let side = match ground_m_per_px {
        Some(sampling) => {
            let pixels = (settings.tile_m / sampling).round() as u32;
            if pixels < LEAST_SIDE {
                return Err(FrameError::OffScale {
                    ground_m_per_px: sampling,
                    tile_m: settings.tile_m,
                    pixels,
                    least: LEAST_SIDE,
                });
            }
            pixels
        }
        None => settings.tile_px.max(LEAST_SIDE),
    };
    if !(0.0..=0.75).contains(&settings.overlap) {
        return Err(FrameError::Setting(format!(
            "an overlap of {} is not between 0 and 0.75 of a tile",
            settings.overlap
        )));
    }
    let overlap = (f64::from(side) * settings.overlap) as u32;
    Ok(Tiling::new(side, overlap)?.rects(size.0, size.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_its_size_on_the_ground() {
        let settings = Settings {
            tile_m: 64.0,
            overlap: 0.25,
            ..Settings::default()
        };
        let found = tiles((1000, 800), Some(0.25), &settings).unwrap();
        assert!(
            found
                .iter()
                .all(|tile| tile.width == 256 && tile.height == 256)
        );
        // 192 pixels from one to the next.
        assert_eq!(found[1].x, 192);
        assert_eq!(found.len(), 5 * 4);
    }

    #[test]
    fn ground_too_coarse_for_the_model_is_off_scale() {
        let error = tiles((1000, 800), Some(10.0), &Settings::default()).unwrap_err();
        assert!(matches!(error, FrameError::OffScale { .. }), "{error}");
    }
}
