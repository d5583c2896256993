//! Computes weights files on all cores, straight to their places on disk.
//!
//! Work is cut into runs of rows. A thread reads a run with positioned reads,
//! converts it, and writes it with positioned writes, so memory is bounded by a
//! few buffers per thread whatever the model's size, a full disk is an error and
//! not a signal, and the bytes do not depend on the number of threads.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use deltavlm_bundle::{ElementType, FileRecord};
use deltavlm_kernels::{BLOCK, Bits, Isa, quantize_mse};
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::Result;
use crate::parallel_file::ParallelFile;
use crate::progress::Progress;
use crate::source::Scan;
use crate::weights_layout::{Encoding, WeightEntry, WeightsLayout};

/// Elements of a run: 4 MiB of f32.
const RUN: usize = 1 << 20;
/// The same where rows become columns: what is written at once is as many elements
/// as the run has rows.
const TRANSPOSED_RUN: usize = 8 << 20;

/// A file to be written.
#[derive(Debug)]
pub(crate) struct Output {
    /// Where.
    pub(crate) path: PathBuf,
    /// What.
    pub(crate) layout: WeightsLayout,
}

/// What was read and written.
pub(crate) struct Done {
    /// SHA-256 of the sources, in their order.
    pub(crate) sources: Vec<String>,
    /// Records of the outputs, in their order.
    pub(crate) outputs: Vec<FileRecord>,
}

/// Writes all outputs and takes the scans to their ends, so that each source is
/// read from disk once.
///
/// # Errors
/// The first error that any thread met.
pub(crate) fn write(
    outputs: &[Output],
    scans: &[Scan],
    threads: usize,
    progress: &Progress,
) -> Result<Done> {
    let create = |output: &Output| {
        ParallelFile::create(&output.path, output.layout.len(), output.layout.gaps())
    };
    let files = outputs.iter().map(create).collect::<Result<Vec<_>>>()?;
    let mut tasks: Vec<Task<'_>> = (0..scans.len()).map(Task::Finish).collect();
    for (output, file) in outputs.iter().zip(&files) {
        for item in output.layout.items() {
            tasks.extend(runs(item).map(|rows| Task::Rows {
                file,
                item,
                sources: sources(item, rows.clone(), scans),
                rows,
            }));
        }
    }
    tasks.sort_by_key(Task::order);
    let hashes = Mutex::new(vec![String::new(); scans.len()]);
    parallel_for(&tasks, threads, |task, buffers| {
        match task {
            Task::Finish(index) => {
                let hash = scans[*index].finish()?;
                hashes.lock().expect("no panic while hashing")[*index] = hash;
            }
            Task::Rows {
                file,
                item,
                rows,
                sources,
            } => {
                for &(scan, to) in sources {
                    scans[scan].advance(to)?;
                }
                let written = write_rows(file, item, rows.clone(), buffers)?;
                progress.add(written);
                file.hash_available()?;
            }
        }
        Ok(())
    })?;
    Ok(Done {
        sources: hashes.into_inner().expect("no panic while hashing"),
        outputs: files
            .iter()
            .map(ParallelFile::finish)
            .collect::<Result<_>>()?,
    })
}

/// The scans that rows need, each with the byte up to which they need it.
fn sources(item: &WeightEntry, rows: Range<usize>, scans: &[Scan]) -> Vec<(usize, u64)> {
    let sources = item.matrix.sources(rows).into_iter();
    sources
        .filter_map(|(file, to)| {
            let scan = scans
                .iter()
                .position(|scan| Arc::ptr_eq(scan.file(), file))?;
            Some((scan, to))
        })
        .collect()
}

/// Does every task on some thread; stops at the first error.
pub(crate) fn parallel_for<T: Sync>(
    tasks: &[T],
    threads: usize,
    work: impl Fn(&T, &mut Buffers) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                let mut buffers = Buffers::default();
                while !stop.load(Ordering::Relaxed) {
                    let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    if let Err(error) = work(task, &mut buffers) {
                        stop.store(true, Ordering::Relaxed);
                        failure
                            .lock()
                            .expect("no panic while failing")
                            .get_or_insert(error);
                    }
                }
            });
        }
    });
    match failure.into_inner().expect("no panic while failing") {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

enum Task<'a> {
    /// Hash what no row needed of a source.
    Finish(usize),
    Rows {
        file: &'a ParallelFile,
        item: &'a WeightEntry,
        rows: Range<usize>,
        sources: Vec<(usize, u64)>,
    },
}

