//! The golden bytes in this folder, in both directions: a part of the library, because chunks are its own affair. `UPDATE=1` writes them anew; whoever needs
//! that has changed the wire format.

use std::{format, fs, string::String, vec::Vec};

use serde_json::{Value, json};

use crate::{
    auth::{Key, Keys, Protection},
    chunk::{Chunk, Chunks, Hello, Writer},
    class::Class,
    fec::{Decoder, Encoder},
    frame::{Deframer, Expected, FrameError, Head, MAX_MTU, open, payload_at, seal},
    identity::LinkId,
    reject_reason::RejectReason,
    role::Role,
};

const KEY: &[u8; 16] = b"sixteen letters.";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The committed vectors; the made ones must be the same.
fn committed(name: &str, made: &Value) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{made:#}\n")).unwrap();
    }
    let kept = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(&kept, made, "{name}.json is not what this version writes");
    kept
}

/// The names in the vectors, which readers in other languages know.
fn protection_name(protection: Protection) -> &'static str {
    match protection {
        Protection::Plain => "Plain",
        Protection::Authenticated => "Signed",
        Protection::AuthenticatedEncrypted => "Encrypted",
    }
}

fn keys() -> Keys {
    Keys::single(Key::new(5, KEY))
}

/// Payloads that between them hold every chunk.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let build = |fill: &dyn Fn(&mut Writer<'_>)| {
        let mut payload = [0; 200];
        let mut writer = Writer::new(&mut payload);
        fill(&mut writer);
        let length = writer.length();
        payload[..length].to_vec()
    };
    // The alert of messages/tests/vectors/messages.json; the link carries it as it is.
    let body = &b"\x67\x12\0\0\x80\x51\x01\0\xef\xbe\x07\x60\xd8\x03\x03"[..];
    vec![
        (
            "hello and floor",
            build(&|writer| {
                writer.hello(Hello {
                    session: 0x5E55_1014,
                    echo: 0,
                    verified: false,
                });
                writer.replay_floor(64);
            }),
        ),
        (
            "hello that proves",
            build(&|writer| {
                writer.hello(Hello {
                    session: 0x5E55_1014,
                    echo: 0xECC0_ECC0,
                    verified: true,
                });
            }),
        ),
        (
            "acknowledgement, nothing missing",
            build(&|writer| writer.ack(0x1234, 0)),
        ),
        (
            "acknowledgement, much missing",
            build(&|writer| writer.ack(0x1234, 0x8000_0000_0000_0102)),
        ),
        (
            "rejection and denial",
            build(&|writer| {
                writer.reject(Class::Interactive, 300, RejectReason::RateLimited as u8);
                writer.auth_denied(RejectReason::BadAuthentication as u8);
            }),
        ),
        (
            "cancellation and base",
            build(&|writer| {
                writer.cancel(Class::Routine, 9);
                writer.base(Class::Bulk, 70_000);
            }),
        ),
        (
            "alert",
            build(&|writer| writer.message(1, 300, body.len()).copy_from_slice(body)),
        ),
        (
            "acknowledgement and two alerts",
            build(&|writer| {
                writer.ack(77, 1 << 3);
                writer.message(1, 301, body.len()).copy_from_slice(body);
                writer.message(1, 302, body.len()).copy_from_slice(body);
            }),
        ),
        (
            "last fragment",
            build(&|writer| {
                writer
                    .fragment(40, 5, 960, true, 8)
                    .copy_from_slice(b"fragment")
            }),
        ),
        ("nothing", Vec::new()),
    ]
}

