//! `dvlm-ground`: the ground program's command line.

#![forbid(unsafe_code)]

mod arguments;
mod cli;
mod console;
mod keygen;
mod link_options;

use arguments::Arguments;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
