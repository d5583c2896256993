//! Frames that nobody sent, for tests: as a peer would write that says what it likes.

use std::vec::Vec;

use crate::{
    auth::{Keys, Protection},
    chunk::{Hello, Writer},
    endpoint::Endpoint,
    frame::{Head, MAX_MTU, payload_at, seal},
    role::Role,
    storage::Storage,
};

/// The epoch of a made-up peer.
const EPOCH: u32 = 0xBAD;

/// A plain frame to `end` with this payload, as its peer would number and address it. To an end whose
/// peer has proved nothing yet it is a handshake, and begins with the proof.
///
/// # Panics
/// If the payload is longer than 200 bytes.
pub fn plain_frame<S: Storage>(end: &Endpoint<S>, counter: u64, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 200, "no frame is so long");
    let known = end.peer_epoch();
    let handshake = known.is_none();
    let mut introduction = [0; 16];
    let mut writer = Writer::new(&mut introduction);
    if handshake {
        writer.hello(Hello {
            session: EPOCH,
            echo: end.session(),
            verified: true,
        });
    }
    let length = writer.length();
    let start = payload_at(handshake);
    let mut buffer = [0; MAX_MTU + 1];
    buffer[start..start + length].copy_from_slice(&introduction[..length]);
    buffer[start + length..start + length + payload.len()].copy_from_slice(payload);
    let head = Head {
        sender: end.config().role.peer(),
        protection: Protection::Plain,
        handshake,
        slot: 0,
        counter,
        epoch: known.unwrap_or(EPOCH),
        addressee: if handshake { 0 } else { end.epoch() },
    };
    let id = end.config().id;
    seal(
        &mut buffer,
        length + payload.len(),
        head,
        id,
        &Keys::default(),
    )
    .to_vec()
}

/// Whole frame of version 1 of the wire format, without content.
pub fn version_1_frame(sender: Role, counter: u16) -> Vec<u8> {
    let [low, high] = counter.to_le_bytes();
    let mut buffer = std::vec![0; 16];
    buffer[1] = 0b0100_0000 | (sender as u8) << 5;
    buffer[3..5].copy_from_slice(&[low, high]);
    let crc = crate::crc::crc32c(&buffer[1..5]);
    buffer[5..9].copy_from_slice(&crc.to_le_bytes());
    let sent = crate::cobs::encode_in_place(&mut buffer, 8);
    buffer.truncate(sent);
    buffer
}
