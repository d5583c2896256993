//! How far a pair is from what the model learned: pictures unlike any of the training's,
//! and two pictures of different places, get answers that sound as sure as any other.

use std::path::Path;

use deltavlm_bundle::Trust as Record;

use crate::bundle::Bundle;
use crate::error::Error;

/// How far the answers about a pair can be believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trust {
    /// All together: the product of the other two, 0..1.
    pub score: f32,
    /// The probability that the model knows pictures like the worse of the two.
    pub pictures: f32,
    /// The probability that the two pictures show one place.
    pub place: f32,
    /// Whether the score is below the bundle's threshold.
    pub is_low: bool,
}

impl Trust {
    /// What speaks against the pair; None above the threshold.
    pub fn doubt(&self) -> Option<&'static str> {
        match (self.is_low, self.pictures < self.place) {
            (false, _) => None,
            (true, true) => Some("pictures"),
            (true, false) => Some("place"),
        }
    }
}

/// Smallest side of the patch grid on which the two dates are also compared one patch
/// apart.
const MIN_SHIFTED_SIDE: usize = 5;
/// Less variance than this is none: nothing correlates.
const NO_VARIANCE: f32 = 1e-9;

/// The statistics of a bundle, read.
#[derive(Debug)]
pub(crate) struct TrustScorer {
    record: Record,
    width: usize,
    /// Patches along one side.
    side: usize,
    mean: Vec<f32>,
    directions: Vec<f32>,
    variances: Vec<f32>,
    place: Vec<f32>,
}

impl TrustScorer {
    /// None where the bundle has no statistics.
    pub(crate) fn open(bundle: &Bundle) -> Result<Option<Self>, Error> {
        let Some(record) = &bundle.manifest.trust else {
            return Ok(None);
        };
        let vision = &bundle.manifest.model.vision;
        let path = bundle.directory.join(&record.file);
        let table = read_table(&path, record.table_len(vision.width))?;
        let side = vision.image_size / vision.patch_size;
        Ok(Some(Self::new(record.clone(), vision.width, side, &table)))
    }

    /// `table` has [`Record::table_len`] numbers.
    fn new(record: Record, width: usize, side: usize, table: &[f32]) -> Self {
        let (mean, rest) = table.split_at(width);
        let (directions, rest) = rest.split_at(record.rank * width);
        let (variances, place) = rest.split_at(record.rank + 1);
        Self {
            width,
            side,
            mean: mean.to_vec(),
            directions: directions.to_vec(),
            variances: variances.to_vec(),
            place: place.to_vec(),
            record,
        }
    }

    /// Of the features `[1, T, Dv]` of both dates, class token first.
    pub(crate) fn score(&self, before: &[f32], after: &[f32]) -> Trust {
        let distance = self.distance(before).max(self.distance(after));
        let pictures = self.record.of_pictures(distance);
        let place = self.record.of_place(self.correlation(before, after));
        let score = pictures * place;
        Trust {
            score,
            pictures,
            place,
            // Features that are no numbers are believed least.
            is_low: score.is_nan() || score < self.record.threshold,
        }
    }

    /// Mahalanobis distance of a picture's mean patch, per channel; beyond the first
    /// directions of the training's variance all others count alike.
    fn distance(&self, features: &[f32]) -> f32 {
        let patches = &features[self.width..];
        let count = (patches.len() / self.width) as f32;
        let mut offset: Vec<f32> = self.mean.iter().map(|mean| -mean).collect();
        for patch in patches.chunks_exact(self.width) {
            for (sum, value) in offset.iter_mut().zip(patch) {
                *sum += value / count;
            }
        }
        let mut rest = dot(&offset, &offset);
        let mut total = 0.0;
        for (direction, variance) in self
            .directions
            .chunks_exact(self.width)
            .zip(&self.variances)
        {
            let along = dot(direction, &offset).powi(2);
            total += along / variance;
            rest -= along;
        }
        let other = self.variances[self.record.rank];
        ((total + rest.max(0.0) / other) / self.width as f32).sqrt()
    }

    /// The correlation of the two dates over the patches, averaged over the directions,
    /// at the best of the nine offsets of up to one patch.
    fn correlation(&self, before: &[f32], after: &[f32]) -> f32 {
        let [before, after] = [before, after].map(|features| self.projected(features));
        let margin = usize::from(self.side >= MIN_SHIFTED_SIDE);
        let steps = 0..=2 * margin;
        let offsets = steps
            .clone()
            .flat_map(|y| steps.clone().map(move |x| (y, x)));
        let best = offsets.map(|offset| {
            let middle = self.window(&after, (margin, margin), margin);
            let moved = self.window(&before, offset, margin);
            let planes = middle.iter().zip(&moved);
            planes.map(|(a, b)| pearson(a, b)).sum::<f32>() / self.record.place_rank.max(1) as f32
        });
        best.fold(f32::NEG_INFINITY, f32::max)
    }

