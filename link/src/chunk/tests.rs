use super::*;
use proptest::prelude::*;

#[test]
fn chunks_come_back_in_order() {
    let mut payload = [0; 100];
    let mut writer = Writer::new(&mut payload);
    let hello = Hello {
        session: 1,
        echo: 2,
        verified: true,
    };
    writer.hello(hello);
    writer.replay_floor(99);
    writer.ack(7, 0x0102);
    writer.reject(Class::Routine, 5, 1);
    writer.cancel(Class::Bulk, 6);
    writer.message(1, 300, 3).copy_from_slice(b"one");
    writer.message(2, 301, 3).copy_from_slice(b"two");
    writer
        .fragment(40, 302, 960, true, 4)
        .copy_from_slice(b"tail");
    assert_eq!(writer.room(), 0);
    let length = writer.length();
    assert_eq!(
        length,
        HELLO_BYTES + REPLAY_FLOOR_BYTES + 5 + REJECT_BYTES + CANCEL_BYTES + 7 + 7 + 9
    );
    let chunks: Vec<_> = Chunks(&payload[..length]).map(Result::unwrap).collect();
    assert_eq!(
        chunks,
        [
            Chunk::Hello(hello),
            Chunk::ReplayFloor(99),
            Chunk::Ack {
                newest: 7,
                missing: 0x0102
            },
            Chunk::Reject {
                class: Class::Routine,
                sequence: 5,
                reason: 1
            },
            Chunk::Cancel {
                class: Class::Bulk,
                sequence: 6
            },
            Chunk::Message {
                kind: 1,
                sequence: 300,
                body: b"one"
            },
            Chunk::Message {
                kind: 2,
                sequence: 301,
                body: b"two"
            },
            Chunk::Fragment {
                kind: 40,
                sequence: 302,
                offset: 960,
                last: true,
                part: b"tail"
            },
        ]
    );
}

#[test]
fn control_chunks_of_later_versions_are_stepped_over() {
    let mut chunks = Chunks(&[0x3A, 2, 9, 9, REST | 1, 0, 0, 5]);
    assert_eq!(chunks.next(), Some(Ok(Chunk::Unknown)));
    assert_eq!(
        chunks.next(),
        Some(Ok(Chunk::Message {
            kind: 1,
            sequence: 0,
            body: &[5]
        }))
    );
    assert_eq!(chunks.next(), None);
}

proptest! {
    #[test]
    fn any_payload_ends(payload in proptest::collection::vec(any::<u8>(), 0..250)) {
        let chunks = Chunks(&payload);
        prop_assert!(chunks.count() <= payload.len());
    }

    #[test]
    fn acknowledgements_come_back(newest: u16, missing: u64) {
        let mut payload = [0; 16];
        let mut writer = Writer::new(&mut payload);
        writer.ack(newest, missing);
        let length = writer.length();
        prop_assert_eq!(length, Writer::ack_bytes(missing));
        prop_assert_eq!(Chunks(&payload[..length]).next(), Some(Ok(Chunk::Ack { newest, missing })));
    }
}
