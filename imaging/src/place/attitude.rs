//! Three angles, and what they turn.

use crate::place::sourced::Sourced;

/// What roll turns about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Convention {
    /// A gimbal: roll turns about the optical axis, pitch -90 looks straight down.
    #[default]
    Gimbal,
    /// A camera fixed to look down, as in Pix4D's tags: yaw, pitch and roll are the
    /// aircraft's, and roll turns about its nose. Pitch is stored as for a gimbal, -90
    /// for straight down.
    Nadir,
}

/// Where the camera looked, in degrees, as far as it is known.
///
/// Yaw is clockwise from true north; pitch is 0 at the horizon and -90 straight down.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attitude {
    /// What roll turns about.
    pub convention: Convention,
    /// Clockwise from true north, 0 to 360. Of a camera that looks down it is the
    /// direction of the stored picture's upper edge.
    pub yaw: Option<Sourced<f64>>,
    /// 0 at the horizon, -90 straight down.
    pub pitch: Option<Sourced<f64>>,
    /// See [`Convention`]; 0 where nothing states it.
    pub roll: Option<Sourced<f64>>,
}

impl Attitude {
    /// The same attitude with a roll of at most 90 degrees, and yaw in 0..360.
    ///
    /// A gimbal that swings past straight down states a roll of 180: the picture is
    /// upside down against its yaw. Yaw and pitch that say the same without roll are
    /// (yaw + 180, -180 - pitch).
    pub(crate) fn normalised(mut self) -> Self {
        if let (Convention::Gimbal, Some(roll)) = (self.convention, &mut self.roll) {
            let turned = roll.value.rem_euclid(360.0);
            roll.value = if turned > 180.0 {
                turned - 360.0
            } else {
                turned
            };
            if roll.value.abs() > 90.0 {
                roll.value -= 180f64.copysign(roll.value);
                if let Some(yaw) = &mut self.yaw {
                    yaw.value += 180.0;
                    yaw.source += " turned by the roll of 180 degrees";
                }
                if let Some(pitch) = &mut self.pitch {
                    pitch.value = -180.0 - pitch.value;
                }
            }
        }
        if let Some(yaw) = &mut self.yaw {
            yaw.value = yaw.value.rem_euclid(360.0);
        }
        self
    }
}

/// Rows of the matrix that turns camera axes (along the optical axis, right, down in the
/// stored picture) into north, east and down.
pub(crate) fn rotation(convention: Convention, yaw: f64, pitch: f64, roll: f64) -> [[f64; 3]; 3] {
    let about_down = |angle: f64| {
        let (s, c) = angle.to_radians().sin_cos();
        [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]
    };
    let about_right = |angle: f64| {
        let (s, c) = angle.to_radians().sin_cos();
        [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]
    };
    let about_forward = |angle: f64| {
        let (s, c) = angle.to_radians().sin_cos();
        [[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]
    };
    match convention {
        Convention::Gimbal => product(
            product(about_down(yaw), about_right(pitch)),
            about_forward(roll),
        ),
        Convention::Nadir => product(
            product(
                product(about_down(yaw), about_right(pitch + 90.0)),
                about_forward(roll),
            ),
            about_right(-90.0),
        ),
    }
}

pub(crate) fn product(a: [[f64; 3]; 3], b: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| (0..3).map(|k| a[row][k] * b[k][column]).sum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gimbal(yaw: f64, pitch: f64, roll: f64) -> Attitude {
        let value = |v| Some(Sourced::new(v, "test"));
        Attitude {
            convention: Convention::Gimbal,
            yaw: value(yaw),
            pitch: value(pitch),
            roll: value(roll),
        }
    }

    #[test]
    fn a_gimbal_roll_of_180_is_a_yaw_turned_round_and_the_same_rotation() {
        for (yaw, pitch, roll) in [
            (30.0, -90.0, 180.0),
            (350.0, -88.0, -180.0),
            (10.0, -60.0, 179.0),
        ] {
            let plain = gimbal(yaw, pitch, roll).normalised();
            let [new_yaw, new_pitch, new_roll] =
                [plain.yaw, plain.pitch, plain.roll].map(|angle| angle.unwrap().value);
            assert!((new_yaw - (yaw + 180.0) % 360.0).abs() < 1e-9 && new_roll.abs() <= 1.0);
            let before = rotation(Convention::Gimbal, yaw, pitch, roll);
            let after = rotation(Convention::Gimbal, new_yaw, new_pitch, new_roll);
            for (a, b) in before.as_flattened().iter().zip(after.as_flattened()) {
                assert!((a - b).abs() < 1e-9, "{yaw} {pitch} {roll}");
            }
        }
    }

    #[test]
    fn looking_down_both_conventions_agree_without_roll() {
        let a = rotation(Convention::Gimbal, 40.0, -85.0, 0.0);
        let b = rotation(Convention::Nadir, 40.0, -85.0, 0.0);
        for (a, b) in a.as_flattened().iter().zip(b.as_flattened()) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}
