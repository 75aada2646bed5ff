//! The command line: parses what is asked for and prints the results. Decides nothing about a configuration.

mod against;
mod bench;
mod check;
mod completions;
mod requests;
mod run;
mod signals;
mod target;
mod token;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::assemble::Loaded;
use crate::config::editor;
use crate::diagnostic::render;

/// The exit code for an invalid configuration: `EX_CONFIG` of sysexits.h.
const BAD_CONFIG: u8 = 78;

/// A real-time message relay: takes JSON over HTTP, validates it, delivers it over WebSocket and SSE
#[derive(Debug, Parser)]
#[command(name = "relay", version, about, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
A running relay answers operators on its admin listener, `server.admin`: GET /metrics, GET /config,
GET /connections, POST /reload.
The documentation is in docs/: configuration.md lists all keys of relay.toml, http.md all calls.";

#[derive(Debug, Default, Args)]
struct File {
    /// Configuration file [default: relay.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Run(File),
    /// Check the configuration as a start or a reload would; exits with 78 if it is invalid
    Check {
        #[command(flatten)]
        file: File,
        /// Output format; diagnostics of `human` go to standard error, everything else to standard output
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        /// Also show what a reload would change, compared with another relay.toml or with the relay behind an admin
        /// listener (`http://127.0.0.1:8001` or `unix:/run/relay/admin.sock`); your files are not sent there
        #[arg(long, value_name = "FILE|URL")]
        against: Option<String>,
    },
    /// Print the JSON Schema of relay.toml, for editors
    Schema,
    /// Make tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Measure a running relay: subscribes to a topic, publishes real messages to it (its other subscribers get them
    /// too), and counts what arrives
    Bench(Box<bench::Arguments>),
    /// Print a shell completion script
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Generate a secret of 256 random bits and print it; the lines for relay.toml that accept it go to
    /// standard error
    New {
        /// The token's name in relay.toml
        name: String,
    },
}

/// How diagnostics are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// With the lines of source, in colour on a terminal
    Human,
    /// One JSON array on one line; with `--against` an object of `diagnostics` and `plan` (null: it would be refused, or
    /// there is nothing to compare with), and `not_compared` if something was not
    Json,
    /// Workflow commands that annotate a pull request on GitHub
    Github,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Cli { file, command } = Cli::try_parse().unwrap_or_else(|error| with_tip(error).exit());
    // The option may come before or after the command.
    let path = |own: File| own.config.or(file.config).unwrap_or_else(|| "relay.toml".into());
    match command.unwrap_or(Command::Run(File::default())) {
        Command::Run(own) => run::run(&path(own)),
        Command::Check { file: own, format, against } => check::check(&path(own), format, against.as_deref()),
        Command::Schema => print(&format!("{:#}\n", editor::json_schema())),
        Command::Token(TokenCommand::New { name }) => token::new(&name),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Completions { shell } => completions::print_script(shell),
    }
}

/// Adds a tip to an error if the argument is one that similar programs have, but relay has not.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let kinds = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let tip = match kinds.into_iter().find_map(|kind| error.get(kind)) {
        Some(ContextValue::String(file)) if file.ends_with(".toml") => format!("name it with `--config {file}`"),
        Some(ContextValue::String(command)) if command == "reload" => {
            "a running relay reloads when its files change, at SIGHUP, and by `POST /reload` on its admin listener"
                .into()
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

/// Prints diagnostics to people, on standard error.
fn print_diagnostics(loaded: &Loaded) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    complain(&render::human(&loaded.diagnostics, &loaded.sources, colour));
}

/// Prints to standard error. A failure is ignored, because there is nobody left to tell.
fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints to standard output. A reader that has gone away, as `head` does, is not an error.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("relay: cannot write to standard output: {error}\n"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
