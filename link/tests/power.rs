//! Power cuts at every byte of storage.

use std::collections::BTreeMap;

use deltavlm_link::{
    Class,
    sim::{CutDisk, Rng},
    storage::{
        Direction, Key, Register, Storage, Value,
        log::{LogError, LogStorage},
    },
};

/// What a call of storage asks for.
#[derive(Debug, Clone)]
enum Operation {
    Append(Key, Vec<u8>),
    Acknowledge(Key),
    Set(Register, Value),
}

/// What storage holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Model {
    entries: BTreeMap<Key, Vec<u8>>,
    registers: BTreeMap<u8, Value>,
}

impl Model {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(key, bytes) => {
                self.entries.insert(*key, bytes.clone());
            }
            Operation::Acknowledge(key) => {
                self.entries.remove(key);
            }
            Operation::Set(register, value) => {
                self.registers.insert(register.number(), *value);
            }
        }
    }

    fn read(storage: &mut LogStorage<CutDisk>) -> Self {
        let mut model = Self::default();
        let mut keys = Vec::new();
        storage
            .recover(&mut |key, length| keys.push((key, length)))
            .unwrap();
        for (key, length) in keys {
            let mut bytes = vec![0; length + 1];
            let read = storage.read(key, 0, &mut bytes).unwrap();
            assert_eq!(read, length);
            bytes.truncate(read);
            model.entries.insert(key, bytes);
        }
        for number in 0..Register::COUNT as u8 {
            let register = Register::from_number(number).unwrap();
            if let Some(value) = storage.get(register).unwrap() {
                model.registers.insert(number, value);
            }
        }
        model
    }
}

fn perform(storage: &mut LogStorage<CutDisk>, operation: &Operation) -> bool {
    match operation {
        Operation::Append(key, bytes) => storage.append(*key, &[bytes]).is_ok(),
        Operation::Acknowledge(key) => storage.acknowledge(*key).is_ok(),
        Operation::Set(register, value) => storage.set(*register, *value).is_ok(),
    }
}

/// A thousand operations of the kind an endpoint performs.
fn operations() -> Vec<Operation> {
    let mut rng = Rng::new(11);
    let mut live: Vec<Key> = Vec::new();
    let mut operations = Vec::new();
    for sequence in 0..1000u32 {
        let class = [
            Class::Urgent,
            Class::Interactive,
            Class::Routine,
            Class::Bulk,
        ][rng.below(4) as usize];
        operations.push(match rng.below(10) {
            0..5 if live.len() < 20 => {
                let direction = if rng.chance(0.5) {
                    Direction::Outbound
                } else {
                    Direction::Inbound
                };
                let key = Key {
                    direction,
                    class,
                    sequence,
                };
                live.push(key);
                let length = if rng.chance(0.02) {
                    300
                } else {
                    1 + rng.below(24)
                };
                Operation::Append(key, (0..length).map(|_| rng.bits() as u8).collect())
            }
            0..9 if !live.is_empty() => {
                Operation::Acknowledge(live.remove(rng.below(live.len() as u64) as usize))
            }
            _ => {
                let mut value = [0; 12];
                value[..8].copy_from_slice(&rng.bits().to_le_bytes());
                Operation::Set(Register::from_number(rng.below(13) as u8).unwrap(), value)
            }
        });
    }
    operations
}

/// Failure story: a board loses power while it writes. Whatever it had said is safe must be there
/// when it starts again, what it was about to write is there whole or not at all, and it must start.
#[test]
fn a_cut_at_every_byte_of_a_thousand_operations_loses_nothing() {
    const PLENTY: u64 = u64::MAX / 2;
    let mut content = Vec::new();
    let mut model = Model::default();
    let mut cuts = 0u32;
    let mut rewritten = false;
    for operation in &operations() {
        let mut after = model.clone();
        after.apply(operation);
        let mut whole = LogStorage::open(CutDisk::new(content.clone(), PLENTY, 0)).unwrap();
        assert!(perform(&mut whole, operation));
        rewritten |= whole.length() < content.len() as u64;
        let disk = whole.into_disk();
        let opened = u64::from(content.is_empty()) * 9;
        let cost = PLENTY - disk.fuse() - opened;
        for fuse in 0..cost {
            let mut storage =
                LogStorage::open(CutDisk::new(content.clone(), fuse + opened, cuts.into()))
                    .unwrap();
            let accepted = perform(&mut storage, operation);
            let disk = storage.into_disk();
            assert!(disk.is_off(), "the cut comes before the end");
            let left = disk.after_cut();
            let mut storage =
                LogStorage::open(CutDisk::new(left, PLENTY, 0)).expect("it opens after a cut");
            let found = Model::read(&mut storage);
            assert!(
                found == after || (found == model && !accepted),
                "after a cut at byte {fuse} of {operation:?}, accepted: {accepted}"
            );
            assert!(
                perform(
                    &mut storage,
                    &Operation::Set(Register::SendCounter, [1; 12])
                ),
                "it goes on"
            );
            cuts += 1;
        }
        content = disk.content().to_vec();
        model = after;
    }
    assert!(cuts > 20_000, "{cuts}");
    assert!(rewritten, "the log was written anew in between");
}

/// Failure story: a flash cell dies in the middle of the log. Dropping all behind it would lose
/// messages that were promised, so opening fails and says where.
#[test]
fn damage_in_the_middle_is_not_mistaken_for_a_power_cut() {
    let mut storage = LogStorage::open(CutDisk::new(Vec::new(), u64::MAX, 0)).unwrap();
    for operation in &operations()[..50] {
        assert!(perform(&mut storage, operation));
    }
    let content = storage.into_disk().content().to_vec();
    for at in (8..content.len() - 100).step_by(7) {
        let mut damaged = content.clone();
        damaged[at] ^= 0x10;
        let opened = LogStorage::open(CutDisk::new(damaged, u64::MAX, 0));
        assert!(
            matches!(opened, Err(LogError::Damaged { offset }) if offset <= at as u64),
            "byte {at}"
        );
    }
}

#[test]
fn a_file_of_another_kind_is_left_alone() {
    for content in [&b"PNG"[..], b"DVLMLNK\x02 a later version"] {
        let opened = LogStorage::open(CutDisk::new(content.to_vec(), u64::MAX, 0));
        assert!(matches!(opened, Err(LogError::NotALog)));
    }
}
