//! What the fuzz targets do with their bytes. `tests/corpora.rs` runs the same on a stable toolchain.

use std::collections::BTreeMap;

use deltavlm_link::{
    Config, Endpoint, Event, Instant, LinkId, MessageId, Role, auth::Key, auth::Keys,
    auth::Protection, cobs, frame::Deframer, sim::CutDisk, sim::Mix, sim::message_of,
    sim::number_of, sim::plain_frame, storage, storage::Direction, storage::MemoryStorage,
    storage::Register, storage::Storage, storage::log::LogStorage,
};

/// Any bytes from the air: into the deframer alone, and into both ends in each protection.
pub(crate) fn frames(data: &[u8]) {
    let mut deframer = Deframer::new();
    for &byte in data {
        if let Some(Ok(block)) = deframer.push(byte) {
            let length = block.len();
            if let Some(content) = cobs::decode_in_place(block) {
                assert_eq!(content.len() + 1, length);
            }
        }
    }
    for role in [Role::Board, Role::Ground] {
        for protection in [Protection::Plain, Protection::AuthenticatedEncrypted] {
            let config = Config {
                uplink: protection,
                downlink: protection,
                keys: Keys::single(Key::new(5, b"sixteen letters.")),
                id: LinkId::new(0x1234, 0x56),
                ..Config::new(role)
            };
            let mut end =
                Endpoint::new(config, MemoryStorage::<4096>::new()).expect("a fresh end starts");
            end.receive(data, Instant::ZERO);
            // The same bytes as a payload that is opened.
            let opened = plain_frame(&end, 0, &data[..data.len().min(200)]);
            end.receive(&opened, Instant::ZERO);
            settle(&mut end, Instant::from_secs(1));
        }
    }
}

/// Reads the steps of a scenario from fuzzed bytes.
struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte() % 64).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

type End = Endpoint<MemoryStorage<16_384>>;

const ROLES: [Role; 2] = [Role::Board, Role::Ground];

fn start(index: usize, storage: MemoryStorage<16_384>) -> End {
    let config = Config {
        mtu: if index == 0 { 64 } else { 40 },
        ..Config::new(ROLES[index])
    };
    Endpoint::new(config, storage).expect("an end starts on what an end left behind")
}

/// Two ends, and a channel that the bytes control: frames are dropped, doubled, held back, damaged and
/// made up, ends start again. As long as no frame was made up, nothing comes twice or altered, and once
/// the channel is good everything comes.
pub(crate) fn endpoints(data: &[u8]) {
    let mut steps = Steps(data);
    let mut ends = [
        start(0, MemoryStorage::new()),
        start(1, MemoryStorage::new()),
    ];
    let mut held: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
    let mut sent = [0u32; 2];
    let mut accepted: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
    let mut seen: [BTreeMap<u32, u32>; 2] = [BTreeMap::new(), BTreeMap::new()];
    let mut honest = true;
    let mut now = Instant::ZERO;
    while !steps.0.is_empty() {
        let step = steps.byte();
        let side = usize::from(step & 1);
        match step >> 1 & 7 {
            0 => {
                let message = message_of(7, ROLES[side], Mix::All, sent[side]);
                if message.send(&mut ends[side], now).is_ok() {
                    accepted[side].push(sent[side]);
                }
                sent[side] += 1;
            }
            1 => {
                let fate = steps.byte();
                while let Some(frame) = ends[side].poll_transmit(now) {
                    let frame = frame.to_vec();
                    match fate {
                        0..128 => ends[1 - side].receive(&frame, now),
                        128..160 => {}
                        160..192 => (0..2).for_each(|_| ends[1 - side].receive(&frame, now)),
                        192..224 => held[side].push(frame),
                        _ => {
                            let mut damaged = frame;
                            let place = usize::from(fate) * 7 % damaged.len();
                            damaged[place] ^= 1 << (fate % 8);
                            ends[1 - side].receive(&damaged, now);
                        }
                    }
                }
            }
            2 => now = Instant::from_micros(now.as_micros() + (1 << (steps.byte() % 28))),
            3 => look(&mut ends[side], side, &mut seen, honest),
            4 => {
                let storage = ends[side].storage().clone();
                ends[side] = start(side, storage);
            }
            5 => {
                let count = held[side].len();
                if count > 0 {
                    let frame = held[side].remove(usize::from(steps.byte()) % count);
                    ends[1 - side].receive(&frame, now);
                }
            }
            6 => {
                honest = false;
                let counter = u64::from(steps.byte());
                let frame = plain_frame(&ends[side], counter, steps.bytes());
                ends[side].receive(&frame, now);
            }
            _ => now = Instant::from_micros(now.as_micros() / (2 + u64::from(steps.byte()))),
        }
    }
    if !honest {
        return;
    }
    // Now nothing goes wrong any more.
    for _ in 0..400 {
        now = Instant::from_micros(now.as_micros() + 500_000);
        for side in 0..2 {
            while let Some(frame) = ends[side].poll_transmit(now) {
                let frame = frame.to_vec();
                ends[1 - side].receive(&frame, now);
            }
            look(&mut ends[side], side, &mut seen, true);
        }
    }
    for side in 0..2 {
        let missing: Vec<&u32> = accepted[side]
            .iter()
            .filter(|number| !seen[1 - side].contains_key(number))
            .collect();
        // The outbox takes 80 messages, and a second moves more than it holds.
        assert!(
            missing.is_empty(),
            "{:?} accepted {missing:?}, and they never came",
            ROLES[side]
        );
    }
}