    /// One plane of patches per direction.
    fn projected(&self, features: &[f32]) -> Vec<Vec<f32>> {
        let patches = &features[self.width..];
        self.place
            .chunks_exact(self.width)
            .map(|direction| {
                let patches = patches.chunks_exact(self.width);
                patches.map(|patch| dot(direction, patch)).collect()
            })
            .collect()
    }

    /// The planes without `2 * margin` rows and columns, from `top` and `left` on.
    fn window(
        &self,
        planes: &[Vec<f32>],
        (top, left): (usize, usize),
        margin: usize,
    ) -> Vec<Vec<f32>> {
        let kept = self.side - 2 * margin;
        let cut = |plane: &Vec<f32>| {
            let rows = plane.chunks_exact(self.side).skip(top).take(kept);
            rows.flat_map(|row| row[left..left + kept].to_vec())
                .collect()
        };
        planes.iter().map(cut).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn pearson(a: &[f32], b: &[f32]) -> f32 {
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut product, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    let squares = square_a * square_b;
    if squares < NO_VARIANCE * NO_VARIANCE {
        return 0.0;
    }
    product / squares.sqrt()
}

fn read_table(path: &Path, expected: usize) -> Result<Vec<f32>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() != 4 * expected {
        return Err(Error::Bundle(deltavlm_bundle::Error::Damaged {
            path: path.to_owned(),
            problem: format!(
                "{} bytes where the statistics of trust have {}",
                bytes.len(),
                4 * expected
            ),
        }));
    }
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok(bytes.chunks_exact(4).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 5 x 5 patches of three channels and a class token, as in `test_ground.py`.
    fn features(date: f32) -> Vec<f32> {
        let channel =
            |t: usize| (1..=3).map(move |c| (0.7 * ((t + 1) * c) as f32 + 0.4 * date).sin());
        (0..26).flat_map(channel).collect()
    }

    fn scorer() -> TrustScorer {
        let record = Record {
            file: "trust.table".to_owned(),
            rank: 1,
            place_rank: 2,
            pictures: [6.0, -10.0],
            place: [-2.0, 4.0],
            threshold: 0.5,
        };
        #[rustfmt::skip]
        let table = [
            0.1, -0.2, 0.3, // mean
            0.6, 0.8, 0.0, // direction
            0.5, 0.25, // variances
            1.0, 0.0, 0.0, 0.0, 0.5, -0.5, // place
        ];
        TrustScorer::new(record, 3, 5, &table)
    }

    /// The expected numbers are those of `training/trust.py` on NumPy.
    #[test]
    fn distance_and_correlation_equal_the_recipes() {
        let (scorer, before, after) = (scorer(), features(0.0), features(1.0));
        let distance = scorer.distance(&before).max(scorer.distance(&after));
        assert!((distance - 0.461_856).abs() < 1e-4, "{distance}");
        let correlation = scorer.correlation(&before, &after);
        assert!((correlation - 0.901_442).abs() < 1e-4, "{correlation}");
        assert!((scorer.correlation(&before, &before) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_shift_of_one_patch_is_the_same_place() {
        let scorer = scorer();
        let before = features(0.0);
        let mut after = before.clone();
        // One column to the left; what comes in on the right is another ground.
        for row in 0..5 {
            for column in 0..5 {
                let to = 3 * (1 + 5 * row + column);
                let from = if column < 4 { to + 3 } else { 3 };
                let patch: Vec<f32> = before[from..from + 3].to_vec();
                after[to..to + 3].copy_from_slice(&patch);
            }
        }
        assert!((scorer.correlation(&before, &after) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn what_is_unlike_the_training_is_doubted() {
        let (scorer, before) = (scorer(), features(0.0));
        let known = scorer.score(&before, &before);
        assert!(!known.is_low && known.doubt().is_none(), "{known:?}");
        let far: Vec<f32> = before.iter().map(|value| value + 4.0).collect();
        let strange = scorer.score(&before, &far);
        assert!(strange.is_low, "{strange:?}");
        assert_eq!(strange.doubt(), Some("pictures"));
        let elsewhere: Vec<f32> = (0..78).map(|i| 0.3 * (i as f32 * 7.3).cos()).collect();
        let moved = scorer.score(&before, &elsewhere);
        assert!(moved.place < known.place, "{moved:?}");
        // A flat picture correlates with nothing, and is no division by zero.
        let flat = scorer.score(&before, &[0.1; 78]);
        assert!(flat.place < 0.2 && flat.score.is_finite(), "{flat:?}");
    }

    #[test]
    fn features_that_are_no_numbers_are_not_believed() {
        let (scorer, before) = (scorer(), features(0.0));
        assert!(scorer.score(&before, &[f32::NAN; 78]).is_low);
    }
}
