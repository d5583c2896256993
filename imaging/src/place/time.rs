//! Times of files as UTC, and never one whose zone nobody states.

/// From a GPS date `YYYY:MM:DD` and hours, minutes and seconds of UTC.
pub(crate) fn from_gps(date: &str, [h, m, s]: [f64; 3]) -> Option<String> {
    let (year, month, day) = date_of(date)?;
    let in_range = (0.0..24.0).contains(&h) && (0.0..60.0).contains(&m) && (0.0..61.0).contains(&s);
    let seconds = h * 3600.0 + m * 60.0 + s;
    in_range.then(|| text(days_of(year, month, day), seconds))
}

/// From `YYYY:MM:DD HH:MM:SS[.fff]` or ISO 8601, with the zone that stands behind it or
/// in a field of its own (`+HH:MM`, `-HH:MM`, `Z`). `None` without a zone.
pub(crate) fn from_local(date_time: &str, zone: Option<&str>) -> Option<String> {
    let date_time = date_time.trim();
    let (date, rest) = (date_time.get(..10)?, date_time.get(11..)?);
    let (year, month, day) = date_of(date)?;
    let at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, own_zone) = rest.split_at(at);
    let zone = if own_zone.is_empty() { zone? } else { own_zone };
    let mut parts = clock.trim().split(':');
    let mut next = || parts.next()?.trim().parse::<f64>().ok();
    let (h, m) = (next()?, next()?);
    let s = next().unwrap_or(0.0);
    let in_range = (0.0..24.0).contains(&h) && (0.0..60.0).contains(&m) && (0.0..61.0).contains(&s);
    let seconds = h * 3600.0 + m * 60.0 + s - offset_seconds(zone.trim())?;
    in_range.then(|| text(days_of(year, month, day), seconds))
}

fn offset_seconds(zone: &str) -> Option<f64> {
    if zone == "Z" {
        return Some(0.0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1.0, rest),
        ("-", rest) => (-1.0, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None => rest.split_at_checked(2)?,
    };
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then(|| sign * f64::from(hours * 3600 + minutes * 60))
}

fn date_of(text: &str) -> Option<(i64, u32, u32)> {
    let mut parts = text.split([':', '-']);
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day): (u32, u32, u32) = (
        year.parse().ok()?,
        month.parse().ok()?,
        day.trim().parse().ok()?,
    );
    // Before 1990 no receiver was in a camera; such a date is an unset clock.
    let in_range =
        (1990..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    in_range.then_some((i64::from(year), month, day))
}

/// Days since 1970-01-01 (Howard Hinnant's `days_from_civil`).
fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse.
fn date_from(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn text(days: i64, seconds: f64) -> String {
    let millis = days * 86_400_000 + (seconds * 1000.0).round() as i64;
    let (year, month, day) = date_from(millis.div_euclid(86_400_000));
    let of_day = millis.rem_euclid(86_400_000);
    let (h, m, s, ms) = (
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000,
    );
    let fraction = if ms == 0 {
        String::new()
    } else {
        format!(".{ms:03}")
    };
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gps_time_is_utc() {
        let time = from_gps("2016:11:22", [16.0, 32.0, 38.652]);
        assert_eq!(time.as_deref(), Some("2016-11-22T16:32:38.652Z"));
        assert_eq!(
            from_gps("2024:02:29", [23.0, 59.0, 60.0]).as_deref(),
            Some("2024-03-01T00:00:00Z")
        );
        for nonsense in ["", "2016", "1970:01:01", "2016:13:01", "aaaa:bb:cc"] {
            assert_eq!(from_gps(nonsense, [0.0; 3]), None, "{nonsense}");
        }
        assert_eq!(from_gps("2016:11:22", [f64::NAN, 0.0, 0.0]), None);
    }

    #[test]
    fn a_time_without_a_zone_is_no_time() {
        assert_eq!(from_local("2016:06:23 16:32:43", None), None);
        let time = from_local("2016:06:23 16:32:43", Some("-05:00"));
        assert_eq!(time.as_deref(), Some("2016-06-23T21:32:43Z"));
        let time = from_local("2020-01-01T00:30:00.25+02:00", None);
        assert_eq!(time.as_deref(), Some("2019-12-31T22:30:00.250Z"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}", like in "[0-9:TZ+. -]{0,30}", zone in "\\PC{0,6}") {
            let _ = from_local(&text, Some(&zone));
            let _ = from_local(&like, Some(&zone));
            let _ = from_gps(&like, [1.0; 3]);
        }
    }
}
