//! The report as one HTML file: styles, pictures and drawings inside, nothing fetched.

use super::{
    answers::{confidence, escape, exchange_html, plural},
    overlay::{Cells, alert},
    timeline::timeline,
};
use crate::{
    radio::Direction,
    run_log::{PairLog, ReceivedMessage, RunLog},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use image::{DynamicImage, RgbImage, codecs::jpeg::JpegEncoder};
use std::{fmt::Write, io};

const STYLE: &str = include_str!("style.css");
/// Pictures are embedded with at most this many pixels a side.
const MAX_EMBEDDED_SIDE: u32 = 512;
const JPEG_QUALITY: u8 = 88;

/// The whole page.
pub(crate) fn page(run_log: &RunLog) -> io::Result<String> {
    let mut pair_logs = String::new();
    for pair_log in &run_log.pair_logs {
        pair_logs.push_str(&article(pair_log)?);
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Changes seen from above</title><style>{STYLE}</style></head><body>\n\
         <main>{head}{pair_logs}{bytes}{link}</main>\n</body></html>\n",
        head = head(run_log),
        bytes = bytes_section(run_log),
        link = link_section(run_log),
    ))
}

fn head(run_log: &RunLog) -> String {
    let wire: usize = run_log
        .received_messages()
        .map(|received| received.wire_bytes)
        .sum();
    let json: usize = run_log
        .received_messages()
        .map(ReceivedMessage::json_bytes)
        .sum();
    let factor = json as f64 / wire.max(1) as f64;
    let alert = run_log
        .pair_logs
        .iter()
        .filter_map(|pair_log| pair_log.alert.as_ref())
        .map(|alert| alert.wire_bytes)
        .max();
    let lost: usize = [Direction::Down, Direction::Up]
        .map(|direction| run_log.direction_stats(direction))
        .iter()
        .map(|stats| stats.lost + stats.damaged + stats.no_contact)
        .sum();
    let card =
        |value: String, label: &str| format!("<div><b>{value}</b><span>{label}</span></div>");
    let mut cards = String::new();
    cards += &card(run_log.pair_logs.len().to_string(), "pairs looked at");
    cards += &card(run_log.alerts().to_string(), "change alerts");
    cards += &card(run_log.answers().to_string(), "questions answered");
    cards += &card(
        alert.map_or("-".to_owned(), |bytes| format!("{bytes} B")),
        "largest alert on the air",
    );
    cards += &card(format!("{factor:.1}\u{d7}"), "smaller than JSON");
    let consequence = match run_log.missing() {
        0 => "frames lost, but no message".to_owned(),
        missing => format!("frames lost; {missing} messages not in when the run ended"),
    };
    cards += &card(lost.to_string(), &consequence);
    format!(
        "<header><p class=\"kicker\">DeltaVLM on board</p><h1>Changes seen from above</h1>\
         <p class=\"lead\">The on-board program looked at {} pairs of pictures, raised {} change alerts \
         by itself, and answered questions from the ground, over a {}&nbsp;baud radio that loses {:.0}&nbsp;% of \
         its frames and fell silent for {:.1}&nbsp;s.</p>\
         <div class=\"cards\">{cards}</div>\
         <p class=\"legend\"><i class=\"roads\"></i>roads changed <i class=\"buildings\"></i>buildings changed \
         <i class=\"both\"></i>both</p></header>",
        run_log.pair_logs.len(),
        run_log.alerts(),
        run_log.channel.baud,
        100.0 * run_log.channel.loss,
        run_log
            .gap
            .map_or(0.0, |(lost, found)| (found - lost).as_secs_f64()),
    )
}

fn article(pair_log: &PairLog) -> io::Result<String> {
    let badge = match (alert(pair_log), &pair_log.error) {
        (Some(alert), _) => format!(
            "<span class=\"badge changed\">changed</span>{}",
            confidence(alert.confidence)
        ),
        (None, Some(_)) => "<span class=\"badge broken\">cannot be used</span>".to_owned(),
        (None, None) => "<span class=\"badge quiet\">no change</span>".to_owned(),
    };
    let turns: String = pair_log.exchanges.iter().map(exchange_html).collect();
    Ok(format!(
        "<article><h2>{}{badge}</h2>{}<div class=\"facts\">{}</div>\
         <div class=\"dialogue\">{turns}</div></article>",
        escape(&pair_log.pair.name),
        pictures(pair_log)?,
        facts(pair_log)
    ))
}

