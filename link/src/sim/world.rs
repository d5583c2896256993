//! Two ends and what is between them.

use std::{boxed::Box, collections::BTreeSet, vec, vec::Vec};

use super::{Channel, Faults, Mix, PowerCut, Rng, message_of, number_of};
use crate::{
    config::Config,
    endpoint::{Endpoint, Event},
    pacing::Contact,
    role::Role,
    storage::MemoryStorage,
    time::{Duration, Instant},
};

type Disk = PowerCut<MemoryStorage<32_768>>;

/// What is to happen. All of it follows from the seed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// How the two ends are set up.
    pub board: Config,
    /// How the two ends are set up.
    pub ground: Config,
    /// What happens to frames from the board.
    pub down: Faults,
    /// What happens to frames from the ground.
    pub up: Faults,
    /// Messages from the board.
    pub from_board: u32,
    /// Messages from the ground.
    pub from_ground: u32,
    /// Which messages.
    pub mix: Mix,
    /// Mean time between power cuts of each end, each in the middle of a storage call.
    pub power_cuts: Option<Duration>,
    /// Messages that an application keeps waiting at the most.
    pub backlog: usize,
    /// Give up after this much virtual time.
    pub limit: Duration,
}

impl Scenario {
    /// A quiet run of `messages`, half of them in each direction, over plain links without faults.
    pub fn new(seed: u64, messages: u32) -> Self {
        let config = |role| Config {
            seed: seed << 1 ^ role as u64,
            ..Config::new(role)
        };
        Self {
            seed,
            board: config(Role::Board),
            ground: config(Role::Ground),
            down: Faults::default(),
            up: Faults::default(),
            from_board: messages - messages / 2,
            from_ground: messages / 2,
            mix: Mix::Short,
            power_cuts: None,
            backlog: 60,
            limit: Duration::from_secs(10 * 365 * 86_400),
        }
    }

    /// Sets the rate of both ends and of both channels, in bytes per second.
    pub fn rate(&mut self, rate: u32) {
        for (config, faults) in [
            (&mut self.board, &mut self.down),
            (&mut self.ground, &mut self.up),
        ] {
            config.pacing.rate = rate;
            faults.rate = rate;
        }
    }
}

/// What happened in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// Messages that were accepted and came out at the other end.
    pub delivered: u64,
    /// Messages that were accepted and did not.
    pub lost: u64,
    /// Messages that came out more than once.
    pub duplicated: u64,
    /// Messages that came out other than they went in.
    pub altered: u64,
    /// Messages whose acceptance a power cut interrupted; they may come out once or never.
    pub uncertain: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Time until the last message was delivered.
    pub virtual_seconds: f64,
    /// Bytes put on the air in both directions.
    pub bytes_on_air: u64,
    /// Bytes of message bodies delivered.
    pub payload_bytes: u64,
    /// The same, from the board only.
    pub payload_bytes_down: u64,
    /// Bytes put on the air by the board.
    pub bytes_down: u64,
    /// Times that an end asked to be polled at once and then had nothing to send.
    pub idle_polls: u64,
}

/// One end, its program, and its books.
#[derive(Debug)]
pub struct Side {
    config: Config,
    /// `None` while the power is off.
    endpoint: Option<Box<Endpoint<Disk>>>,
    disk: Option<Disk>,
    back_at: Instant,
    cut_at: Instant,
    /// The next message to send.
    next: u32,
    total: u32,
    /// Messages of which nobody knows whether they were accepted.
    uncertain: BTreeSet<u32>,
    /// By number: whether the message of the other end was seen here.
    seen: Vec<bool>,
    seen_count: u32,
}

impl Side {
    fn new(config: Config, total: u32, expected: u32, seed: u64) -> Self {
        Self {
            config,
            endpoint: None,
            disk: Some(PowerCut::new(MemoryStorage::new(), seed)),
            back_at: Instant::ZERO,
            cut_at: Instant::MAX,
            next: 0,
            total,
            uncertain: BTreeSet::new(),
            seen: vec![false; expected as usize],
            seen_count: 0,
        }
    }

    /// The endpoint, while its power is on.
    pub fn endpoint(&self) -> Option<&Endpoint<Disk>> {
        self.endpoint.as_deref()
    }
}

