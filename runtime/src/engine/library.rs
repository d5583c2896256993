//! Finding and loading the ONNX Runtime library.
//!
//! One library serves the whole process. A missing, too old or broken one is an
//! error at once; one that hangs while it loads is given up.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ort::environment::Environment;

use super::error::{LibraryError, LibraryOrigin};
use crate::error::Cause;

/// A library that has not loaded by then will not. The file is read beforehand, so
/// a slow disk does not count; nor does time in which other programs had the processor.
const LOAD_TIMEOUT: Duration = Duration::from_millis(800);

/// How often the loading thread is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Set once a library has hung: its thread holds the loader's lock for good.
static HANGS: AtomicBool = AtomicBool::new(false);

/// Whether a library hung while it was loaded. The system's loader is then locked,
/// and a process that exits in the ordinary way would wait for it for ever: a program
/// that sees this ends itself with `_exit`, which runs nothing more of the library.
pub fn library_hangs() -> bool {
    HANGS.load(Ordering::Relaxed)
}

/// Finds and loads the ONNX Runtime library: the one asked for, that of
/// `ORT_DYLIB_PATH`, or the first in the usual places. Returns its path.
///
/// # Errors
/// [`LibraryError`] when there is none, or it cannot be used.
pub fn load_library(asked: Option<&Path>) -> Result<PathBuf, LibraryError> {
    load(asked).map(|library| library.path)
}

/// A loaded library.
#[derive(Clone)]
pub(super) struct Library {
    pub(super) path: PathBuf,
    pub(super) version: String,
    pub(super) environment: Environment,
}

static LOADED: Mutex<Option<Library>> = Mutex::new(None);

/// The library that a call of [`load`] would try: the one asked for, the one of
/// `ORT_DYLIB_PATH`, or the first in the usual places.
pub(crate) fn find(asked: Option<&Path>) -> Result<PathBuf, LibraryError> {
    let named = asked
        .map(|path| (path.to_owned(), LibraryOrigin::Options))
        .or_else(|| {
            let path = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty())?;
            Some((PathBuf::from(path), LibraryOrigin::Environment))
        });
    if let Some((path, origin)) = named {
        let file = if path.is_dir() {
            in_directory(&path)
        } else {
            Some(path.clone())
        };
        return match file {
            Some(file) if file.is_file() => Ok(file),
            _ if path.is_dir() => Err(LibraryError::NotInDirectory { origin, path }),
            _ => Err(LibraryError::NotThere { origin, path }),
        };
    }
    usual_places()
        .iter()
        .find_map(|directory| in_directory(directory))
        .ok_or(LibraryError::NotFound)
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(directory) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        places.push(directory.to_owned());
        places.push(directory.join("../lib"));
    }
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        places.extend(std::env::split_paths(&paths));
    }
    let architecture = std::env::consts::ARCH;
    places.extend([
        PathBuf::from("/usr/local/lib"),
        PathBuf::from("/usr/lib"),
        PathBuf::from(format!("/usr/lib/{architecture}-linux-gnu")),
        PathBuf::from("/usr/lib64"),
        PathBuf::from("/opt/onnxruntime/lib"),
    ]);
    places
}

/// `libonnxruntime.so`, or the highest `libonnxruntime.so.*`.
fn in_directory(directory: &Path) -> Option<PathBuf> {
    let plain = directory.join("libonnxruntime.so");
    if plain.is_file() {
        return Some(plain);
    }
    let mut versioned: Vec<PathBuf> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("libonnxruntime.so.") && path.is_file()
        })
        .collect();
    versioned.sort_by_key(|path| numbers(path));
    versioned.pop()
}

/// The numbers in a file name: 1.9 comes before 1.24.
fn numbers(path: &Path) -> Vec<u32> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Loads the library, or returns the one that is loaded.
pub(super) fn load(asked: Option<&Path>) -> Result<Library, LibraryError> {
    let path = find(asked)?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = loaded.as_ref() {
        if same_file(&library.path, &path) {
            return Ok(library.clone());
        }
        return Err(LibraryError::OtherLoaded {
            loaded: library.path.clone(),
            asked: path,
        });
    }
    check_header(&path)?;
    let environment = initialise(&path)?;
    let library = Library {
        version: version(&path),
        path,
        environment,
    };
    *loaded = Some(library.clone());
    Ok(library)
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Tells a file that is no library, is cut short, or is for another processor, without
/// running any of it. Loading one that is cut short would end this process.
fn check_header(path: &Path) -> Result<(), LibraryError> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let problem = match std::fs::File::open(path).and_then(|file| problem_of(&file)) {
        Ok(None) => return Ok(()),
        Ok(Some(problem)) => problem,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => NO_LIBRARY.to_owned(),
        Err(source) => {
            let path = path.to_owned();
            return Err(LibraryError::Unreadable { path, source });
        }
    };
    Err(LibraryError::Unusable {
        path: path.to_owned(),
        problem,
    })
}

const NO_LIBRARY: &str = "not a shared library";

