//! `dvlm-host`: the on-board program's command line.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use deltavlm_host::{Config, Host, HostError, ModelAnalyzer, Problem, Severity, check_file};
use deltavlm_runtime::engine::library_hangs;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::AtomicBool,
    time::Instant,
};

/// Watches folders for before/after pictures, raises change alerts, answers the ground.
///
/// Everything is in one configuration file; the shortest that works:
///
///   [model]
///   bundle = "/opt/deltavlm/bundle"
///   [watch]
///   before = "/data/before"          # tile_17.png
///   after = "/data/after"            # tile_17.png, newer
///   [link]
///   address = "serial:/dev/ttyUSB0:57600"
///   [spool]
///   dir = "/var/lib/deltavlm"
///
/// It may be killed or lose its power at any time; nothing that it decided on is lost.
/// Say more or less with RUST_LOG=debug or RUST_LOG=warn.
#[derive(Parser)]
#[command(name = "dvlm-host", version, verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until killed.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say everything that is wrong with a configuration on this machine, at once.
    ///
    /// Reads the file, tries folders, spool, key and device, and opens the model.
    /// Ends with 0 when the program can run, 2 when it cannot.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print one JSON document: {"ok": bool, "problems": [{"severity","place","message"}]}.
        #[arg(long)]
        json: bool,
    },
}

/// This project speaks of what it does, its dependencies of what goes wrong.
const LOG: &str = "warn,deltavlm_host=info,tract_onnx=error";

fn main() -> ExitCode {
    start_log();
    let code = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config, json } => check_command(&config, json),
    };
    if library_hangs() {
        // The loader's lock is held for good: an ordinary exit would wait for it.
        signal_hook::low_level::exit(2);
    }
    code
}

/// Logs to standard error: with the level that systemd's journal files by where that reads it
/// (`journalctl -p err`), and otherwise with the seconds since the start, because the clock of a
/// board may say anything.
fn start_log() {
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(LOG));
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.format(|out, record| {
            // Priorities of syslog(3), as sd-daemon(3) has them at the start of a line.
            let priority = match record.level() {
                log::Level::Error => 3,
                log::Level::Warn => 4,
                log::Level::Info => 6,
                log::Level::Debug | log::Level::Trace => 7,
            };
            for line in record.args().to_string().lines() {
                writeln!(out, "<{priority}>{}: {line}", record.target())?;
            }
            Ok(())
        });
    } else {
        let start = Instant::now();
        builder.format(move |out, record| {
            let seconds = start.elapsed().as_secs_f64();
            let (level, target) = (record.level(), record.target());
            writeln!(out, "[{seconds:9.3} {level:5} {target}] {}", record.args())
        });
    }
    builder.init();
}

fn run(path: &Path) -> ExitCode {
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(problems) => {
            show(&problems);
            return ExitCode::from(2);
        }
    };
    let model = config.model.clone();
    let open = Box::new(move || {
        ModelAnalyzer::open(&model)
            .map(|analyzer| Box::new(analyzer) as Box<dyn deltavlm_host::Analyzer>)
    });
    let run = || Host::start(config, open)?.run(&AtomicBool::new(false));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            exit_code(&error)
        }
    }
}

/// 2 says that starting again does not help.
fn exit_code(error: &HostError) -> ExitCode {
    match error.is_configuration() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

fn check_command(path: &Path, json: bool) -> ExitCode {
    let problems = check_file(path);
    let ok = problems
        .iter()
        .all(|problem| problem.severity == Severity::Warning);
    if json {
        let list: Vec<_> = problems
            .iter()
            .map(|problem| {
                let severity = match problem.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                serde_json::json!({
                    "severity": severity, "place": problem.place, "message": problem.message,
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "ok": ok, "problems": list }));
    } else {
        show(&problems);
        if ok {
            println!("{}: ready to run", path.display());
        }
    }
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    }
}

fn show(problems: &[Problem]) {
    for problem in problems {
        eprintln!("{problem}");
    }
}
