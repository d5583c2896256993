//! A changed pair on one PNG: before, after, after with the grid; what was found below.
//!
//! The letters are those of Noto Sans Mono (SIL Open Font License 1.1), as bitmaps.

use super::overlay::{BUILDINGS, Cells, ROADS, alert};
use crate::run_log::PairLog;
use deltavlm_messages::{AnswerBody, Message};
use image::{
    Rgb, RgbImage,
    imageops::{self, FilterType},
};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const PANEL: u32 = 400;
const MARGIN: u32 = 28;
const HEAD: u32 = 76;
const STRIP: u32 = 132;
const WIDTH: u32 = 3 * PANEL + 4 * MARGIN;
const HEIGHT: u32 = HEAD + PANEL + 34 + STRIP;

const GROUND: [u8; 3] = [15, 20, 28];
const RAISED: [u8; 3] = [24, 31, 42];
const BRIGHT: [u8; 3] = [236, 240, 246];
const MUTED: [u8; 3] = [147, 160, 178];
const SIGNAL: [u8; 3] = [255, 92, 92];

/// Draws the sheet of a chapter with an alert.
pub(crate) fn draw(pair_log: &PairLog) -> RgbImage {
    let mut sheet = RgbImage::from_pixel(WIDTH, HEIGHT, Rgb(GROUND));
    let title = Style {
        size: RasterHeight::Size24,
        weight: FontWeight::Bold,
        colour: BRIGHT,
    };
    let small = Style {
        size: RasterHeight::Size16,
        weight: FontWeight::Regular,
        colour: MUTED,
    };
    write(&mut sheet, MARGIN, 26, &pair_log.pair.name, title);
    let alarm = Style {
        size: RasterHeight::Size20,
        weight: FontWeight::Bold,
        colour: SIGNAL,
    };
    if let Some(alert) = alert(pair_log) {
        let text = format!("CHANGED  {:.0}% sure", 100.0 * alert.confidence.fraction());
        write(
            &mut sheet,
            WIDTH - MARGIN - width(&text, alarm),
            28,
            &text,
            alarm,
        );
    }
    let panels = [
        ("before", panel(&pair_log.pair.before_pixels)),
        ("after", panel(&pair_log.pair.after_pixels)),
        ("where", overlaid(pair_log)),
    ];
    for (place, (caption, picture)) in (0..).zip(panels) {
        let x = MARGIN + place * (PANEL + MARGIN);
        imageops::replace(&mut sheet, &picture, i64::from(x), i64::from(HEAD));
        write(&mut sheet, x, HEAD + PANEL + 8, caption, small);
    }
    legend(&mut sheet, small);
    strip(&mut sheet, pair_log);
    sheet
}

/// The picture in a square, whole, on the sheet's ground.
fn panel(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let wire_size = f64::from(PANEL) / f64::from(width.max(height).max(1));
    let fit = |side: u32| ((f64::from(side) * wire_size).round() as u32).clamp(1, PANEL);
    let fitted = imageops::resize(picture, fit(width), fit(height), FilterType::CatmullRom);
    let mut panel = RgbImage::from_pixel(PANEL, PANEL, Rgb(RAISED));
    let left = i64::from((PANEL - fitted.width()) / 2);
    let top = i64::from((PANEL - fitted.height()) / 2);
    imageops::replace(&mut panel, &fitted, left, top);
    panel
}

fn overlaid(pair_log: &PairLog) -> RgbImage {
    let picture = &pair_log.pair.after_pixels;
    let side = PANEL.max(picture.width().min(picture.height()));
    let mut large = imageops::resize(picture, side, side, FilterType::CatmullRom);
    let third = side / 3;
    for (column, row, roads, buildings) in Cells::of(pair_log).each() {
        let (left, top) = (column * third, row * third);
        // The last row and column take what the division left over.
        let end = |place: u32| {
            if place == 2 {
                side
            } else {
                (place + 1) * third
            }
        };
        for y in top..end(row) {
            for x in left..end(column) {
                let pixel = large.get_pixel_mut(x, y);
                match (roads, buildings) {
                    (false, false) => blend(pixel, GROUND, 0.45),
                    (true, false) => blend(pixel, ROADS, 0.38),
                    (false, true) => blend(pixel, BUILDINGS, 0.38),
                    // Two halves: both colours stay what they are.
                    (true, true) => {
                        let upper = (x - left) + (y - top) < third;
                        blend(pixel, if upper { ROADS } else { BUILDINGS }, 0.38);
                    }
                }
            }
        }
    }
    for line in 1..3 {
        for along in 0..side {
            for wide in 0..(side / PANEL).max(1) {
                blend(large.get_pixel_mut(line * third + wide, along), BRIGHT, 0.6);
                blend(large.get_pixel_mut(along, line * third + wide), BRIGHT, 0.6);
            }
        }
    }
    let (width, height) = picture.dimensions();
    panel(&imageops::resize(
        &large,
        width.max(PANEL * width / side),
        height.max(PANEL * height / side),
        FilterType::Triangle,
    ))
}

