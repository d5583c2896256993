//! Which messages an application exchanges over a link.

/// What a link has to know of the messages it carries.
///
/// Kinds are numbers from 1 to [`MAX_KIND`]; a kind decides the [`Class`](crate::Class). A body is
/// 1 to [`MAX_MESSAGE`](crate::MAX_MESSAGE) bytes that mean nothing to the link.
#[derive(Debug, Clone, Copy)]
pub struct MessageTypes {
    /// Whether the application can read a message of this kind with this body. One that it cannot
    /// read is counted and skipped, so that a later version of the peer may send what this one
    /// does not know. Called for every message that is sent, received, or read back from storage.
    pub validate: fn(kind: u8, body: &[u8]) -> Result<(), InvalidMessage>,
    /// The kinds that only the ground sends and only the board takes. Only the board sends all
    /// others, and only the ground takes them.
    pub commands: KindSet,
}

impl Default for MessageTypes {
    /// Any body of any kind; kinds 8 to 15 are commands.
    fn default() -> Self {
        Self {
            validate: |_, _| Ok(()),
            commands: KindSet::of(&[8, 9, 10, 11, 12, 13, 14, 15]),
        }
    }
}

impl MessageTypes {
    /// Checks what holds for every application, and then what the application demands.
    pub(crate) fn check(&self, kind: u8, body: &[u8]) -> Result<(), InvalidMessage> {
        if kind == 0 || kind > MAX_KIND {
            return Err(InvalidMessage::UnknownKind);
        }
        if body.is_empty() {
            return Err(InvalidMessage::Malformed);
        }
        (self.validate)(kind, body)
    }
}

/// The greatest kind.
pub const MAX_KIND: u8 = 61;

/// Why an application cannot read a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidMessage {
    /// It knows no such kind.
    UnknownKind,
    /// It knows the kind and cannot read the body.
    Malformed,
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindSet(u64);

impl KindSet {
    /// These kinds; numbers over 63 are left out.
    pub const fn of(kinds: &[u8]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            if kinds[at] < 64 {
                bits |= 1 << kinds[at];
            }
            at += 1;
        }
        Self(bits)
    }

    /// Whether the kind is among them.
    pub const fn contains(self, kind: u8) -> bool {
        kind < 64 && self.0 >> kind & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = KindSet::of(&[0, 9, 63, 64, 200]);
        let held: Vec<u8> = (0..=255).filter(|&kind| set.contains(kind)).collect();
        assert_eq!(held, [0, 9, 63]);
    }

    #[test]
    fn no_application_is_asked_about_an_empty_body_or_a_kind_outside_the_range() {
        let types = MessageTypes::default();
        assert_eq!(types.check(0, b"x"), Err(InvalidMessage::UnknownKind));
        assert_eq!(types.check(62, b"x"), Err(InvalidMessage::UnknownKind));
        assert_eq!(types.check(1, b""), Err(InvalidMessage::Malformed));
        assert_eq!(types.check(61, b"x"), Ok(()));
    }
}
