//! The `relay` program: see `relay::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    relay::cli::main()
}
