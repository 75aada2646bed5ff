//! `relay completions`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Cli, print};

pub(super) fn print_script(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "relay", &mut script);
    print(&String::from_utf8_lossy(&script))
}
