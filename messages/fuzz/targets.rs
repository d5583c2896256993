//! What the fuzz target does with its bytes. `tests/corpora.rs` runs the same on a stable toolchain.

use deltavlm_messages::{MAX_BODY, Message, text};

/// Any bytes as the body of a message, and as a coded text: what decodes comes back the same.
pub(crate) fn messages(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else {
        return;
    };
    if let Ok(message) = Message::decode(kind, body) {
        let mut coded = [0; MAX_BODY];
        let length = message
            .encode(&mut coded)
            .expect("what fits once fits again");
        assert_eq!(message.kind() as u8, kind);
        assert_eq!(Message::decode(kind, &coded[..length]), Ok(message));
    }
    if let Some(decoded) = text::decode(body) {
        let mut coded = [0; text::CODED_MAX];
        let length = text::encode(&decoded, &mut coded);
        assert_eq!(text::decode(&coded[..length]), Some(decoded));
    }
}
