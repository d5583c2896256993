//! The air over time, as an SVG: every frame a tick, the time without contact a band.

use crate::{
    radio::{Direction, FrameRecord},
    run_log::RunLog,
};
use deltavlm_link::sim::Fate;
use std::{fmt::Write, time::Duration};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 78.0;
const LANE: f64 = 34.0;

/// The timeline.
pub(crate) fn timeline(run_log: &RunLog) -> String {
    let span = run_log.ended.as_secs_f64().max(1.0);
    let x = |at: Duration| LEFT + (WIDTH - LEFT - 10.0) * at.as_secs_f64() / span;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} 172\" role=\"img\" aria-label=\"Frames on the air over time\">"
    );
    if let Some((lost, found)) = run_log.gap {
        let (from, to) = (x(lost), x(found));
        let _ = write!(
            svg,
            "<rect class=\"gap\" x=\"{from:.1}\" y=\"14\" width=\"{:.1}\" height=\"124\" rx=\"4\"/>\
             <text class=\"gap-text\" x=\"{:.1}\" y=\"10\" text-anchor=\"middle\">no contact</text>",
            to - from,
            (from + to) / 2.0
        );
    }
    for (lane, name) in [
        (0.0, "to ground"),
        (1.0, "to board"),
        (2.0, "alerts, answers"),
    ] {
        let y = 18.0 + lane * (LANE + 6.0);
        let _ = write!(
            svg,
            "<rect class=\"lane\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.0}\" height=\"{LANE}\" rx=\"4\"/>",
            WIDTH - LEFT - 10.0
        );
        let mut line = y + LANE / 2.0 + 4.0 - 7.0 * (name.split(", ").count() as f64 - 1.0);
        for part in name.split(", ") {
            let _ = write!(
                svg,
                "<text x=\"{:.0}\" y=\"{line:.0}\" text-anchor=\"end\">{part}</text>",
                LEFT - 10.0
            );
            line += 14.0;
        }
    }
    for frame in &run_log.frames {
        svg.push_str(&tick(frame, x(frame.at)));
    }
    for pair_log in &run_log.pair_logs {
        if let Some(alert) = &pair_log.alert {
            let _ = write!(
                svg,
                "<circle class=\"alert-dot\" cx=\"{:.1}\" cy=\"115\" r=\"6\"/>",
                x(alert.at)
            );
        }
        for answer in pair_log
            .exchanges
            .iter()
            .filter_map(|exchange| exchange.answer.as_ref())
        {
            let _ = write!(
                svg,
                "<circle class=\"answer-dot\" cx=\"{:.1}\" cy=\"115\" r=\"4\"/>",
                x(answer.at)
            );
        }
    }
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0]
        .into_iter()
        .find(|step| span / step <= 12.0);
    let step = step.unwrap_or(span / 10.0);
    let mut second = 0.0;
    while second <= span {
        let at = x(Duration::from_secs_f64(second));
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"160\" text-anchor=\"middle\">{second:.0} s</text>"
        );
        second += step;
    }
    svg.push_str("</svg>");
    svg
}

fn tick(frame: &FrameRecord, x: f64) -> String {
    let lane = match frame.direction {
        Direction::Down => 18.0,
        Direction::Up => 18.0 + LANE + 6.0,
    };
    let class = match frame.fate {
        Fate::Arrives => "arrived",
        Fate::Damaged => "damaged",
        Fate::Lost => "lost",
        Fate::NoContact => "unheard",
    };
    // The longest frame fills the lane.
    let height = 5.0 + (LANE - 5.0) * (frame.bytes as f64 / 128.0).min(1.0);
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"2.6\" height=\"{height:.1}\"/>",
        lane + LANE - height
    )
}