fn legend(sheet: &mut RgbImage, style: Style) {
    let y = HEAD + PANEL + 8;
    let mut x = WIDTH - MARGIN;
    for (name, colour) in [("buildings", BUILDINGS), ("roads", ROADS)] {
        x -= width(name, style);
        write(sheet, x, y, name, style);
        x -= 22;
        rectangle(sheet, x, y + 3, 14, 12, colour);
        x -= 18;
    }
}

/// Counts, sentence and weight.
fn strip(sheet: &mut RgbImage, pair_log: &PairLog) {
    let top = HEAD + PANEL + 34;
    rectangle(sheet, 0, top, WIDTH, STRIP, RAISED);
    let large = Style {
        size: RasterHeight::Size24,
        weight: FontWeight::Bold,
        colour: BRIGHT,
    };
    let plain = Style {
        size: RasterHeight::Size20,
        weight: FontWeight::Regular,
        colour: BRIGHT,
    };
    let small = Style {
        size: RasterHeight::Size16,
        weight: FontWeight::Regular,
        colour: MUTED,
    };
    let Some((alert, received)) = alert(pair_log).zip(pair_log.alert.as_ref()) else {
        return;
    };
    let counts = format!("roads {}   buildings {}", alert.roads, alert.buildings);
    write(sheet, MARGIN, top + 16, &counts, large);
    let room = ((WIDTH - 2 * MARGIN) / width("m", plain)) as usize;
    write(
        sheet,
        MARGIN,
        top + 54,
        &shortened(&sentence(pair_log), room),
        plain,
    );
    let weight = format!(
        "{} bytes on the air, signed; the same content as JSON: {} bytes",
        received.wire_bytes,
        received.json_bytes()
    );
    write(sheet, MARGIN, top + 94, &weight, small);
}

/// The sentence that the model wrote about the pair, where one was asked for.
fn sentence(pair_log: &PairLog) -> String {
    let mut texts =
        pair_log
            .exchanges
            .iter()
            .filter_map(|exchange| match &exchange.answer.as_ref()?.message {
                Message::Answer(answer) => match &answer.body {
                    AnswerBody::Caption { text, .. } | AnswerBody::Survey { text, .. } => {
                        Some(text)
                    }
                    _ => None,
                },
                _ => None,
            });
    texts
        .next_back()
        .map_or(String::new(), |text| format!("\"{}\"", text.as_str()))
}

fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(3)).collect();
    format!("{kept}...")
}

#[derive(Clone, Copy)]
struct Style {
    size: RasterHeight,
    weight: FontWeight,
    colour: [u8; 3],
}

fn width(text: &str, style: Style) -> u32 {
    (text.chars().count() * get_raster_width(style.weight, style.size)) as u32
}

/// Writes a line; a character that the font lacks becomes a question mark.
fn write(sheet: &mut RgbImage, mut x: u32, y: u32, text: &str, style: Style) {
    for letter in text.chars() {
        let raster = get_raster(letter, style.weight, style.size)
            .or_else(|| get_raster('?', style.weight, style.size));
        if let Some(raster) = raster {
            for (row, line) in (y..).zip(raster.raster()) {
                for (column, &strength) in (x..).zip(line.iter()) {
                    if let Some(pixel) = sheet.get_pixel_mut_checked(column, row) {
                        blend(pixel, style.colour, f32::from(strength) / 255.0);
                    }
                }
            }
        }
        x += get_raster_width(style.weight, style.size) as u32;
    }
}

fn rectangle(sheet: &mut RgbImage, left: u32, top: u32, width: u32, height: u32, colour: [u8; 3]) {
    for y in top..top + height {
        for x in left..left + width {
            if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
                *pixel = Rgb(colour);
            }
        }
    }
}

fn blend(pixel: &mut Rgb<u8>, colour: [u8; 3], share: f32) {
    for (value, target) in pixel.0.iter_mut().zip(colour) {
        *value = (f32::from(*value) * (1.0 - share) + f32::from(target) * share).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_any_shape_fits_its_panel() {
        for (width, height) in [(1, 1), (1000, 10), (10, 1000), (256, 256), (401, 399)] {
            assert_eq!(
                panel(&RgbImage::new(width, height)).dimensions(),
                (PANEL, PANEL)
            );
        }
    }

    #[test]
    fn text_is_drawn_and_may_run_out_of_the_sheet() {
        let mut sheet = RgbImage::new(64, 32);
        let style = Style {
            size: RasterHeight::Size16,
            weight: FontWeight::Regular,
            colour: BRIGHT,
        };
        write(&mut sheet, 40, 20, "long \u{2603}", style);
        assert!(sheet.pixels().any(|pixel| pixel.0 != [0, 0, 0]));
        assert_eq!(shortened("abcdef", 5), "ab...");
    }
}
