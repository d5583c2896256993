//! What a bundle needs in memory, and what the machine has.

use deltavlm_bundle::{Manifest, Precision, Segment};

use crate::prompt::batches;
use crate::{Error, Options};

/// Tokens of the longest answer within a grammar: all cells of both classes take 44.
const ANSWER: usize = 64;

/// What loading and using a bundle takes at most, in bytes, up to a survey and to a
/// question of full length. Every further beam takes its own cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Weights, with what the engine copies of them.
    pub weights: u64,
    /// KV cache of the largest batch.
    pub cache: u64,
    /// Activations of the widest segment, the program and the engine.
    pub activations: u64,
}

impl MemoryEstimate {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.activations
    }

    /// `copies`: whether the engine packs weights anew instead of using them in
    /// their file, as ONNX Runtime does.
    pub(crate) fn of(manifest: &Manifest, copies: bool) -> Self {
        let bytes_of = |name: &str| {
            let record = manifest.files.iter().find(|file| file.path == name);
            record.map_or(0, |file| file.bytes)
        };
        let mut weights = bytes_of(&manifest.embedding.file);
        for record in manifest.segments.values() {
            // In quarters. Measured with ONNX Runtime 1.31: 1.1 for f32, whose file it
            // lets go; 1.7 to 2 for quantised weights; f16 becomes f32.
            let held = match record.precision {
                _ if !copies => 4,
                Precision::F32 => 5,
                Precision::F16 => 12,
                _ => 8,
            };
            weights += held * bytes_of(&record.weights) / 4;
        }
        let (vision, llm) = (&manifest.model.vision, &manifest.model.llm);
        let queries = manifest.model.qformer.queries;
        let question = queries + manifest.model.qformer.max_text_tokens;
        let prompts: Vec<usize> = manifest
            .instructions
            .iter()
            .map(|record| queries + record.llm_ids.len())
            .collect();
        // Rows of each batch of a survey, and the longest of them.
        let batches: Vec<(usize, usize)> = batches(&prompts)
            .iter()
            .map(|batch| {
                (
                    batch.len(),
                    batch.last().map_or(0, |&longest| prompts[longest]),
                )
            })
            .collect();
        let survey = |more: usize| {
            let positions = batches.iter().map(|&(rows, prompt)| rows * (prompt + more));
            positions.fold(0, usize::max)
        };
        let kept = survey(ANSWER).max(question + manifest.generation.max_new_tokens);
        let read = survey(0).max(question);
        // Keys and values, each as it was and as it grows.
        let cache = 2 * 2 * llm.layers * llm.kv_heads * llm.head_dim * kept * 4;
        let vision_row = 6 * vision.width + 2 * vision.mlp_width + vision.heads * vision.tokens;
        let llm_row = 6 * llm.width + 2 * llm.mlp_width + llm.heads * question;
        let activations = 4 * (vision.tokens * vision_row).max(read * llm_row);
        // Measured with a bundle of next to no weights.
        let program = if copies { 72 << 20 } else { 32 << 20 };
        Self {
            weights,
            cache: cache as u64,
            activations: activations as u64 + program,
        }
    }

    /// Fails when the machine has less than this.
    pub(crate) fn check(&self, manifest: &Manifest, options: &Options) -> Result<(), Error> {
        let Some(available) = available_bytes() else {
            return Ok(());
        };
        if self.total() <= available || options.ignore_memory {
            return Ok(());
        }
        let coarsest = manifest
            .segments
            .get(&Segment::Decoder)
            .map(|record| record.precision);
        let in_place = Self::of(manifest, false).total();
        let remedy = match coarsest {
            _ if in_place < self.total() && in_place <= available => {
                "use `--engine tract`, which takes the weights as they lie in their files"
            }
            Some(Precision::F32 | Precision::F16) => {
                "export the bundle with `--precision int8` or `int4`"
            }
            Some(Precision::Int8) => "export the bundle with `--precision int4`",
            _ => "use a smaller model or a machine with more memory",
        };
        Err(Error::Memory {
            what: format!("bundle {}", manifest.id),
            needed_mib: self.total() >> 20,
            available_mib: available >> 20,
            remedy: remedy.to_owned(),
        })
    }
}

/// Memory that this process can still get: the least of what the machine, its
/// control group and its address-space limit leave. `None` where none of them can
/// be read.
pub fn available_bytes() -> Option<u64> {
    [machine(), control_group(), address_space()]
        .into_iter()
        .flatten()
        .min()
}

/// The most memory that this process has had in use, file-backed pages included.
pub fn peak_rss_bytes() -> Option<u64> {
    status_field("VmHWM:")
}

/// Memory that this process has in use, file-backed pages included.
pub fn resident_bytes() -> Option<u64> {
    status_field("VmRSS:")
}

fn machine() -> Option<u64> {
    field(
        &std::fs::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )
}

/// Version 2 below /sys/fs/cgroup, or version 1; page cache counts as free.
fn control_group() -> Option<u64> {
    let number = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = group
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let mut least: Option<u64> = None;
    // Every ancestor may set a limit.
    let mut path = own.trim_end_matches('/');
    loop {
        let directory = format!("/sys/fs/cgroup{path}");
        if let Some(limit) = number(&format!("{directory}/memory.max")) {
            let used = number(&format!("{directory}/memory.current")).unwrap_or(0);
            let stat =
                std::fs::read_to_string(format!("{directory}/memory.stat")).unwrap_or_default();
            let cache = stat_field(&stat, "inactive_file") + stat_field(&stat, "active_file");
            let left = limit.saturating_sub(used.saturating_sub(cache));
            least = Some(least.map_or(left, |least| least.min(left)));
        }
        match path.rfind('/') {
            Some(at) => path = &path[..at],
            None => break,
        }
    }
    least.or_else(|| {
        let directory = "/sys/fs/cgroup/memory";
        let limit = number(&format!("{directory}/memory.limit_in_bytes"))?;
        let used = number(&format!("{directory}/memory.usage_in_bytes"))?;
        let stat = std::fs::read_to_string(format!("{directory}/memory.stat")).unwrap_or_default();
        Some(limit.saturating_sub(used.saturating_sub(stat_field(&stat, "total_cache"))))
    })
}

fn address_space() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max address space"))?;
    let limit: u64 = line["Max address space".len()..]
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(limit.saturating_sub(status_field("VmSize:")?))
}

fn status_field(name: &str) -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

/// A line `Name:   1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A line `name 1234`; 0 when absent.
fn stat_field(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read_in_their_units() {
        assert_eq!(
            field("MemFree: 3 kB\nMemAvailable:   12 kB\n", "MemAvailable:"),
            Some(12 * 1024)
        );
        assert_eq!(field("nothing", "MemAvailable:"), None);
        assert_eq!(
            stat_field("active_file 5\ninactive_file 7\n", "inactive_file"),
            7
        );
        assert_eq!(stat_field("", "inactive_file"), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_size() {
        assert!(resident_bytes().unwrap() > 100 << 10);
        assert!(peak_rss_bytes().unwrap() >= resident_bytes().unwrap() / 2);
        assert!(available_bytes().unwrap() > 1 << 20);
    }
}