/// Two ends, and the channels between them.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    rng: Rng,
    now: Instant,
    /// The board and the ground.
    pub sides: [Side; 2],
    /// From the board, and from the ground.
    pub channels: [Channel; 2],
    report: Report,
    trace: bool,
}

const ROLES: [Role; 2] = [Role::Board, Role::Ground];

impl World {
    /// A world before its first moment.
    pub fn new(scenario: Scenario) -> Self {
        let mut rng = Rng::new(scenario.seed);
        let sides = [
            Side::new(
                scenario.board.clone(),
                scenario.from_board,
                scenario.from_ground,
                rng.bits(),
            ),
            Side::new(
                scenario.ground.clone(),
                scenario.from_ground,
                scenario.from_board,
                rng.bits(),
            ),
        ];
        let channels = [
            Channel::new(scenario.down.clone(), rng.bits()),
            Channel::new(scenario.up.clone(), rng.bits()),
        ];
        Self {
            scenario,
            rng,
            now: Instant::ZERO,
            sides,
            channels,
            report: Report::default(),
            trace: false,
        }
    }

    /// Writes every frame and event to standard error from now on.
    pub fn trace(&mut self) {
        self.trace = true;
    }

    /// Gives both ends this contact schedule.
    ///
    /// # Panics
    /// If the contacts are out of order.
    pub fn set_contacts(&mut self, contacts: &[Contact]) {
        for side in &mut self.sides {
            if let Some(endpoint) = &mut side.endpoint
                && let Err(error) = endpoint.set_contacts(contacts)
            {
                panic!("{error}");
            }
        }
    }

