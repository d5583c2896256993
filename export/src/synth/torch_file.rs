//! Writes `torch.save` files: a stored zip with a pickle and one raw entry per
//! tensor, 64-byte aligned, on all cores.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::pickle::Writer;
use super::{Draw, Entry};
use crate::progress::Progress;
use crate::random::Random;
use crate::source::Element;
use crate::weights_writer::parallel_for;
use crate::{Error, Result};

const ALIGNMENT: u64 = 64;
/// Values drawn at a time.
const CHUNK: usize = 1 << 16;

/// A file to be written: its entries with their places.
#[derive(Debug)]
pub(super) struct TorchFile {
    path: PathBuf,
    entries: Vec<Stored>,
    len: u64,
    seed: u64,
}

#[derive(Debug)]
struct Stored {
    name: String,
    header: u64,
    /// Length of the padding field that aligns the content.
    padding: u16,
    bytes: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    Tensor(Entry),
}

impl TorchFile {
    /// A file that is a dict of tensors.
    pub(super) fn state_dict(path: PathBuf, stem: &str, entries: Vec<Entry>, seed: u64) -> Self {
        let mut pickle = Writer::new();
        pickle.ordered_dict(|w| tensors(w, &entries, 0));
        Self::new(path, stem, pickle.finish(), entries, seed)
    }

    /// A training checkpoint: `model`, and beside it what training leaves there,
    /// the optimizer's two moments of every weight above all.
    pub(super) fn checkpoint(path: PathBuf, stem: &str, model: Vec<Entry>, seed: u64) -> Self {
        let count = model.len();
        let mut all = model.clone();
        for name in ["exp_avg", "exp_avg_sq"] {
            all.extend(model.iter().map(|entry| Entry {
                key: format!("{name}.{}", entry.key),
                draw: Draw::Zero,
                ..entry.clone()
            }));
        }
        let mut pickle = Writer::new();
        pickle.dict(|w| {
            w.text("model");
            w.ordered_dict(|w| tensors(w, &model, 0));
            w.text("optimizer");
            w.dict(|w| {
                w.text("state");
                w.dict(|w| {
                    for i in 0..count {
                        w.int(i);
                        w.dict(|w| {
                            w.text("exp_avg");
                            w.tensor(&all[count + i], count + i);
                            w.text("exp_avg_sq");
                            w.tensor(&all[2 * count + i], 2 * count + i);
                        });
                    }
                });
                w.text("param_groups");
                w.list(|w| {
                    w.dict(|w| {
                        w.text("lr");
                        w.float(1e-5);
                    });
                });
            });
            w.text("config");
            w.dict(|w| {
                w.text("run");
                w.text("synthetic");
            });
            w.text("epoch");
            w.int(9);
        });
        Self::new(path, stem, pickle.finish(), all, seed)
    }

    fn new(path: PathBuf, stem: &str, pickle: Vec<u8>, tensors: Vec<Entry>, seed: u64) -> Self {
        let mut file = Self {
            path,
            entries: Vec::new(),
            len: 0,
            seed,
        };
        let small = |name: &str, content: &[u8]| {
            (format!("{stem}/{name}"), Content::Bytes(content.to_vec()))
        };
        let mut contents = vec![
            (format!("{stem}/data.pkl"), Content::Bytes(pickle)),
            small("byteorder", b"little"),
        ];
        contents.extend(
            tensors
                .into_iter()
                .enumerate()
                .map(|(i, entry)| (format!("{stem}/data/{i}"), Content::Tensor(entry))),
        );
        contents.push(small("version", b"3\n"));
        for (name, content) in contents {
            let bytes = match &content {
                Content::Bytes(bytes) => bytes.len() as u64,
                Content::Tensor(entry) => entry.size() * entry.element.size() as u64,
            };
            let header = file.len;
            // A padding field takes four bytes at least.
            let unpadded = header + 30 + name.len() as u64 + 4;
            let padding = (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as u16;
            file.len = unpadded + u64::from(padding) + bytes;
            file.entries.push(Stored {
                name,
                header,
                padding,
                bytes,
                content,
            });
        }
        file
    }

    /// Size without the directory at the end.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn write_entry(&self, file: &File, entry: &Stored, progress: &Progress) -> Result<u32> {
        let io = |e| Error::io(&self.path, e);
        let start = entry.header + 30 + entry.name.len() as u64 + 4 + u64::from(entry.padding);
        let mut hasher = crc32fast::Hasher::new();
        match &entry.content {
            Content::Bytes(bytes) => {
                hasher.update(bytes);
                file.write_all_at(bytes, start).map_err(io)?;
            }
            Content::Tensor(tensor) => {
                let mut random = Random::new(self.seed ^ name_hash(&tensor.key));
                let mut left = tensor.size() as usize;
                let mut at = start;
                let mut bytes = Vec::new();
                while left > 0 {
                    let count = left.min(CHUNK);
                    fill(&mut bytes, tensor, count, &mut random);
                    hasher.update(&bytes);
                    file.write_all_at(&bytes, at).map_err(io)?;
                    at += bytes.len() as u64;
                    left -= count;
                    progress.add(bytes.len() as u64);
                }
            }
        }
        let crc = hasher.finalize();
        file.write_all_at(&entry.local_header(crc), entry.header)
            .map_err(io)?;
        Ok(crc)
    }

