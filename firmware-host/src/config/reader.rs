//! Reading a TOML table field by field, so that every problem is found in one go.

use serde::de::DeserializeOwned;
use std::fmt;

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as `section.key`; a file or device where there is no field.
    pub place: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// Whether the program can still run.
    pub severity: Severity,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The program cannot run.
    Error,
    /// The program runs, but probably not as meant.
    Warning,
}

impl Problem {
    pub(crate) fn error(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
            severity: Severity::Error,
        }
    }

    pub(crate) fn warning(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
            severity: Severity::Warning,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {}", self.place, self.message)
    }
}

/// One section of the configuration, emptied as its fields are taken.
pub(crate) struct Section<'a> {
    name: &'static str,
    table: toml::Table,
    known: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// Takes the section out of the whole file.
    pub(crate) fn take(
        name: &'static str,
        file: &mut toml::Table,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        let table = match file.remove(name) {
            None => toml::Table::new(),
            Some(toml::Value::Table(table)) => table,
            Some(_) => {
                let message = format!("is not a section; write [{name}] on a line of its own");
                problems.push(Problem::error(name, message));
                toml::Table::new()
            }
        };
        Self {
            name,
            table,
            known: Vec::new(),
            problems,
        }
    }

    /// The value of a field; a wrong type is a problem and counts as absent.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        match self.table.remove(key)?.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = error.to_string();
                self.fault(key, reason.lines().next().unwrap_or_default().trim());
                None
            }
        }
    }

    /// The value of a field that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.fault(
                key,
                format!("is missing; add `{key} = ...` to [{}]", self.name),
            );
            return None;
        }
        self.optional(key)
    }

    /// The value of a field, within bounds, or its default.
    pub(crate) fn within<T>(&mut self, key: &'static str, default: T, bounds: (T, T)) -> T
    where
        T: DeserializeOwned + PartialOrd + fmt::Display + Copy,
    {
        let value = self.optional(key).unwrap_or(default);
        // Written so that NaN is out of bounds.
        if value >= bounds.0 && value <= bounds.1 {
            return value;
        }
        self.fault(
            key,
            format!("{value} is out of bounds: {} to {}", bounds.0, bounds.1),
        );
        default
    }

    /// Notes that a field's value cannot be used.
    pub(crate) fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.problems
            .push(Problem::error(format!("{}.{key}", self.name), message));
    }

    /// Reports what nobody took.
    pub(crate) fn finish(self) {
        for key in self.table.keys() {
            let place = format!("{}.{key}", self.name);
            self.problems
                .push(Problem::error(place, unknown("key", key, &self.known)));
        }
    }
}

/// The message for a name that is not known, with the nearest one that is.
pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len() / 2);
    match nearest {
        Some((_, candidate)) => format!("unknown {kind}; did you mean `{candidate}`?"),
        None => format!("unknown {kind}; known are: {}", known.join(", ")),
    }
}

/// The edit distance between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn a_name_far_from_all_others_gets_the_whole_list() {
        assert_eq!(
            unknown("key", "bundel", &["bundle", "engine"]),
            "unknown key; did you mean `bundle`?"
        );
        assert_eq!(
            unknown("key", "zzz", &["a", "b"]),
            "unknown key; known are: a, b"
        );
    }
}
