//! Height over the ground from heights over something else.

use crate::place::sourced::Sourced;

/// What is known of the ground under the camera.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum GroundHeight {
    /// Nothing: the place of take-off is taken as level with the ground, and the source
    /// of the height says so.
    #[default]
    Unknown,
    /// The place of take-off lies this many metres over the ground that is photographed
    /// (negative: below it).
    TakeOffAbove(f64),
    /// The ground lies this many metres over the level from which the camera's altitude
    /// counts (the sea or the ellipsoid), by configuration or from a [`Dem`](super::Dem).
    Elevation(f64),
}

/// The heights that a file states.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heights<'a> {
    pub(crate) above_ground: Option<&'a Sourced<f64>>,
    pub(crate) relative: Option<&'a Sourced<f64>>,
    pub(crate) altitude: Option<&'a Sourced<f64>>,
}

/// Height over the ground, above zero.
pub(crate) fn height_above(heights: &Heights<'_>, ground: GroundHeight) -> Option<Sourced<f64>> {
    let Heights {
        above_ground,
        relative,
        altitude,
    } = heights;
    let of_ground = match ground {
        GroundHeight::TakeOffAbove(take_off) => relative.map(|relative| {
            let source = format!("{} plus the stated height of take-off", relative.source);
            Sourced::new(relative.value + take_off, source)
        }),
        GroundHeight::Elevation(ground) => altitude.map(|altitude| {
            let source = format!("{} less the height of the ground", altitude.source);
            Sourced::new(altitude.value - ground, source)
        }),
        GroundHeight::Unknown => None,
    };
    let stated = || above_ground.cloned();
    let assumed = || {
        relative.map(|relative| {
            let source = format!(
                "{}, take-off taken as level with the ground",
                relative.source
            );
            Sourced::new(relative.value, source)
        })
    };
    of_ground
        .or_else(stated)
        .or_else(assumed)
        .filter(|height| height.value > 0.0 && height.value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_altitude_is_not_height_over_ground() {
        let relative = Sourced::new(40.0, "R");
        let altitude = Sourced::new(198.0, "A");
        let heights = Heights {
            above_ground: None,
            relative: Some(&relative),
            altitude: Some(&altitude),
        };
        let found = |ground| height_above(&heights, ground);
        // Taking off from a hill 25 metres over the field.
        assert_eq!(found(GroundHeight::TakeOffAbove(25.0)).unwrap().value, 65.0);
        assert_eq!(found(GroundHeight::Elevation(120.0)).unwrap().value, 78.0);
        let assumed = found(GroundHeight::Unknown).unwrap();
        assert!(assumed.value == 40.0 && assumed.source.contains("taken as level"));
        assert_eq!(found(GroundHeight::Elevation(300.0)), None);
    }
}
