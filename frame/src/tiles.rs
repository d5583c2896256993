//! Tiles by size on the ground, always the same ones for one reference.

use deltavlm_imaging::{Rect, Tiling};

use crate::error::FrameError;
use crate::view::{Settings, View};

/// Fewest pixels of a tile's side: below, a house of 10 m has fewer than 5.
pub const LEAST_SIDE: u32 = 64;

/// The tiles of `view`, row by row. They lie at multiples of their step from the corner of the
/// whole reference, so that the same place is the same tile at every flight; along the edges of a
/// view that is the whole reference, the last ones are moved inwards.
///
/// # Errors
/// [`FrameError::OffScale`], [`FrameError::Setting`].
pub fn tiles(view: &View<'_>, settings: &Settings) -> Result<Vec<Rect>, FrameError> {
    let side = match view.ground_m_per_px {
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
    let (width, height) = view.before.size();
    let Some((x, y)) = view.origin else {
        return Ok(Tiling::new(side, overlap)?.rects(width, height));
    };
    let step = side - overlap;
    // The first multiple of the step inside the view.
    let first = |origin: u32| (step - origin % step) % step;
    let starts = |first: u32, length: u32| {
        (first..)
            .step_by(step as usize)
            .take_while(move |start| start + side <= length)
    };
    let columns: Vec<u32> = starts(first(x), width).collect();
    Ok(starts(first(y), height)
        .flat_map(|y| {
            columns.iter().map(move |&x| Rect {
                x,
                y,
                width: side,
                height: side,
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_imaging::Image;

    fn cut(
        size: (u32, u32),
        origin: Option<(u32, u32)>,
        ground_m_per_px: Option<f64>,
    ) -> Result<Vec<Rect>, FrameError> {
        let pixels = vec![0; size.0 as usize * size.1 as usize * 3];
        let picture = Image::from_rgb("grid", size.0, size.1, pixels).unwrap();
        let view = View {
            before: &picture,
            after: &picture,
            origin,
            ground_m_per_px,
        };
        let settings = Settings {
            tile_m: 64.0,
            overlap: 0.25,
            ..Settings::default()
        };
        tiles(&view, &settings)
    }

    #[test]
    fn a_tile_has_its_size_on_the_ground() {
        let found = cut((1000, 800), None, Some(0.25)).unwrap();
        assert!(found.iter().all(|t| t.width == 256 && t.height == 256));
        // 192 pixels from one to the next.
        assert_eq!(found[1].x, 192);
        assert_eq!(found.len(), 5 * 4);
    }

    #[test]
    fn two_flights_over_one_place_have_the_same_tiles() {
        let here = cut((900, 700), Some((500, 300)), Some(0.25)).unwrap();
        let there = cut((900, 700), Some((650, 420)), Some(0.25)).unwrap();
        let whole = |tiles: &[Rect], x: u32, y: u32| -> Vec<(u32, u32)> {
            tiles.iter().map(|t| (t.x + x, t.y + y)).collect()
        };
        let (here, there) = (whole(&here, 500, 300), whole(&there, 650, 420));
        let shared = here.iter().filter(|tile| there.contains(tile)).count();
        // Two columns and one row lie in both views.
        assert_eq!(shared, 2, "{here:?} {there:?}");
        assert!(here.iter().all(|(x, y)| x % 192 == 0 && y % 192 == 0));
    }

    #[test]
    fn ground_too_coarse_for_the_model_is_off_scale() {
        let error = cut((1000, 800), None, Some(10.0)).unwrap_err();
        assert!(matches!(error, FrameError::OffScale { .. }), "{error}");
    }
}
