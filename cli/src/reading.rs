//! What the values of a picture file mean: flags of the commands that read camera files and maps.

use clap::Args;
use deltavlm_imaging::{DecodeOptions, Stretch};

/// How values become colours. The same for both pictures of a pair.
#[derive(Args, Clone)]
pub(crate) struct ReadingArguments {
    /// Bands of a TIFF that are red, green and blue, counted from 1, e.g. 3,2,1.
    #[arg(long, value_name = "R,G,B", value_parser = bands)]
    bands: Option<[u16; 3]>,
    /// Value that is black, beside `--white` [default: 0].
    #[arg(
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        requires = "white"
    )]
    black: Option<f64>,
    /// Value of channels deeper than 8 bits that is white, e.g. 4095 for a 12-bit camera.
    #[arg(long, value_name = "VALUE", value_parser = positive)]
    white: Option<f64>,
    /// Value that means no data where all bands have it [default: what the file says].
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    nodata: Option<f64>,
    /// Percentiles of each picture that become black and white. It makes dull ground look changed.
    #[arg(long, value_name = "LOW,HIGH", value_parser = stretch, conflicts_with_all = ["white", "black"])]
    stretch: Option<Stretch>,
    /// Most pixels that a picture may have.
    #[arg(long, value_name = "N")]
    max_pixels: Option<u64>,
    /// Most bytes that the file of a picture may have.
    #[arg(long, value_name = "N")]
    max_bytes: Option<u64>,
}

impl ReadingArguments {
    pub(crate) fn options(&self) -> DecodeOptions {
        let usual = DecodeOptions::default();
        DecodeOptions {
            max_pixels: self.max_pixels.unwrap_or(usual.max_pixels),
            max_bytes: self.max_bytes.unwrap_or(usual.max_bytes),
            bands: self.bands,
            black: self.black,
            white: self.white,
            nodata: self.nodata,
            stretch: self.stretch,
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok();
    value
        .filter(|value| value.is_finite() && *value > 0.0)
        .ok_or_else(|| format!("`{text}` is not a number above 0"))
}

fn bands(text: &str) -> Result<[u16; 3], String> {
    let bands: Vec<u16> = text
        .split(',')
        .filter_map(|band| band.trim().parse().ok())
        .collect();
    <[u16; 3]>::try_from(bands)
        .ok()
        .filter(|bands| text.split(',').count() == 3 && !bands.contains(&0))
        .ok_or_else(|| format!("`{text}` is not three bands counted from 1, such as 3,2,1"))
}

fn stretch(text: &str) -> Result<Stretch, String> {
    let parse = |part: &str| part.trim().parse::<f64>().ok();
    text.split_once(',')
        .and_then(|(low, high)| {
            Some(Stretch {
                low: parse(low)?,
                high: parse(high)?,
            })
        })
        .filter(|s| s.low >= 0.0 && s.low < s.high && s.high <= 100.0)
        .ok_or_else(|| format!("`{text}` is not two rising percentiles, such as 2,98"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_three_numbers_from_one() {
        assert_eq!(bands("3,2,1"), Ok([3, 2, 1]));
        for wrong in ["3,2", "0,1,2", "1,2,3,4", "1,x,2,3", ""] {
            assert!(bands(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percentiles_rise() {
        assert!(stretch("2,98").is_ok());
        for wrong in ["98,2", "2", "-1,50", "1,101", "a,b"] {
            assert!(stretch(wrong).is_err(), "{wrong}");
        }
    }
}