#[test]
fn frames_are_as_committed() {
    let mut made = Vec::new();
    let counter = 0x0001_0002_FFFE;
    let id = LinkId::new(0x1234, 0x56);
    for (name, payload) in payloads() {
        for (sender, protection) in [
            (Role::Board, Protection::Plain),
            (Role::Ground, Protection::Authenticated),
            (Role::Board, Protection::AuthenticatedEncrypted),
        ] {
            let handshake = name.starts_with("hello");
            let head = Head {
                sender,
                protection,
                handshake,
                slot: u8::from(protection != Protection::Plain),
                counter,
                epoch: 0xE90C_4001,
                addressee: if handshake { 0 } else { 0xADD2_E55E },
            };
            let mut buffer = [0; MAX_MTU + 1];
            let at = payload_at(handshake);
            buffer[at..at + payload.len()].copy_from_slice(&payload);
            let sent = seal(&mut buffer, payload.len(), head, id, &keys());
            made.push(json!({
                "name": name, "sender": format!("{sender:?}"), "protection": protection_name(protection), "key_id": 5,
                "key": hex(KEY), "craft": id.craft, "station": id.station, "epoch": head.epoch, "addressee": head.addressee,
                "counter": counter, "greeting": handshake, "payload": hex(&payload), "frame": hex(sent),
            }));
        }
    }
    let kept = committed("frames", &Value::Array(made));
    for vector in kept.as_array().unwrap() {
        let frame = bytes(&vector["frame"]);
        let (sender, receiver) = if vector["sender"] == "Board" {
            (Role::Board, Role::Ground)
        } else {
            (Role::Ground, Role::Board)
        };
        // The counter that should come next may be some way off.
        let opened = |frame: &[u8], role, keys: &Keys| {
            let mut deframer = Deframer::new();
            let (last, inside) = frame.split_last().unwrap();
            inside
                .iter()
                .for_each(|&byte| assert!(deframer.push(byte).is_none()));
            let block = deframer.push(*last).unwrap()?;
            let handshake = vector["greeting"] == true;
            let expected = Expected {
                role,
                id,
                demanded: Protection::Plain,
                keys,
                epoch: (!handshake).then_some(0xE90C_4001),
                addressee: 0xADD2_E55E,
                counter: counter + 99,
            };
            open(block, &expected).map(|(head, payload)| (head, payload.to_vec()))
        };
        let (head, payload) = opened(&frame, receiver, &keys()).unwrap();
        assert_eq!((head.sender, head.counter), (sender, counter));
        assert_eq!(payload, bytes(&vector["payload"]), "{}", vector["name"]);
        assert!(Chunks(&payload).all(|chunk| chunk.is_ok_and(|chunk| chunk != Chunk::Unknown)));
        assert_eq!(opened(&frame, sender, &keys()), Err(FrameError::Reflected));
        if vector["protection"] != "Plain" {
            let other = Keys::single(Key::new(5, b"sixteen letters!"));
            assert_eq!(
                opened(&frame, receiver, &other),
                Err(FrameError::Authentication)
            );
        }
        // No single flipped bit goes unnoticed.
        for bit in 0..(frame.len() - 1) * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if damaged[..frame.len() - 1].contains(&0) {
                continue;
            }
            assert!(
                opened(&damaged, receiver, &keys()).is_err(),
                "bit {bit} of {}",
                vector["name"]
            );
        }
    }
}

#[test]
fn repairs_are_as_committed() {
    let members: Vec<Vec<u8>> = (0..5u8)
        .map(|member| (0..member * 3 + 1).map(|at| member * 16 + at).collect())
        .collect();
    let mut encoder = Encoder::new(5, 4);
    for (counter, member) in members.iter().enumerate() {
        encoder.add(1000 + counter as u64, member);
    }
    let repairs: Vec<_> = core::iter::from_fn(|| encoder.next()).collect();
    let made = json!({
        "first": 1000,
        "payloads": members.iter().map(|member| hex(member)).collect::<Vec<_>>(),
        "repairs": repairs.iter().map(|(.., data)| hex(data)).collect::<Vec<_>>(),
    });
    let kept = committed("repairs", &made);
    let mut decoder = Decoder::new();
    decoder.add(1002, &bytes(&kept["payloads"][2]));
    let mut won = Vec::new();
    for (index, data) in kept["repairs"].as_array().unwrap().iter().enumerate() {
        won.extend(decoder.repair(1000, 5, index as u8, &bytes(data)));
    }
    let won: Vec<(u64, Vec<u8>)> = won
        .into_iter()
        .map(|(counter, payload)| (counter, payload.to_vec()))
        .collect();
    let lost = [0, 1, 3, 4].map(|member| (1000 + member as u64, members[member].clone()));
    assert_eq!(won, lost);
}