    fn directory(&self, crcs: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        for (entry, crc) in self.entries.iter().zip(crcs) {
            out.extend(entry.central_header(*crc));
        }
        let size = out.len() as u64;
        let (count, offset) = (self.entries.len() as u64, self.len);
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        [count, count, size, offset]
            .iter()
            .for_each(|v| out.extend(v.to_le_bytes()));
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend((offset + size).to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([0xff; 12]);
        out.extend([0xff, 0xff, 0xff, 0xff, 0, 0]);
        out
    }
}

impl Stored {
    fn local_header(&self, crc: u32) -> Vec<u8> {
        let narrow = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        let mut out = b"PK\x03\x04\x2d\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend(crc.to_le_bytes());
        out.extend(narrow.to_le_bytes());
        out.extend(narrow.to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((4 + self.padding).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(b"FB");
        out.extend(self.padding.to_le_bytes());
        out.extend(std::iter::repeat_n(b'Z', usize::from(self.padding)));
        out
    }

    /// Sizes and offset always as 64-bit values: one form for every size.
    fn central_header(&self, crc: u32) -> Vec<u8> {
        let mut out = b"PK\x01\x02\x2d\0\x2d\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend(crc.to_le_bytes());
        out.extend([0xff; 8]);
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(28u16.to_le_bytes());
        out.extend([0; 10]);
        out.extend([0xff; 4]);
        out.extend(self.name.as_bytes());
        out.extend([1, 0, 24, 0]);
        [self.bytes, self.bytes, self.header]
            .iter()
            .for_each(|v| out.extend(v.to_le_bytes()));
        out
    }
}

/// Writes all files.
pub(super) fn write(files: &[TorchFile], threads: usize, progress: &Progress) -> Result<()> {
    let mut tasks = Vec::new();
    let mut opened = Vec::new();
    for file in files {
        opened.push(File::create(&file.path).map_err(|e| Error::io(&file.path, e))?);
    }
    for (index, file) in files.iter().enumerate() {
        tasks.extend((0..file.entries.len()).map(|entry| (index, entry)));
    }
    let crcs = Mutex::new(
        files
            .iter()
            .map(|file| vec![0; file.entries.len()])
            .collect::<Vec<_>>(),
    );
    parallel_for(&tasks, threads, |&(index, entry), _| {
        let file = &files[index];
        let crc = file.write_entry(&opened[index], &file.entries[entry], progress)?;
        crcs.lock().expect("no panic while writing")[index][entry] = crc;
        Ok(())
    })?;
    let crcs = crcs.into_inner().expect("no panic while writing");
    for ((file, opened), crcs) in files.iter().zip(&opened).zip(&crcs) {
        opened
            .write_all_at(&file.directory(crcs), file.len)
            .map_err(|e| Error::io(&file.path, e))?;
        opened.sync_all().map_err(|e| Error::io(&file.path, e))?;
    }
    Ok(())
}

fn tensors(w: &mut Writer, entries: &[Entry], first: usize) {
    for (i, entry) in entries.iter().enumerate() {
        w.text(&entry.key);
        w.tensor(entry, first + i);
    }
}

fn fill(bytes: &mut Vec<u8>, tensor: &Entry, count: usize, random: &mut Random) {
    bytes.clear();
    let values: Vec<f32> = match tensor.draw {
        Draw::Zero => vec![0.0; count],
        Draw::Normal(deviation) => (0..count).map(|_| random.normal() * deviation).collect(),
        Draw::AroundOne(deviation) => (0..count)
            .map(|_| 1.0 + random.normal() * deviation)
            .collect(),
    };
    if tensor.element == Element::F16 {
        let mut halves = vec![f16::ZERO; count];
        halves.convert_from_f32_slice(&values);
        bytes.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    } else {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

/// FNV-1a: every tensor draws from a stream of its own, whatever the others do.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