/// What keeps a file from being loaded, as far as its ELF headers tell.
fn problem_of(mut file: &std::fs::File) -> io::Result<Option<String>> {
    let mut header = [0u8; 64];
    file.read_exact(&mut header)?;
    if header[..4] != *b"\x7fELF" {
        return Ok(Some(NO_LIBRARY.to_owned()));
    }
    let architecture = std::env::consts::ARCH;
    let expected = match architecture {
        "x86_64" => 62,
        "aarch64" => 183,
        _ => return Ok(None),
    };
    let short = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |bytes: &[u8], at: usize| {
        (0..8).rfold(0u64, |value, byte| value << 8 | u64::from(bytes[at + byte]))
    };
    if short(&header, 18) != expected {
        return Ok(Some(format!(
            "built for another processor than {architecture}"
        )));
    }
    if usize::from(short(&header, 54)) != SEGMENT_HEADER {
        return Ok(Some(NO_LIBRARY.to_owned()));
    }
    let mut table = vec![0u8; SEGMENT_HEADER * usize::from(short(&header, 56))];
    file.seek(io::SeekFrom::Start(long(&header, 32)))?;
    file.read_exact(&mut table)?;
    let ends = table
        .chunks_exact(SEGMENT_HEADER)
        .filter(|segment| segment[..4] == LOADED_SEGMENT.to_le_bytes())
        .map(|segment| long(segment, 8).saturating_add(long(segment, 32)));
    let (length, needed) = (file.metadata()?.len(), ends.max().unwrap_or(0));
    Ok((length < needed).then(|| format!("cut short, {length} bytes of at least {needed}")))
}

/// Bytes that describe one segment.
const SEGMENT_HEADER: usize = 56;

/// The kind of a segment that is mapped into memory.
const LOADED_SEGMENT: u32 = 1;

/// Loads on a thread of its own, so that a library that hangs cannot hang us.
fn initialise(path: &Path) -> Result<Environment, LibraryError> {
    if library_hangs() {
        return Err(LibraryError::HungBefore);
    }
    // Into the page cache; what cannot be read is told by the loader.
    let _ = std::fs::read(path).map(|content| content.len());
    // No channel: waiting on one may need the loader's lock, which a library that
    // hangs never gives back.
    let loading = Arc::new(Loading::default());
    let (shared, target) = (Arc::clone(&loading), path.to_owned());
    let started = Instant::now();
    let spawned = std::thread::Builder::new()
        .name("load-ort".to_owned())
        .spawn(move || {
            if let Ok(account) = std::fs::read_link("/proc/thread-self") {
                let _ = shared
                    .account
                    .set(Path::new("/proc").join(account).join("schedstat"));
            }
            let result = ort::init_from(&target)
                .map_err(Cause::from)
                .and_then(|builder| builder.with_telemetry(false).build().map_err(Cause::from));
            // Nobody may be waiting any more.
            shared.put(result);
        });
    let thread = spawned.map_err(|source| LibraryError::Thread {
        path: path.to_owned(),
        source,
    })?;
    loop {
        // Looked at before the result: a thread that has ended has left what it had.
        let ended = thread.is_finished();
        match loading.take() {
            Some(Ok(environment)) => return Ok(environment),
            Some(Err(source)) => return Err(LibraryError::Refused { source }),
            None if ended => {
                return Err(LibraryError::BrokeOff {
                    path: path.to_owned(),
                });
            }
            None if started.elapsed() >= LOAD_TIMEOUT + loading.queued() => {
                HANGS.store(true, Ordering::Relaxed);
                return Err(LibraryError::Hangs {
                    path: path.to_owned(),
                });
            }
            None => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

/// What a loading thread leaves for the one that waits.
#[derive(Default)]
struct Loading {
    result: Mutex<Option<Result<Environment, Cause>>>,
    /// Where the system keeps account of the thread; elsewhere there is none.
    account: OnceLock<PathBuf>,
}

impl Loading {
    fn put(&self, result: Result<Environment, Cause>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    fn take(&self) -> Option<Result<Environment, Cause>> {
        self.result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// How long the thread was ready to run and did not get the processor.
    fn queued(&self) -> Duration {
        let text = self
            .account
            .get()
            .and_then(|account| std::fs::read_to_string(account).ok());
        let nanoseconds = text.and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
        Duration::from_nanos(nanoseconds.unwrap_or(0))
    }
}

/// From the file name where it tells, from the build information otherwise.
fn version(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match name.split_once(".so.") {
        Some((_, version)) => version.to_owned(),
        None => ort::info().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        let started = Instant::now();
        let error = load(Some(path))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(1));
        error
    }

    #[test]
    fn a_missing_or_broken_library_is_an_error_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("libonnxruntime.so");
        assert!(refusal(&path).contains("not there"));
        std::fs::write(&path, b"").unwrap();
        assert!(refusal(&path).contains("install it again"));
        std::fs::write(&path, b"this is text and not a library").unwrap();
        assert!(refusal(&path).contains("not a shared library"));
        let mut foreign = b"\x7fELF".to_vec();
        foreign.resize(64, 0);
        std::fs::write(&path, &foreign).unwrap();
        assert!(refusal(&path).contains("another processor"));
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [70, 5000, whole.len() / 2] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = refusal(&path);
            assert!(error.contains("install it again"), "{length}: {error}");
        }
        assert!(refusal(&path).contains("cut short"));
        std::fs::remove_file(&path).unwrap();
        assert!(refusal(directory.path()).contains("where no libonnxruntime.so is"));
    }

    #[test]
    fn the_highest_version_in_a_directory_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.24.0",
            "libonnxruntime.so.1.31.1",
            "libother.so",
        ] {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        let found = find(Some(directory.path())).unwrap();
        assert!(found.ends_with("libonnxruntime.so.1.31.1"));
    }
}
