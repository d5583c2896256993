//! Features of before-pictures, kept in memory and on disk.
//!
//! A place is looked at again and again; its before-picture need not be encoded
//! each time. Features are kept in half precision, keyed by the picture and the
//! bundle. On disk an entry is written beside and renamed, and carries its own
//! hash: after a power cut there is the entry or there is none, and a damaged one
//! is deleted and computed again. A cache never fails an ask: what goes wrong on
//! disk is logged and the features are computed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use deltavlm_imaging::Image;
use half::f16;
use sha2::{Digest, Sha256};

use crate::options::CacheOptions;

const MAGIC: &[u8; 8] = b"DVLMFEA1";
const EXTENSION: &str = "features";

pub(crate) type Key = [u8; 32];

#[derive(Debug)]
pub(crate) struct FeatureCache {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    clock: u64,
    options: CacheOptions,
}

#[derive(Debug)]
struct Entry {
    features: Vec<f16>,
    used: u64,
}

impl FeatureCache {
    pub(crate) fn new(options: &CacheOptions) -> Self {
        let mut options = options.clone();
        if let Some(directory) = &options.directory
            && let Err(error) = fs::create_dir_all(directory)
        {
            log::warn!(
                "{}: {error}; features are not kept on disk",
                directory.display()
            );
            options.directory = None;
        }
        Self {
            entries: HashMap::new(),
            bytes: 0,
            clock: 0,
            options,
        }
    }

    /// Whether anything is kept at all. Features then pass through half precision
    /// even when they are fresh, so that an answer does not depend on the cache.
    pub(crate) fn is_on(&self) -> bool {
        self.options.memory_bytes > 0 || self.options.directory.is_some()
    }

    /// Equal pixels under one bundle have one key, whatever file they came from.
    pub(crate) fn key(image: &Image, bundle: &[u8; 32]) -> Key {
        let mut pixels = Sha256::new();
        let (width, height) = image.size();
        pixels.update(width.to_le_bytes());
        pixels.update(height.to_le_bytes());
        pixels.update(image.rgb());
        let mut hasher = Sha256::new();
        hasher.update(pixels.finalize());
        hasher.update(bundle);
        hasher.finalize().into()
    }

    /// The features under a key, if there are as many as expected.
    pub(crate) fn get(&mut self, key: &Key, values: usize) -> Option<Vec<f32>> {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.used = self.clock;
            return (entry.features.len() == values).then(|| widen(&entry.features));
        }
        let directory = self.options.directory.clone()?;
        let path = file_of(&directory, key);
        match read(&path, key) {
            Ok(features) if features.len() == values => {
                let wide = widen(&features);
                self.keep(*key, features);
                Some(wide)
            }
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!(
                    "{}: {error}; the features are computed again",
                    path.display()
                );
                // A file that cannot be deleted is overwritten below.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    pub(crate) fn put(&mut self, key: Key, features: &[f32]) {
        let narrow: Vec<f16> = features.iter().copied().map(f16::from_f32).collect();
        if let Some(directory) = &self.options.directory
            && let Err(error) = write(directory, &key, &narrow)
                .and_then(|()| trim(directory, self.options.disk_bytes))
        {
            log::warn!("{}: {error}; features were not kept", directory.display());
        }
        self.keep(key, narrow);
    }

    /// Keeps an entry in memory and lets go of the least recently used ones.
    fn keep(&mut self, key: Key, features: Vec<f16>) {
        let size = features.len() * 2;
        if size > self.options.memory_bytes {
            return;
        }
        self.clock += 1;
        let used = self.clock;
        if let Some(old) = self.entries.insert(key, Entry { features, used }) {
            self.bytes -= old.features.len() * 2;
        }
        self.bytes += size;
        while self.bytes > self.options.memory_bytes {
            let Some(oldest) = self
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(key, _)| *key)
            else {
                break;
            };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes -= entry.features.len() * 2;
            }
        }
    }
}

/// Rounds features as keeping them in the cache does.
pub(crate) fn round_to_f16(features: &mut [f32]) {
    for value in features {
        *value = f16::from_f32(*value).to_f32();
    }
}