    /// Runs until every message has come out, or time is up.
    pub fn run(mut self) -> Report {
        while !self.is_done() && self.now.since(Instant::ZERO) < self.scenario.limit {
            self.step();
        }
        self.report()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether every message has come out.
    pub fn is_done(&self) -> bool {
        (0..2).all(|side| {
            let (from, to) = (&self.sides[side], &self.sides[1 - side]);
            let unseen = from.total - to.seen_count;
            from.next == from.total
                && unseen as usize <= from.uncertain.len()
                && unseen as usize
                    <= from
                        .uncertain
                        .iter()
                        .filter(|number| !to.seen[**number as usize])
                        .count()
        })
    }

    /// Lets happen what happens next, and moves time to it.
    pub fn step(&mut self) {
        let mut next = Instant::MAX;
        for side in 0..2 {
            self.arrive(side);
            self.power(side);
            self.refill(side);
            let sent = self.transmit(side);
            self.drain(side);
            self.fuse(side);
            next = next.min(self.deadline(side, sent));
        }
        for channel in &self.channels {
            next = channel.next_arrival().map_or(next, |at| next.min(at));
        }
        self.now = next
            .max(self.now + Duration::from_micros(1))
            .min(self.now + Duration::from_secs(3600));
    }

    /// The books as they stand.
    pub fn report(&self) -> Report {
        let mut report = self.report;
        report.bytes_down = self.channels[0].bytes;
        report.bytes_on_air = self.channels[0].bytes + self.channels[1].bytes;
        report.virtual_seconds = self.now.as_micros() as f64 / 1e6;
        for side in 0..2 {
            let (from, to) = (&self.sides[side], &self.sides[1 - side]);
            report.uncertain += from.uncertain.len() as u64;
            let missing = (0..from.next)
                .filter(|number| !to.seen[*number as usize] && !from.uncertain.contains(number));
            report.lost += missing.count() as u64;
        }
        report
    }

    fn arrive(&mut self, side: usize) {
        while let Some(bytes) = self.channels[1 - side].receive(self.now) {
            if let Some(endpoint) = &mut self.sides[side].endpoint {
                endpoint.receive(&bytes, self.now);
            }
        }
    }

    /// Starts an end whose time has come, and plans its end.
    fn power(&mut self, index: usize) {
        let side = &mut self.sides[index];
        if side.endpoint.is_none() && self.now >= side.back_at {
            let Some(mut disk) = side.disk.take() else {
                return;
            };
            disk.restore();
            let config = Config {
                seed: self.rng.bits(),
                ..side.config.clone()
            };
            // Starting is no safer than anything else.
            if self.scenario.power_cuts.is_some() && self.rng.chance(0.1) {
                disk.cut_after(self.rng.below(10));
                let _ = Endpoint::new(config.clone(), &mut disk);
            }
            if disk.is_off() {
                self.report.power_cuts += 1;
                side.disk = Some(disk);
                return;
            }
            match Endpoint::new(config, disk) {
                Ok(endpoint) => side.endpoint = Some(Box::new(endpoint)),
                Err(error) => panic!(
                    "seed {}: an end does not start: {error:?}",
                    self.scenario.seed
                ),
            }
            if let Some(mean) = self.scenario.power_cuts {
                side.cut_at =
                    self.now + Duration::from_micros(self.rng.below(2 * mean.as_micros()));
            }
        }
        if self.now >= side.cut_at
            && let Some(endpoint) = &mut side.endpoint
        {
            endpoint.storage_mut().cut_after(self.rng.below(20));
            side.cut_at = Instant::MAX;
        }
    }

    fn refill(&mut self, index: usize) {
        let side = &mut self.sides[index];
        let Some(endpoint) = &mut side.endpoint else {
            return;
        };
        while side.next < side.total && endpoint.waiting() < self.scenario.backlog {
            let message = message_of(
                self.scenario.seed,
                ROLES[index],
                self.scenario.mix,
                side.next,
            );
            if endpoint
                .send(message.kind, &message.body, self.now)
                .is_err()
            {
                if !endpoint.storage().is_off() {
                    return;
                }
                side.uncertain.insert(side.next);
            }
            side.next += 1;
            if endpoint.storage().is_off() {
                return;
            }
        }
    }

    fn transmit(&mut self, index: usize) -> bool {
        let Some(endpoint) = &mut self.sides[index].endpoint else {
            return false;
        };
        let mut sent = false;
        while let Some(frame) = endpoint.poll_transmit(self.now) {
            if self.trace {
                std::eprintln!(
                    "{:>14} {:?} sends {frame:02x?}",
                    self.now.as_micros(),
                    ROLES[index]
                );
            }
            self.channels[index].send(frame, self.now);
            sent = true;
        }
        sent
    }

    fn drain(&mut self, index: usize) {
        let seed = self.scenario.seed;
        let side = &mut self.sides[index];
        let Some(endpoint) = &mut side.endpoint else {
            return;
        };
        while let Some(event) = endpoint.poll_event() {
            if self.trace {
                std::eprintln!(
                    "{:>14} {:?} sees {event:?}",
                    self.now.as_micros(),
                    ROLES[index]
                );
            }
            let Event::Message {
                id,
                kind,
                body,
                redelivered,
            } = event
            else {
                continue;
            };
            endpoint.acknowledge(id);
            let number = number_of(&body);
            let Some(number) = number.filter(|&number| (number as usize) < side.seen.len()) else {
                self.report.altered += u64::from(number.is_some());
                continue;
            };
            let sent = message_of(seed, ROLES[1 - index], self.scenario.mix, number);
            if (kind, &body[..]) != (sent.kind, &sent.body[..]) {
                self.report.altered += 1;
                continue;
            }
            let seen = &mut side.seen[number as usize];
            if *seen {
                // A program that keeps books of its own knows what a start shows it again.
                self.report.duplicated += u64::from(!redelivered);
                continue;
            }
            *seen = true;
            side.seen_count += 1;
            self.report.delivered += 1;
            let bytes = body.len() as u64;
            self.report.payload_bytes += bytes;
            self.report.payload_bytes_down += if index == 1 { bytes } else { 0 };
        }
    }

    /// Takes an end whose power was cut out of the world for a while.
    fn fuse(&mut self, index: usize) {
        let side = &mut self.sides[index];
        if side
            .endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.storage().is_off())
            && let Some(endpoint) = side.endpoint.take()
        {
            side.disk = Some(endpoint.into_storage());
            side.back_at = self.now + Duration::from_micros(self.rng.below(5_000_000));
            self.report.power_cuts += 1;
        }
    }

    fn deadline(&mut self, index: usize, sent: bool) -> Instant {
        let side = &self.sides[index];
        let Some(endpoint) = &side.endpoint else {
            return side.back_at;
        };
        let at = endpoint.next_deadline().unwrap_or(Instant::MAX);
        if at <= self.now && !sent {
            self.report.idle_polls += 1;
        }
        at.min(side.cut_at)
    }
}
