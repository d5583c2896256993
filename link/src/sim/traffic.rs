//! Messages that can be told by their number, so that books can be kept.

use std::vec::Vec;

use super::Rng;
use crate::{
    endpoint::{Endpoint, SendError},
    id::MessageId,
    role::Role,
    storage::Storage,
    time::Instant,
};

/// Which messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mix {
    /// Urgent messages of 15 bytes from the board, commands of 3 to 9 bytes from the ground.
    #[default]
    Short,
    /// Messages of all classes but [`Telemetry`](crate::Class::Telemetry), of which the newest
    /// supersedes the others, from 3 to some 700 bytes.
    All,
    /// Bulk messages of some 910 bytes from the board.
    Bulk,
}

/// A message of a simulation: a number as a varint, and bytes that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestMessage {
    /// Its kind.
    pub kind: u8,
    /// Its body.
    pub body: Vec<u8>,
}

impl TestMessage {
    /// Gives the message to an end.
    ///
    /// # Errors
    /// The end does not take it.
    pub fn send<S: Storage>(
        &self,
        endpoint: &mut Endpoint<S>,
        now: Instant,
    ) -> Result<MessageId, SendError> {
        endpoint.send(self.kind, &self.body, now)
    }
}

/// One kind for each class, and one of the [default](crate::MessageTypes::default) commands.
const URGENT: u8 = 1;
const COMMAND: u8 = 8;
const INTERACTIVE: u8 = 16;
const ROUTINE: u8 = 32;
const BULK: u8 = 40;

/// Message number `number` that `role` sends in the run of `seed`.
///
/// The bodies are as long as those of the on-board program that the link was made for: alerts of 15
/// bytes, queries with two varints, previews with 900 bytes of a picture.
pub fn message_of(seed: u64, role: Role, mix: Mix, number: u32) -> TestMessage {
    let mut rng = Rng::new(seed ^ u64::from(number) << 20 ^ role as u64);
    let id = varint_bytes(number & 0xFFFF);
    let (kind, length) = match (role, mix) {
        (Role::Ground, _) => {
            let fixed = id + varint_bytes(number) + 1;
            let text = if mix != Mix::Short && rng.chance(0.25) {
                1 + rng.below(100) as usize
            } else {
                0
            };
            (COMMAND, fixed + text)
        }
        (Role::Board, Mix::Short) => (URGENT, 15),
        (Role::Board, Mix::Bulk) => (BULK, id + varint_bytes(number) + 906),
        (Role::Board, Mix::All) => match rng.below(20) {
            0..10 => (URGENT, 15),
            10..14 => (INTERACTIVE, 11),
            14..16 => (ROUTINE, 12 + rng.below(100) as usize),
            16..18 => (URGENT + 1, 12 + rng.below(100) as usize),
            18 => (INTERACTIVE, 14),
            _ => (BULK, 11 + rng.below(700) as usize),
        },
    };
    let mut body = Vec::with_capacity(length);
    write_varint(number, &mut body);
    body.resize_with(length.max(body.len()), || rng.bits() as u8);
    TestMessage { kind, body }
}

/// The number of a message that [`message_of`] made; `None` where a body begins with none.
pub fn number_of(body: &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for (at, byte) in body.iter().take(5).enumerate() {
        number |= u32::from(byte & 0x7F).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write_varint(mut number: u32, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

const fn varint_bytes(number: u32) -> usize {
    (32 - number.leading_zeros() as usize).div_ceil(7) + (number == 0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_comes_back_from_messages_of_every_mix() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 65_536, u32::MAX] {
            for role in [Role::Board, Role::Ground] {
                for mix in [Mix::Short, Mix::All, Mix::Bulk] {
                    let message = message_of(3, role, mix, number);
                    assert_eq!(number_of(&message.body), Some(number), "{role:?} {mix:?}");
                }
            }
        }
        assert_eq!(number_of(&[]), None);
        assert_eq!(number_of(&[0x80; 9]), None);
    }

    /// The goodput figures and the simulations of the documentation rest on these sizes.
    #[test]
    fn bodies_are_as_long_as_those_of_the_program() {
        let length = |role, mix, number| message_of(1, role, mix, number).body.len();
        assert_eq!(length(Role::Board, Mix::Short, 1), 15);
        assert_eq!(length(Role::Ground, Mix::Short, 1), 3);
        assert_eq!(length(Role::Ground, Mix::Short, u32::MAX), 9);
        assert_eq!(length(Role::Board, Mix::Bulk, 1), 908);
    }
}