impl Task<'_> {
    /// Sources one after the other, each from front to back.
    fn order(&self) -> (usize, u64) {
        match self {
            Self::Finish(source) => (*source, u64::MAX),
            Self::Rows { sources, .. } => sources.first().copied().unwrap_or_default(),
        }
    }
}

/// What a thread keeps between tasks.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) values: Vec<f32>,
    column: Vec<f32>,
    halves: Vec<f16>,
    bytes: Vec<u8>,
    scales: Vec<f16>,
}

fn runs(item: &WeightEntry) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = item.matrix.rows();
    let run = match item.form {
        Encoding::Columns(..) => TRANSPOSED_RUN,
        Encoding::Rows(..) | Encoding::Blocks { .. } => RUN,
    };
    let step = (run / item.matrix.width()).max(1);
    (0..rows)
        .step_by(step)
        .map(move |first| first..(first + step).min(rows))
}

fn write_rows(
    file: &ParallelFile,
    item: &WeightEntry,
    rows: Range<usize>,
    buffers: &mut Buffers,
) -> Result<u64> {
    item.matrix.read(rows.clone(), &mut buffers.values)?;
    let width = item.matrix.width();
    match item.form {
        Encoding::Rows(element, offset) => {
            let Buffers {
                values,
                halves,
                bytes,
                ..
            } = buffers;
            encode(values, element, halves, bytes);
            let at = offset + (rows.start * width * size_of(element)) as u64;
            file.write(bytes, at)?;
            Ok(bytes.len() as u64)
        }
        Encoding::Columns(element, offset) => {
            let Buffers {
                values,
                column,
                halves,
                bytes,
                ..
            } = buffers;
            let total = item.matrix.rows();
            for k in 0..width {
                column.clear();
                column.extend(values.iter().skip(k).step_by(width));
                encode(column, element, halves, bytes);
                let at = offset + ((k * total + rows.start) * size_of(element)) as u64;
                file.write(bytes, at)?;
            }
            Ok((values.len() * size_of(element)) as u64)
        }
        Encoding::Blocks {
            bits,
            codes,
            scales,
        } => {
            let Buffers {
                values,
                bytes,
                scales: halves,
                ..
            } = buffers;
            bytes.clear();
            halves.clear();
            quantize_rows(item, bits, values, bytes, halves);
            let first = (rows.start * width / BLOCK) as u64;
            file.write(bytes, codes + first * bits.block_bytes() as u64)?;
            let written = bytes.len() + 2 * halves.len();
            bytes.clear();
            bytes.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
            file.write(bytes, scales + first * 2)?;
            Ok(written as u64)
        }
    }
}

/// Codes and scales of whole rows of an item, appended.
pub(crate) fn quantize_rows(
    item: &WeightEntry,
    bits: Bits,
    values: &[f32],
    codes: &mut Vec<u8>,
    scales: &mut Vec<f16>,
) {
    let importance = item.importance.as_deref().map(Vec::as_slice);
    let width = item.matrix.width();
    quantize_mse(
        Isa::detect(),
        bits,
        width,
        values,
        importance,
        codes,
        scales,
    )
    .expect("only whole rows of whole blocks are quantised");
}

const fn size_of(element: ElementType) -> usize {
    match element {
        ElementType::F32 => 4,
        ElementType::F16 => 2,
    }
}

fn encode(values: &[f32], element: ElementType, halves: &mut Vec<f16>, bytes: &mut Vec<u8>) {
    bytes.clear();
    match element {
        ElementType::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        ElementType::F16 => {
            halves.resize(values.len(), f16::ZERO);
            halves.convert_from_f32_slice(values);
            bytes.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        }
    }
}
