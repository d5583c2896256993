//! What a bundle keeps of the pictures its model learned, so that a pair unlike them
//! can be told from one it knows.

use serde::{Deserialize, Serialize};

/// Statistics of vision features over the training pictures, and how they become a
/// probability.
///
/// The table is f32, little endian, from offset 0: the mean of a picture's mean patch
/// feature `[Dv]`; `rank` orthonormal directions `[rank, Dv]`; the variance along each
/// `[rank]`, and of all other directions on average `[1]`; `place_rank` directions
/// `[place_rank, Dv]` along which the patches of two dates of one place correlate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The table's file.
    pub file: String,
    /// Directions in which the distance of a picture is measured one by one.
    pub rank: usize,
    /// Directions in which two dates are correlated.
    pub place_rank: usize,
    /// Bias and slope of the logit, over the distance of the pair's worse picture.
    pub pictures: [f32; 2],
    /// Bias and slope of the logit, over the correlation of the two dates.
    pub place: [f32; 2],
    /// Below this trust "not changed" is not to be believed.
    pub threshold: f32,
}

impl Trust {
    /// Numbers in the table of a model with vision features of `width`.
    pub fn table_len(&self, width: usize) -> usize {
        width + self.rank * width + self.rank + 1 + self.place_rank * width
    }

    /// The probability that the model knows pictures at this distance.
    pub fn of_pictures(&self, distance: f32) -> f32 {
        sigmoid(self.pictures[0] + self.pictures[1] * distance)
    }

    /// The probability that two pictures of this correlation show one place.
    pub fn of_place(&self, correlation: f32) -> f32 {
        sigmoid(self.place[0] + self.place[1] * correlation)
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_parts() {
        let trust = Trust {
            file: "trust.table".to_owned(),
            rank: 2,
            place_rank: 3,
            pictures: [6.0, -2.0],
            place: [-1.0, 4.0],
            threshold: 0.5,
        };
        assert_eq!(trust.table_len(10), 10 + 20 + 2 + 1 + 30);
        assert!((trust.of_pictures(3.0) - 0.5).abs() < 1e-6);
        assert!(trust.of_pictures(9.0) < 0.01);
        assert!((trust.of_place(0.25) - 0.5).abs() < 1e-6);
    }
}
