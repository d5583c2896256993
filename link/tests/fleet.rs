//! Two craft and two stations on one channel that loses, doubles, reorders and damages frames, while power
//! fails now here, now there. Every craft talks to every station under one operator key, each pair with
//! counters and storage of its own.

use deltavlm_link::{
    Config, Duration, Endpoint, Event, Instant, LinkId, Role, auth::Key, auth::Keys,
    auth::Protection, pacing::Pacing, sim::Channel, sim::Faults, sim::PowerCut, sim::Rng,
    storage::MemoryStorage,
};
use std::collections::BTreeSet;

type Disk = PowerCut<MemoryStorage<8_192>>;

const CRAFT: u16 = 2;
const STATIONS: u8 = 2;
const NODES: usize = CRAFT as usize + STATIONS as usize;

/// One end of a link between a craft and a station, with its books.
struct End {
    node: usize,
    role: Role,
    id: LinkId,
    endpoint: Option<Box<Endpoint<Disk>>>,
    disk: Option<Disk>,
    back_at: Instant,
    sent: u32,
    /// Nobody knows whether it was accepted: power failed in the call.
    uncertain: BTreeSet<u32>,
    seen: BTreeSet<u32>,
}

#[derive(Debug, Default, PartialEq)]
struct Books {
    doubled: u32,
    crossed: u32,
    cuts: u32,
}

struct Fleet {
    seed: u64,
    rng: Rng,
    ends: Vec<End>,
    /// From each node to each.
    air: Vec<Vec<Channel>>,
    books: Books,
}