fn pictures(pair_log: &PairLog) -> io::Result<String> {
    let (before, after) = (&pair_log.pair.before_pixels, &pair_log.pair.after_pixels);
    let after = picture(after)?;
    let where_it_changed = match pair_log.alert {
        Some(_) => figure("where it changed", &after, &grid(Cells::of(pair_log))),
        None => figure("no change", &after, "<div class=\"veil\"></div>"),
    };
    Ok(format!(
        "<div class=\"pictures\">{}{}{where_it_changed}</div>",
        figure("before", &picture(before)?, ""),
        figure("after", &after, ""),
    ))
}

fn facts(pair_log: &PairLog) -> String {
    let analyzed = pair_log.analyzed.map_or(String::new(), |took| {
        let millis = took.as_secs_f64() * 1000.0;
        format!("<div><b>{millis:.0} ms</b> on board from file to finding</div>")
    });
    let Some((alert, received)) = alert(pair_log).zip(pair_log.alert.as_ref()) else {
        let reason = pair_log.error.as_deref().unwrap_or("nothing was sent");
        return format!("<div>{}</div>{analyzed}", escape(reason));
    };
    format!(
        "<div><b>{}</b> {}</div><div><b>{}</b> {}</div>\
         <div><b>{} bytes</b> on the air, {} as JSON</div>\
         <div>shown <b>{:.1} s</b> into the run</div>{analyzed}",
        alert.roads,
        plural(alert.roads.into(), "road", "roads"),
        alert.buildings,
        plural(alert.buildings.into(), "building", "buildings"),
        received.wire_bytes,
        received.json_bytes(),
        received.at.as_secs_f64(),
    )
}

fn grid(cells: Cells) -> String {
    let mut svg = String::from(
        "<svg class=\"grid\" viewBox=\"0 0 300 300\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    for (column, row, roads, buildings) in cells.each() {
        let (x, y) = (100 * column, 100 * row);
        let class = match (roads, buildings) {
            (false, false) => "unchanged",
            (true, false) => "roads",
            (false, true) => "buildings",
            (true, true) => {
                // Two halves: both colours stay what they are.
                let _ = write!(
                    svg,
                    "<path class=\"roads\" d=\"M{x} {y}h100l-100 100z\"/>\
                     <path class=\"buildings\" d=\"M{} {}h-100l100-100z\"/>",
                    x + 100,
                    y + 100
                );
                "frame"
            }
        };
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"100\" height=\"100\"/>"
        );
    }
    svg.push_str("</svg>");
    svg
}

fn figure(caption: &str, source: &str, overlay: &str) -> String {
    format!(
        "<figure><div class=\"frame\"><img alt=\"{caption}\" src=\"{source}\">{overlay}</div>\
         <figcaption>{caption}</figcaption></figure>"
    )
}

fn picture(pixels: &RgbImage) -> io::Result<String> {
    let picture = DynamicImage::from(pixels.clone());
    let fitted = if pixels.width().max(pixels.height()) > MAX_EMBEDDED_SIDE {
        picture.resize(
            MAX_EMBEDDED_SIDE,
            MAX_EMBEDDED_SIDE,
            image::imageops::FilterType::Triangle,
        )
    } else {
        picture
    };
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY)
        .encode_image(&fitted.into_rgb8())
        .map_err(io::Error::other)?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(file)))
}

fn bytes_section(run_log: &RunLog) -> String {
    let mut rows = String::new();
    let widest = run_log
        .received_messages()
        .map(ReceivedMessage::json_bytes)
        .max()
        .unwrap_or(1)
        .max(1);
    for pair_log in &run_log.pair_logs {
        let answers = pair_log.exchanges.iter().filter_map(|exchange| {
            Some((
                exchange.pending.instruction.as_str(),
                exchange.answer.as_ref()?,
            ))
        });
        let all = pair_log
            .alert
            .iter()
            .map(|alert| ("alert", alert))
            .chain(answers);
        for (name, received) in all {
            let share = |bytes: usize| 100.0 * bytes as f64 / widest as f64;
            let _ = write!(
                rows,
                "<tr><td>{}</td><td>{}</td><td class=\"bars\"><i class=\"wire\" style=\"width:{:.1}%\"></i>\
                 <i class=\"json\" style=\"width:{:.1}%\"></i></td><td>{}</td><td>{}</td></tr>",
                escape(&pair_log.pair.name),
                escape(name),
                share(received.wire_bytes),
                share(received.json_bytes()),
                received.wire_bytes,
                received.json_bytes()
            );
        }
    }
    let wire: usize = run_log
        .received_messages()
        .map(|received| received.wire_bytes)
        .sum();
    let json: usize = run_log
        .received_messages()
        .map(ReceivedMessage::json_bytes)
        .sum();
    format!(
        "<section><h2>Bytes on the air</h2><p>What it takes to deliver each message once, framing and an 8-byte \
         signature included, against the same content as compact JSON without any framing.</p>\
         <table class=\"bytes\"><thead><tr><th>pair</th><th>message</th>\
         <th><i class=\"key wire\"></i>on the air <i class=\"key json\"></i>as JSON</th><th>bytes</th><th>JSON</th></tr></thead>\
         <tbody>{rows}</tbody><tfoot><tr><td colspan=\"3\">all messages</td><td>{wire}</td><td>{json}</td></tr></tfoot></table></section>"
    )
}

