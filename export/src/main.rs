//! The `dvlm-export` program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    deltavlm_export::cli::main()
}