fn widen(features: &[f16]) -> Vec<f32> {
    features.iter().map(|value| value.to_f32()).collect()
}

fn file_of(directory: &Path, key: &Key) -> PathBuf {
    let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    directory.join(name).with_extension(EXTENSION)
}

/// Magic, key, hash over the values, values.
fn write(directory: &Path, key: &Key, features: &[f16]) -> io::Result<()> {
    let values: &[u8] = bytemuck::cast_slice(features);
    let mut content = Vec::with_capacity(72 + values.len());
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(key);
    content.extend_from_slice(&Sha256::digest(values));
    content.extend_from_slice(values);
    let path = file_of(directory, key);
    let scratch = path.with_extension(format!("{}.tmp", std::process::id()));
    let file = fs::File::create(&scratch)?;
    io::Write::write_all(&mut &file, &content)?;
    file.sync_data()?;
    fs::rename(&scratch, &path)
}

fn read(path: &Path, key: &Key) -> io::Result<Vec<f16>> {
    let content = fs::read(path)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged entry");
    let (head, values) = content.split_at_checked(72).ok_or_else(damaged)?;
    let whole = head[..8] == *MAGIC
        && head[8..40] == *key
        && head[40..] == *Sha256::digest(values)
        && values.len().is_multiple_of(2);
    if !whole {
        return Err(damaged());
    }
    // Touched, so that it is not the first to go.
    if let Ok(file) = fs::File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
    Ok(values
        .chunks_exact(2)
        .map(|b| f16::from_le_bytes([b[0], b[1]]))
        .collect())
}

/// Deletes the least recently used entries, and what a crash left half-written.
fn trim(directory: &Path, limit: u64) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let metadata = entry.metadata()?;
        let modified = metadata.modified()?;
        if extension == EXTENSION {
            entries.push((modified, metadata.len(), path));
        } else if extension == "tmp" && modified.elapsed().is_ok_and(|age| age.as_secs() > 3600) {
            fs::remove_file(path)?;
        }
    }
    let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    entries.sort();
    for (_, size, path) in entries {
        if bytes <= limit {
            break;
        }
        fs::remove_file(path)?;
        bytes -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(directory: Option<&Path>, memory: usize, disk: u64) -> CacheOptions {
        CacheOptions {
            memory_bytes: memory,
            directory: directory.map(Path::to_owned),
            disk_bytes: disk,
        }
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_least_recently_used() {
        let mut cache = FeatureCache::new(&options(None, 8, 0));
        cache.put([1; 32], &[1.0, 2.0]);
        cache.put([2; 32], &[3.0, 4.0]);
        assert_eq!(cache.get(&[1; 32], 2), Some(vec![1.0, 2.0]));
        cache.put([3; 32], &[5.0, 6.0]);
        assert_eq!(cache.get(&[2; 32], 2), None);
        assert_eq!(cache.get(&[1; 32], 2), Some(vec![1.0, 2.0]));
        assert_eq!(cache.bytes, 8);
    }

    #[test]
    fn entries_survive_a_restart_and_the_disk_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        for index in 0..10u8 {
            let mut cache = FeatureCache::new(&options(Some(directory.path()), 0, 3 * 76));
            cache.put([index; 32], &[f32::from(index), 0.5]);
            assert_eq!(
                cache.get(&[index; 32], 2),
                Some(vec![f32::from(index), 0.5])
            );
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    /// A power cut can leave any prefix of a file, and flash can flip a bit.
    #[test]
    fn a_damaged_entry_is_deleted_and_never_used() {
        let directory = tempfile::tempdir().unwrap();
        let key = [7; 32];
        let path = file_of(directory.path(), &key);
        let fresh = || FeatureCache::new(&options(Some(directory.path()), 0, 1 << 20));
        fresh().put(key, &[1.0, 2.0, 3.0]);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(fresh().get(&key, 3), None, "{length}");
            assert!(!path.exists());
        }
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            assert_eq!(fresh().get(&key, 3), None, "{position}");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(fresh().get(&key, 3), Some(vec![1.0, 2.0, 3.0]));
    }
}
