//! Comparing a configuration with the machine: what is there, what can be written, what opens.

use super::{Config, Draft, LinkConfig, ModelConfig, Problem, SpoolConfig, WatchConfig};
use crate::ModelAnalyzer;
use deltavlm_node::{Address, SharedKey};
use std::{fs, path::Path};

/// Everything that is wrong with a configuration file, on its own and on this machine.
///
/// It opens the model, which proves that every file of the bundle is whole and that an
/// engine runs it; for a large bundle this takes as long as a start of the program. What
/// one section lacks does not keep the others from being checked.
#[must_use]
pub fn check_file(path: &Path) -> Vec<Problem> {
    let mut draft = Draft::read(path);
    let mut problems = std::mem::take(&mut draft.problems);
    draft
        .watch
        .iter()
        .for_each(|watch| self::watch(watch, &mut problems));
    draft
        .spool
        .iter()
        .for_each(|spool| self::spool(spool, &mut problems));
    draft
        .link
        .iter()
        .for_each(|link| self::link(link, &mut problems));
    draft
        .model
        .iter()
        .for_each(|model| self::model(model, &mut problems));
    problems
}

/// Everything on this machine that does not fit the configuration.
#[must_use]
pub fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    watch(&config.watch, &mut problems);
    spool(&config.spool, &mut problems);
    link(&config.link, &mut problems);
    model(&config.model, &mut problems);
    problems
}

fn watch(config: &WatchConfig, problems: &mut Vec<Problem>) {
    for (place, pattern) in [
        ("watch.before", &config.before),
        ("watch.after", &config.after),
    ] {
        if let Err(error) = fs::read_dir(&pattern.dir) {
            let message = format!("{}: {error}; create the folder", pattern.dir.display());
            problems.push(Problem::error(place, message));
        }
    }
}

fn spool(config: &SpoolConfig, problems: &mut Vec<Problem>) {
    if let Err(error) = writable(&config.dir) {
        let dir = config.dir.display();
        let message = format!("{dir}: {error}; name a directory that this user can write");
        problems.push(Problem::error("spool.dir", message));
    }
}

fn model(config: &ModelConfig, problems: &mut Vec<Problem>) {
    let library = config.ort_library.as_ref();
    if let Some(library) = library.filter(|library| !library.exists()) {
        let library = library.display();
        let message = format!("{library}: no such file; install ONNX Runtime or drop the key");
        problems.push(Problem::error("model.ort_library", message));
    }
    if let Err(error) = ModelAnalyzer::open(config) {
        problems.push(Problem::error("model.bundle", error.message));
    }
}

fn link(config: &LinkConfig, problems: &mut Vec<Problem>) {
    match &config.key {
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
    if let Address::Serial { path, .. } = &config.address
        && !path.exists()
    {
        let path = path.display();
        let message = format!("{path}: no such device at present; it is tried again while running");
        problems.push(Problem::warning("link.address", message));
    }
    let carries = config.address.bytes_per_second();
    if let Some(carries) = carries.filter(|&carries| carries < config.rate) {
        let message = format!(
            "{} bytes/s is more than the {carries} that the device carries; \
             alerts would wait in its buffer behind less urgent messages",
            config.rate
        );
        problems.push(Problem::warning("link.bytes_per_s", message));
    }
}

/// Tries what the program will do: make the directory, write, synchronise, remove.
fn writable(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let probe = dir.join("write-check");
    deltavlm_node::atomic_file::replace(&probe, b"can this directory be written?")?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_does_not_hide_a_missing_folder_or_an_unwritable_spool() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.toml");
        std::fs::write(
            &path,
            r#"
            [model]
            bundle = "none"
            colour = "red"
            [watch]
            before = "b"
            after = "a"
            [link]
            address = "usb:0"
            [spool]
            dir = "/proc/none"
            "#,
        )
        .unwrap();
        let problems = check_file(&path);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for expected in [
            "model.colour: unknown key",
            "model.bundle: ",
            "watch.before: ",
            "watch.after: ",
            "link.address: ",
            "spool.dir: ",
        ] {
            assert!(
                said.iter().any(|line| line.contains(expected)),
                "{expected} in {said:#?}"
            );
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }
}
