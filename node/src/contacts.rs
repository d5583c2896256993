//! When the other end can hear: a list of windows in universal time.

use deltavlm_link::pacing::{Contact, MAX_CONTACTS};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A window longer than any mission: nobody is heard until then.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Windows in which the other end can hear, in order and without overlap.
///
/// The file has one window a line, `2026-11-24T10:00:00Z 2026-11-24T10:07:30Z`: the first moment and the
/// first after it. Empty lines and what follows a `#` are skipped. After the last window nothing is
/// sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactSchedule {
    /// Seconds since 1970.
    windows: Vec<(u64, u64)>,
}

/// Why a contact schedule cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// The file cannot be read.
    #[error("contact schedule {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no window.
    #[error(
        "line {line}: `{text}` is no window; write e.g. 2026-11-24T10:00:00Z 2026-11-24T10:07:30Z"
    )]
    Line {
        /// The line, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// A window ends before it begins, or begins before the one in front of it ends.
    #[error("line {line}: each window must end after it begins, and begin after the one before it")]
    Order {
        /// The line, from 1.
        line: usize,
    },
    /// There is no window.
    #[error("there is no window; leave the schedule out if the other end can always hear")]
    Empty,
}

impl ContactSchedule {
    /// Reads a file of windows.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no window in order.
    pub fn read(path: &Path) -> Result<Self, ContactError> {
        let text = fs::read_to_string(path).map_err(|source| ContactError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Reads windows, one a line.
    ///
    /// # Errors
    /// A line is no window in order, or there is none.
    pub fn parse(text: &str) -> Result<Self, ContactError> {
        let mut windows: Vec<(u64, u64)> = Vec::new();
        for (index, whole) in text.lines().enumerate() {
            let line = index + 1;
            let content = whole.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let mut times = content.split_whitespace().map(unix_seconds);
            let (Some(Some(start)), Some(Some(end)), None) =
                (times.next(), times.next(), times.next())
            else {
                let text = content.to_owned();
                return Err(ContactError::Line { line, text });
            };
            if start >= end || windows.last().is_some_and(|before| before.1 > start) {
                return Err(ContactError::Order { line });
            }
            windows.push((start, end));
        }
        if windows.is_empty() {
            return Err(ContactError::Empty);
        }
        Ok(Self { windows })
    }

    /// How many windows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Always false: a schedule has at least one window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The window that is open at `now`, or the next one, in seconds since 1970.
    #[must_use]
    pub fn next(&self, now: SystemTime) -> Option<(u64, u64)> {
        let now = since_1970(now).as_secs();
        self.windows.iter().copied().find(|&(_, end)| end > now)
    }

    /// The next windows by the link's clock, which says `link_now` at `now`.
    pub(crate) fn upcoming(
        &self,
        now: SystemTime,
        link_now: deltavlm_link::Instant,
    ) -> Vec<Contact> {
        let now = since_1970(now);
        let at = |seconds: u64| {
            let ahead = Duration::from_secs(seconds).saturating_sub(now);
            let late = now.saturating_sub(Duration::from_secs(seconds));
            deltavlm_link::Instant::from_micros(
                (link_now.as_micros() + micros(ahead)).saturating_sub(micros(late)),
            )
        };
        let mut contacts: Vec<Contact> = self
            .windows
            .iter()
            .filter(|&&(_, end)| Duration::from_secs(end) > now)
            .take(MAX_CONTACTS)
            .map(|&(start, end)| Contact {
                start: at(start),
                end: at(end),
            })
            .collect();
        if contacts.is_empty() {
            // No contacts at all would mean that the peer can always hear.
            let start = deltavlm_link::Instant::from_micros(link_now.as_micros() + micros(NEVER));
            let end = deltavlm_link::Instant::from_micros(start.as_micros() + 1);
            contacts.push(Contact { start, end });
        }
        contacts
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 4)
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Seconds since 1970 of `YYYY-MM-DDTHH:MM:SSZ`.
fn unix_seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text
            .split(by)
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    // Days from the civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let century_year = shifted % 400;
    let days = shifted / 400 * 146_097 + century_year * 365 + century_year / 4 - century_year / 100
        + day_of_year;
    Some((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d 2024-02-29T23:59:59Z +%s` and so on.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2026-11-24T10:00:00Z", 1_795_514_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-11-24T10:00:00",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let wrong = |text| ContactSchedule::parse(text).unwrap_err().to_string();
        assert!(wrong("# nothing").contains("no window"));
        assert!(wrong("\n2026-11-24T10:00:00Z").starts_with("line 2: `2026"));
        let one = "2026-11-24T10:00:00Z 2026-11-24T10:07:00Z # pass 1\n";
        assert!(wrong(&format!("{one}{one}")).starts_with("line 2: each window"));
        assert_eq!(ContactSchedule::parse(one).unwrap().len(), 1);
    }

    #[test]
    fn windows_follow_the_clock_and_after_the_last_there_is_silence() {
        let schedule = ContactSchedule::parse(
            "1970-01-01T00:01:00Z 1970-01-01T00:02:00Z\n1970-01-01T00:10:00Z 1970-01-01T00:11:00Z",
        )
        .unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let contact = |start, end| Contact {
            start: deltavlm_link::Instant::from_secs(start),
            end: deltavlm_link::Instant::from_secs(end),
        };
        let link_now = deltavlm_link::Instant::from_secs(1_000);
        assert_eq!(
            schedule.upcoming(at(30), link_now),
            [contact(1_030, 1_090), contact(1_570, 1_630)]
        );
        assert_eq!(
            schedule.upcoming(at(90), link_now),
            [contact(970, 1_030), contact(1_510, 1_570)]
        );
        let after = schedule.upcoming(at(700), link_now);
        assert!(after[0].start > deltavlm_link::Instant::from_secs(1_000_000_000));
        assert_eq!(schedule.next(at(90)), Some((60, 120)));
        assert_eq!(schedule.next(at(700)), None);
    }
}