fn look(end: &mut End, side: usize, seen: &mut [BTreeMap<u32, u32>; 2], honest: bool) {
    while let Some(event) = end.poll_event() {
        let Event::Message { id, kind, body, .. } = event else {
            continue;
        };
        end.acknowledge(id);
        let Some(number) = number_of(&body) else {
            continue;
        };
        if honest {
            let sent = message_of(7, ROLES[1 - side], Mix::All, number);
            assert_eq!((kind, &body[..]), (sent.kind, &sent.body[..]), "altered");
            let times = seen[side].entry(number).or_default();
            *times += 1;
            assert_eq!(*times, 1, "{id:?} came twice");
        }
    }
}

fn settle(end: &mut Endpoint<MemoryStorage<4096>>, now: Instant) {
    while end.poll_transmit(now).is_some() {}
    let mut shown: Vec<MessageId> = Vec::new();
    while let Some(event) = end.poll_event() {
        if let Event::Message { id, .. } = event {
            assert!(!shown.contains(&id));
            shown.push(id);
            end.acknowledge(id);
        }
    }
    let _ = end.next_deadline();
}

/// First any bytes as a log; then a log of good records that loses power at some byte.
pub(crate) fn log(data: &[u8]) {
    if let Ok(mut opened) = LogStorage::open(CutDisk::new(data.to_vec(), 1 << 20, 0)) {
        let mut count = 0;
        opened
            .recover(&mut |_, _| count += 1)
            .expect("recovery reads memory only");
        let _ = opened.set(Register::Identity, [1; 12]);
        let again = LogStorage::open(CutDisk::new(
            opened.into_disk().content().to_vec(),
            1 << 20,
            0,
        ));
        let mut left = 0;
        again
            .expect("what was opened opens again")
            .recover(&mut |_, _| left += 1)
            .expect("as above");
        assert_eq!(count, left);
    }

    let mut steps = Steps(data);
    let fuse = u64::from(steps.byte()) << 2 | 9;
    let Ok(mut storage) = LogStorage::open(CutDisk::new(Vec::new(), fuse, data.len() as u64))
    else {
        return;
    };
    let mut promised: BTreeMap<storage::Key, Vec<u8>> = BTreeMap::new();
    let mut doubtful = None;
    while !steps.0.is_empty() && doubtful.is_none() {
        let step = steps.byte();
        let class = deltavlm_link::Class::ALL[usize::from(step % 5)];
        let direction = if step & 0x80 == 0 {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        let key = storage::Key {
            direction,
            class,
            sequence: u32::from(step >> 3 & 7),
        };
        if class.latest_wins() {
            continue;
        }
        let is_there = promised.contains_key(&key);
        if is_there {
            match storage.acknowledge(key) {
                Ok(()) => drop(promised.remove(&key)),
                Err(_) => doubtful = Some(key),
            }
        } else {
            let bytes = steps.bytes();
            match storage.append(key, &[bytes]) {
                Ok(()) => drop(promised.insert(key, bytes.to_vec())),
                Err(_) => doubtful = Some(key),
            }
        }
    }
    let left = storage.into_disk().after_cut();
    let mut storage =
        LogStorage::open(CutDisk::new(left, 1 << 20, 0)).expect("it opens after a cut");
    let mut found = BTreeMap::new();
    storage
        .recover(&mut |key, length| {
            found.insert(key, length);
        })
        .expect("recovery reads memory only");
    for (key, bytes) in promised.iter().filter(|(key, _)| Some(**key) != doubtful) {
        assert_eq!(found.get(key), Some(&bytes.len()), "{key:?} was promised");
        let mut kept = vec![0; bytes.len()];
        assert_eq!(storage.read(*key, 0, &mut kept), Ok(bytes.len()));
        assert_eq!(&kept, bytes);
    }
    assert!(
        found
            .keys()
            .all(|key| promised.contains_key(key) || Some(*key) == doubtful),
        "nothing else is there"
    );
}
