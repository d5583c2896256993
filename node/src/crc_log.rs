//! Files of lines, each a JSON value behind its checksum: what versions before the store kept, read
//! when it is taken over.
//!
//! A line is `CRC JSON`: the CRC-32C of the JSON text in eight hexadecimal digits. A line that a power
//! cut broke fails its checksum and is left out; it cannot swallow the next one.

use deltavlm_link::crc::crc32c;
use deltavlm_messages::{MAX_BODY, Message};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, path::Path};

/// The lines of the log at `path`, `None` for a damaged one; none when there is no such file.
///
/// # Errors
/// The file cannot be read.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<Option<T>>> {
    let content = read(path)?;
    Ok(content
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(decode_line)
        .collect())
}

/// The bytes of one line, its end included.
///
/// # Errors
/// The value has no JSON form.
pub fn encode_line<T: Serialize>(line: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(line)?;
    Ok(format!("{:08x} {json}\n", crc32c(json.as_bytes())).into_bytes())
}

fn decode_line<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    (crc == crc32c(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// A message in a line: its kind, and its body as on the wire, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedMessage {
    kind: u8,
    body: String,
}

impl EncodedMessage {
    /// The message in this form.
    #[must_use]
    pub fn new(message: &Message) -> Self {
        let mut body = [0; MAX_BODY];
        let length = message.encode(&mut body).unwrap_or(0);
        Self {
            kind: message.kind() as u8,
            body: body[..length]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    }

    /// The message, unless a later version wrote it.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        let digits = self.body.as_bytes().chunks(2);
        let body: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        Message::decode(self.kind, &body?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_power_cut_broke_is_left_out_and_the_others_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let [first, second, third] =
            ["first", "second", "third"].map(|line| encode_line(&line).unwrap());
        for cut in 1..second.len() {
            let broken = &second[..second.len() - cut];
            // The earlier versions ended a broken line before they went on.
            let content = [&first[..], broken, b"\n", &third[..]].concat();
            std::fs::write(&path, content).unwrap();
            let lines: Vec<Option<String>> = read_lines(&path).unwrap();
            let lines: Vec<String> = lines.into_iter().flatten().collect();
            assert_eq!(lines.first().map(String::as_str), Some("first"), "{cut}");
            assert_eq!(lines.last().map(String::as_str), Some("third"), "{cut}");
        }
    }

    #[test]
    fn a_message_comes_back_from_its_line() {
        let message = Message::Ping(7);
        let line = EncodedMessage::new(&message);
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"kind":11,"body":"07"}"#
        );
        assert_eq!(line.message(), Some(message));
    }
}