fn body(role: Role, id: LinkId, number: u32) -> Vec<u8> {
    let mut body = vec![role as u8, id.craft as u8, id.station];
    body.extend_from_slice(&number.to_le_bytes());
    body.resize(15, number as u8);
    body
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut ends = Vec::new();
        for craft in 0..CRAFT {
            for station in 0..STATIONS {
                for role in [Role::Board, Role::Ground] {
                    ends.push(End {
                        node: match role {
                            Role::Board => usize::from(craft),
                            Role::Ground => usize::from(CRAFT) + usize::from(station),
                        },
                        role,
                        id: LinkId::new(craft, station),
                        endpoint: None,
                        disk: Some(PowerCut::new(MemoryStorage::new(), rng.bits())),
                        back_at: Instant::ZERO,
                        sent: 0,
                        uncertain: BTreeSet::new(),
                        seen: BTreeSet::new(),
                    });
                }
            }
        }
        let faults = Faults {
            loss: 0.2,
            duplicate: 0.05,
            reorder: 4,
            ber: 2e-5,
            rate: 4_800,
            ..Faults::default()
        };
        let air = (0..NODES)
            .map(|_| {
                (0..NODES)
                    .map(|_| Channel::new(faults.clone(), rng.bits()))
                    .collect()
            })
            .collect();
        Self {
            seed,
            rng,
            ends,
            air,
            books: Books::default(),
        }
    }

    fn config(&mut self, end: usize) -> Config {
        Config {
            id: self.ends[end].id,
            mtu: 64,
            uplink: Protection::Authenticated,
            downlink: Protection::AuthenticatedEncrypted,
            keys: Keys::single(Key::new(1, b"one for them all")),
            pacing: Pacing::at_rate(600),
            seed: self.rng.bits(),
            max_timeout: Duration::from_secs(5),
            ..Config::new(self.ends[end].role)
        }
    }

    fn step(&mut self, now: Instant, total: u32, quiet: bool) {
        for sender in 0..NODES {
            for hearer in (0..NODES).filter(|&hearer| hearer != sender) {
                while let Some(bytes) = self.air[sender][hearer].receive(now) {
                    for end in self.ends.iter_mut().filter(|end| end.node == hearer) {
                        if let Some(endpoint) = &mut end.endpoint {
                            endpoint.receive(&bytes, now);
                        }
                    }
                }
            }
        }
        for index in 0..self.ends.len() {
            self.power(index, now, quiet);
            self.send(index, now, total);
            self.look(index, now);
        }
    }

    fn power(&mut self, index: usize, now: Instant, quiet: bool) {
        let config = self.config(index);
        let end = &mut self.ends[index];
        if let Some(mut disk) = end.disk.take_if(|_| now >= end.back_at) {
            disk.restore();
            match Endpoint::new(config, disk) {
                Ok(endpoint) => end.endpoint = Some(Box::new(endpoint)),
                Err(error) => panic!("seed {}: {error:?}", self.seed),
            }
        }
        // A power cut somewhere every few seconds, each in the middle of a storage call.
        if !quiet
            && self.rng.chance(0.002)
            && let Some(endpoint) = &mut end.endpoint
        {
            endpoint.storage_mut().cut_after(self.rng.below(20));
        }
    }

    fn send(&mut self, index: usize, now: Instant, total: u32) {
        let end = &mut self.ends[index];
        let Some(endpoint) = &mut end.endpoint else {
            return;
        };
        while end.sent < total && endpoint.waiting() < 20 && !endpoint.storage().is_off() {
            let kind = match end.role {
                Role::Board => 1,
                Role::Ground => 8,
            };
            if endpoint
                .send(kind, &body(end.role, end.id, end.sent), now)
                .is_err()
            {
                if !endpoint.storage().is_off() {
                    break;
                }
                end.uncertain.insert(end.sent);
            }
            end.sent += 1;
        }
        while let Some(frame) = endpoint.poll_transmit(now) {
            for channel in &mut self.air[end.node] {
                channel.send(frame, now);
            }
        }
    }

    fn look(&mut self, index: usize, now: Instant) {
        let end = &mut self.ends[index];
        let Some(endpoint) = &mut end.endpoint else {
            return;
        };
        while let Some(event) = endpoint.poll_event() {
            match event {
                Event::Message {
                    id,
                    body: came,
                    redelivered,
                    ..
                } => {
                    endpoint.acknowledge(id);
                    let number = u32::from_le_bytes(*came[3..].first_chunk().unwrap());
                    if came[..] != body(end.role.peer(), end.id, number)[..] {
                        self.books.crossed += 1;
                    } else if !end.seen.insert(number) && !redelivered {
                        self.books.doubled += 1;
                    }
                }
                Event::DuplicateIdentity | Event::PeerReplaced | Event::AuthDenied(_) => {
                    panic!(
                        "seed {}: {event:?} at {:?} of {}",
                        self.seed, end.role, end.id
                    )
                }
                _ => {}
            }
        }
        if endpoint.storage().is_off() {
            end.disk = end.endpoint.take().map(|endpoint| endpoint.into_storage());
            end.back_at = now + Duration::from_micros(self.rng.below(3_000_000));
            self.books.cuts += 1;
        }
    }

    /// Messages that one end accepted and the other never showed.
    fn lost(&self) -> Vec<(LinkId, Role, u32)> {
        let mut lost = Vec::new();
        for end in &self.ends {
            let other = self
                .ends
                .iter()
                .find(|other| other.id == end.id && other.role != end.role)
                .unwrap();
            let missing = (0..end.sent)
                .filter(|number| !other.seen.contains(number) && !end.uncertain.contains(number));
            lost.extend(missing.map(|number| (end.id, end.role, number)));
        }
        lost
    }
}

#[test]
fn d01_two_craft_and_two_stations_lose_double_and_cross_nothing() {
    let total = 400;
    for seed in 0..4 {
        let mut fleet = Fleet::new(seed);
        let mut now = Instant::ZERO;
        for tick in 0..200_000u64 {
            now = Instant::from_millis(tick * 10);
            let all_sent = fleet.ends.iter().all(|end| end.sent == total);
            if all_sent && tick % 100 == 0 && fleet.lost().is_empty() {
                break;
            }
            // The last messages come although power no longer fails.
            fleet.step(now, total, all_sent && tick > 30_000);
        }
        assert_eq!(fleet.lost(), [], "seed {seed}, at {now:?}");
        assert_eq!(
            (fleet.books.doubled, fleet.books.crossed),
            (0, 0),
            "seed {seed}"
        );
        assert!(fleet.books.cuts > 20, "seed {seed}: {:?}", fleet.books);
    }
}
