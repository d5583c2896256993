//! Comparing a configuration with the machine: what is there, what can be written, what opens.

use super::{Config, Draft, LinkConfig, ModelConfig, Problem, SpoolConfig, WatchConfig};
use crate::ModelAnalyzer;
use deltavlm_node::{
    Address, SharedKey,
    store::{Store, StoreError},
};
use std::{fs, io, path::Path};

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
        return;
    }
    let path = config.dir.join("store");
    if !path.exists() {
        return;
    }
    match Store::check(&path) {
        Ok(()) => {}
        Err(error) if error.is_damage() => {
            let message =
                format!("{error}; what can be read of it is kept when the program starts");
            problems.push(Problem::warning("spool.dir", message));
        }
        Err(StoreError::InUse { .. }) => {
            let message = format!("{}: a program that runs uses it", path.display());
            problems.push(Problem::warning("spool.dir", message));
        }
        Err(error) => problems.push(Problem::error("spool.dir", error.to_string())),
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
    if let Err(error) = config.address.open() {
        problems.push(unopened(&config.address, &error));
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

/// What it means that a carrier cannot be opened at present.
fn unopened(address: &Address, error: &io::Error) -> Problem {
    let absent = match address {
        // The peer may start later, and a name may have no address before the network is up.
        Address::Tcp(_) | Address::Udp(_) => true,
        _ => error.kind() == io::ErrorKind::NotFound,
    };
    if absent {
        let message = format!("{address}: {error}; it is tried again while running");
        return Problem::warning("link.address", message);
    }
    let remedy = match error.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::AddrInUse => {
            "stop the program that uses it, which may be this one"
        }
        io::ErrorKind::PermissionDenied => "let this user read and write it",
        _ => "name another device or address",
    };
    Problem::error("link.address", format!("{address}: {error}; {remedy}"))
}

/// Tries what the program will do: make the directory, write, synchronise, remove.
fn writable(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let probe = dir.join("write-check");
    deltavlm_node::atomic_file::replace(&probe, b"can this directory be written?")?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

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

    /// A port that was taken and a file that is no device were once "ready to run".
    #[test]
    fn d20_a_device_that_cannot_work_is_an_error_and_one_that_is_absent_a_warning() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        for (address, severity) in [
            (
                format!("tcp-listen:127.0.0.1:{port}"),
                Some(Severity::Error),
            ),
            ("serial:/dev/null:57600".to_owned(), Some(Severity::Error)),
            (
                "serial:/nowhere/tty:57600".to_owned(),
                Some(Severity::Warning),
            ),
            (format!("tcp:127.0.0.1:{port}"), None),
        ] {
            let config = LinkConfig {
                address: address.parse().unwrap(),
                key: None,
                mtu: 128,
                rate: 100,
                probe: std::time::Duration::from_secs(1),
                settings: deltavlm_node::LinkSettings::default(),
            };
            let mut problems = Vec::new();
            link(&config, &mut problems);
            let found = problems
                .iter()
                .find(|problem| problem.place == "link.address");
            assert_eq!(found.map(|problem| problem.severity), severity, "{address}");
        }
    }
}
