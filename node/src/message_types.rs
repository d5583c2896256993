//! The messages of `deltavlm-messages`, as the link has to know them.

use deltavlm_link::{
    MessageTypes,
    message_types::{InvalidMessage, KindSet},
};
use deltavlm_messages::{DecodeError, Kind, Message};

/// What the link of a [`Node`](crate::Node) carries; for programs that set up an
/// [`Endpoint`](deltavlm_link::Endpoint) of their own.
pub const MESSAGE_TYPES: MessageTypes = MessageTypes {
    validate,
    commands: KindSet::of(&[
        Kind::Query as u8,
        Kind::PreviewRequest as u8,
        Kind::Configure as u8,
        Kind::Ping as u8,
    ]),
};

fn validate(kind: u8, body: &[u8]) -> Result<(), InvalidMessage> {
    match Message::decode(kind, body) {
        Ok(_) => Ok(()),
        Err(DecodeError::UnknownKind(_)) => Err(InvalidMessage::UnknownKind),
        Err(_) => Err(InvalidMessage::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltavlm_link::Class;

    #[test]
    fn the_commands_are_those_of_messages() {
        for number in 0..=u8::MAX {
            let is_command = Kind::from_number(number).is_some_and(Kind::is_command);
            assert_eq!(MESSAGE_TYPES.commands.contains(number), is_command);
        }
    }

    /// A kind's number decides how urgent it is, and cannot be changed later.
    #[test]
    fn every_kind_has_the_class_that_it_was_numbered_for() {
        for (kind, class) in [
            (Kind::Alert, Class::Urgent),
            (Kind::PairFault, Class::Urgent),
            (Kind::Query, Class::Interactive),
            (Kind::PreviewRequest, Class::Interactive),
            (Kind::Configure, Class::Interactive),
            (Kind::Ping, Class::Interactive),
            (Kind::Answer, Class::Interactive),
            (Kind::Refusal, Class::Interactive),
            (Kind::Pong, Class::Interactive),
            (Kind::Applied, Class::Interactive),
            (Kind::Health, Class::Telemetry),
            (Kind::TextAnswer, Class::Routine),
            (Kind::Preview, Class::Bulk),
        ] {
            assert_eq!(Class::of_kind(kind as u8), class, "{kind:?}");
        }
    }

    #[test]
    fn unknown_kinds_and_bodies_cut_short_are_told_apart() {
        assert_eq!(
            (MESSAGE_TYPES.validate)(60, b"x"),
            Err(InvalidMessage::UnknownKind)
        );
        let alert = Kind::Alert as u8;
        assert_eq!(
            (MESSAGE_TYPES.validate)(alert, &[0; 14]),
            Err(InvalidMessage::Malformed)
        );
        assert_eq!((MESSAGE_TYPES.validate)(alert, &[0; 15]), Ok(()));
    }
}