fn link_section(run_log: &RunLog) -> String {
    let (down, up) = (
        run_log.direction_stats(Direction::Down),
        run_log.direction_stats(Direction::Up),
    );
    let row = |name: &str, down: String, up: String| {
        format!("<tr><td>{name}</td><td>{down}</td><td>{up}</td></tr>")
    };
    let mut rows = String::new();
    rows += &row(
        "frames on the air",
        down.frames.to_string(),
        up.frames.to_string(),
    );
    rows += &row(
        "bytes on the air",
        down.bytes.to_string(),
        up.bytes.to_string(),
    );
    rows += &row(
        "frames lost by the radio",
        down.lost.to_string(),
        up.lost.to_string(),
    );
    rows += &row(
        "frames with inverted bits",
        down.damaged.to_string(),
        up.damaged.to_string(),
    );
    rows += &row(
        "frames sent without contact",
        down.no_contact.to_string(),
        up.no_contact.to_string(),
    );
    let (board, ground) = (&run_log.board, &run_log.ground);
    rows += &row(
        "good frames received",
        ground.frames_received.to_string(),
        board.frames_received.to_string(),
    );
    rows += &row(
        "presumed lost, content sent again",
        board.frames_lost.to_string(),
        ground.frames_lost.to_string(),
    );
    rows += &row(
        "refused by their checksum or signature",
        (ground.bad_checksum + ground.bad_authentication + ground.bad_length + ground.bad_stuffing)
            .to_string(),
        (board.bad_checksum + board.bad_authentication + board.bad_length + board.bad_stuffing)
            .to_string(),
    );
    rows += &row(
        "messages that came again, shown once",
        ground.duplicates.to_string(),
        board.duplicates.to_string(),
    );
    let useful = run_log.useful_bytes();
    let radio_bytes = run_log.radio_bytes().max(1);
    let rate = run_log.radio_bytes() as f64 / run_log.ended.as_secs_f64().max(0.001);
    format!(
        "<section><h2>The link</h2>{}<p class=\"legend\"><i class=\"arrived\"></i>arrived \
         <i class=\"damaged\"></i>inverted bits <i class=\"lost\"></i>lost <i class=\"unheard\"></i>no contact \
         <i class=\"alert-key\"></i>alert shown <i class=\"answer-key\"></i>answer shown</p>\
         <table class=\"link\"><thead><tr><th></th><th>to ground</th><th>to board</th></tr></thead><tbody>{rows}</tbody></table>\
         <p>Of {radio_bytes} bytes on the air, both ways, {useful} ({:.0}&nbsp;%) are what the messages need on a perfect \
         radio; the rest are greetings, acknowledgements, health reports, probes during the gap, and repeats. On average {rate:.0}&nbsp;bytes/s \
         of {} were used.</p></section>\
         <footer>Model <code>{}</code>. Radio {} baud, frame loss {:.0}&nbsp;%, bit errors {:e}, seed {}. Run of {:.1}&nbsp;s. \
         All figures are of this run.</footer>",
        timeline(run_log),
        100.0 * useful as f64 / radio_bytes as f64,
        run_log.channel.baud / 10,
        escape(&run_log.model),
        run_log.channel.baud,
        100.0 * run_log.channel.loss,
        run_log.channel.bit_errors,
        run_log.channel.seed,
        run_log.ended.as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_is_made_smaller_and_a_small_one_kept() {
        let length = |side| picture(&RgbImage::new(side, side)).unwrap().len();
        assert!(length(2048) < 2 * length(512));
        assert!(
            picture(&RgbImage::new(8, 8))
                .unwrap()
                .starts_with("data:image/jpeg;base64,/9j/")
        );
    }
}
