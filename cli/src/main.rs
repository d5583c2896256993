//! `dvlm`: asks, measures and inspects bundles from the command line. A thin user
//! of `deltavlm-runtime`: whatever it can do, a program can do through the library.

#![forbid(unsafe_code)]

mod align;
mod alignment;
mod ask;
mod bench;
mod common;
mod evaluate;
mod frame;
mod info;
mod json;
mod place;
mod prepare;
mod reading;

use std::process::ExitCode;

use align::Verdict;
use clap::{Parser, Subcommand};
use deltavlm_runtime::engine::library_hangs;

/// Answers questions about a before and an after picture.
#[derive(Parser)]
#[command(name = "dvlm", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings a frame onto a reference picture of the same place, or refuses.
    Align(align::Arguments),
    /// Asks about one pair of pictures.
    Ask(ask::Arguments),
    /// Measures answers against ChangeChat-105k annotations.
    Eval(evaluate::Arguments),
    /// Brings a frame onto a reference and says what has changed, and where.
    Frame(frame::Arguments),
    /// Says what a bundle holds and what would run it here.
    Info(info::Arguments),
    /// Measures the segments of a bundle on this machine.
    Bench(bench::Arguments),
    /// Says where and how a picture was taken, and where each number was read.
    Place(place::Arguments),
    /// Builds what an engine would otherwise build at its first start.
    Prepare(prepare::Arguments),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .filter_module("tract_onnx", log::LevelFilter::Error)
        .init();
    let done = |()| Verdict::Aligned;
    let result = match Arguments::parse().command {
        Command::Align(arguments) => align::run(&arguments),
        Command::Ask(arguments) => ask::run(&arguments).map(done),
        Command::Frame(arguments) => frame::run(&arguments),
        Command::Eval(arguments) => evaluate::run(&arguments).map(done),
        Command::Info(arguments) => info::run(&arguments).map(done),
        Command::Bench(arguments) => bench::run(&arguments).map(done),
        Command::Place(arguments) => place::run(&arguments).map(done),
        Command::Prepare(arguments) => prepare::run(&arguments).map(done),
    };
    match result {
        Ok(Verdict::Aligned) => ExitCode::SUCCESS,
        Ok(Verdict::Refused) => ExitCode::from(3),
        Err(error) => {
            match error.flags() {
                Some(flags) => eprintln!("error: {error} ({flags})"),
                None => eprintln!("error: {error}"),
            }
            if library_hangs() {
                // The loader's lock is held for good: an ordinary exit would wait for it.
                signal_hook::low_level::exit(1);
            }
            ExitCode::FAILURE
        }
    }
}
