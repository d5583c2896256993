//! Comparing a configuration with the machine: what is there, what can be written, what opens.

use super::{Config, Problem};
use crate::ModelAnalyst;
use deltavlm_carrier::{Address, SharedKey};
use std::{fs, path::Path};

/// Everything on this machine that does not fit the configuration.
///
/// It opens the model, which proves that every file of the bundle is whole and that an
/// engine runs it; for a large bundle this takes as long as a start of the program.
#[must_use]
pub fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, pattern) in [
        ("watch.before", &config.watch.before),
        ("watch.after", &config.watch.after),
    ] {
        if let Err(error) = fs::read_dir(&pattern.dir) {
            let message = format!("{}: {error}; create the folder", pattern.dir.display());
            problems.push(Problem::error(place, message));
        }
    }
    if let Err(error) = writable(&config.spool.dir) {
        let message = format!(
            "{}: {error}; name a directory that this user can write",
            config.spool.dir.display()
        );
        problems.push(Problem::error("spool.dir", message));
    }
    link(config, &mut problems);
    if let Some(library) = config
        .model
        .ort_library
        .as_ref()
        .filter(|library| !library.is_file())
    {
        let message = format!(
            "{}: no such file; install ONNX Runtime or drop the key",
            library.display()
        );
        problems.push(Problem::error("model.ort_library", message));
    }
    if let Err(trouble) = ModelAnalyst::open(&config.model) {
        problems.push(Problem::error("model.bundle", trouble.message));
    }
    problems
}

fn link(config: &Config, problems: &mut Vec<Problem>) {
    match &config.link.key {
        Some(path) => {
            if let Err(error) = SharedKey::read(path) {
                problems.push(Problem::error("link.key", error.to_string()));
            }
        }
        None => problems.push(Problem::warning(
            "link.key",
            "there is none, so anyone in radio range can ask and configure; \
             make one with `dvlm-ground keygen --out FILE` and give it to both ends",
        )),
    }
    if let Address::Serial { path, .. } = &config.link.address {
        if !path.exists() {
            let message = format!(
                "{}: no such device at present; it is tried again while running",
                path.display()
            );
            problems.push(Problem::warning("link.address", message));
        }
    }
    let carries = config.link.address.bytes_per_second();
    if let Some(carries) = carries.filter(|&carries| carries < config.link.rate) {
        let message = format!(
            "{} bytes/s is more than the {carries} that the device carries; \
             alerts would wait in its buffer behind less urgent messages",
            config.link.rate
        );
        problems.push(Problem::warning("link.bytes_per_s", message));
    }
}

/// Tries what the program will do: make the directory, write, synchronise, remove.
fn writable(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let probe = dir.join("write-check");
    crate::disk::replace(&probe, b"can this directory be written?")?;
    fs::remove_file(&probe)
}
