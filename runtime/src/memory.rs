//! What a bundle needs in memory, and what the machine has.

use std::path::Path;

use deltavlm_bundle::{Manifest, Precision, Segment};

use crate::error::{Error, MemoryRemedy};
use crate::options::Options;
use crate::prompt::batches;

/// Tokens of the longest answer within a grammar: all cells of both classes take 44.
const MAX_ANSWER_TOKENS: usize = 64;

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
            // lets go; 1.35 to 1.55 for quantised weights; f16 becomes f32.
            let held = match record.precision {
                _ if !copies => 4,
                Precision::F32 => 5,
                Precision::F16 => 12,
                _ => 7,
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
        let kept = survey(MAX_ANSWER_TOKENS).max(question + manifest.generation.max_new_tokens);
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
            _ if in_place < self.total() && in_place <= available => MemoryRemedy::UseTract,
            Some(Precision::F32 | Precision::F16) => MemoryRemedy::QuantizeWeights,
            Some(Precision::Int8) => MemoryRemedy::FourBits,
            _ => MemoryRemedy::SmallerModel,
        };
        Err(Error::Memory {
            what: format!("bundle {}", manifest.id),
            needed_mib: self.total() >> 20,
            available_mib: available >> 20,
            remedy,
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

fn control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    control_groups(Path::new("/sys/fs/cgroup"), &groups)
}

/// The names that one version of control groups gives to its numbers.
struct Names {
    limit: &'static str,
    used: &'static str,
    /// Page cache, which counts as free.
    cache: [&'static str; 2],
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
};

const VERSION_2: Names = Names {
    limit: "memory.max",
    used: "memory.current",
    cache: ["inactive_file", "active_file"],
};

/// `groups`: lines `number:controllers:path`; version 2 has neither number nor
/// controllers.
fn control_groups(root: &Path, groups: &str) -> Option<u64> {
    let memory = root.join("memory");
    let left = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        if controllers.is_empty() {
            least_left(root, path, &VERSION_2)
        } else if controllers.split(',').any(|name| name == "memory") {
            least_left(&memory, path, &VERSION_1)
        } else {
            None
        }
    });
    left.min()
}

/// Every ancestor of a group may set a limit.
fn least_left(root: &Path, group: &str, names: &Names) -> Option<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    let left = group.ancestors().filter_map(|group| {
        let directory = root.join(group);
        let number = |name| {
            let text = std::fs::read_to_string(directory.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let limit = number(names.limit)?;
        let stat = std::fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let cache: u64 = names.cache.iter().map(|name| stat_field(&stat, name)).sum();
        let used = number(names.used).unwrap_or(0).saturating_sub(cache);
        Some(limit.saturating_sub(used))
    });
    left.min()
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

    #[test]
    fn the_least_of_a_group_and_its_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        let left = |groups: &str| control_groups(root.path(), groups);
        assert_eq!(left("0::/a/b\n"), None);
        write("a/b/memory.max", "1000\n");
        assert_eq!(left("0::/a/b\n"), Some(1000));
        write("a/memory.max", "900\n");
        write("a/memory.current", "300\n");
        write(
            "a/memory.stat",
            "anon 200\ninactive_file 40\nactive_file 60\n",
        );
        assert_eq!(left("0::/a/b\n"), Some(700));
        write("a/b/memory.max", "max\n");
        assert_eq!(left("0::/a/b\n"), Some(700));
        assert_eq!(left("0::/\n"), None);

        write("memory/c/memory.limit_in_bytes", "500\n");
        write("memory/c/memory.usage_in_bytes", "200\n");
        write("memory/c/memory.stat", "cache 90\ntotal_inactive_file 50\n");
        assert_eq!(left("3:cpu:/a\n4:memory:/c/d\n"), Some(350));
        assert_eq!(left("4:memory,blkio:/c/d\n0::/a\n"), Some(350));
        // Inside a container the path may be that of the host.
        write("memory/memory.limit_in_bytes", "800\n");
        assert_eq!(left("4:memory:/machine/x\n"), Some(800));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_size() {
        assert!(resident_bytes().unwrap() > 100 << 10);
        assert!(peak_rss_bytes().unwrap() >= resident_bytes().unwrap() / 2);
        assert!(available_bytes().unwrap() > 1 << 20);
    }
}
