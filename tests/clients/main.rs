//! Foreign clients: a browser, curl, Python's `websockets`, Node, and nginx in between. The server is the real program.
//!
//! It has its own test runner, because the standard one cannot report a test as skipped. A test whose program is not
//! installed is listed with what to install, and never counts as passed.

#![expect(clippy::disallowed_macros, reason = "what a test prints is for whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "plain threads that wait: no server of ours runs in this process")]

mod browser;
mod command_line;
mod proxy;
mod server;

use std::panic::catch_unwind;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// A program that a test needs.
struct Program {
    /// Succeeds if the program is installed.
    check: &'static [&'static str],
    install: &'static str,
}

const CHROMIUM: Program = Program { check: &["chromium", "--version"], install: "apt-get install chromium" };
const CURL: Program = Program { check: &["curl", "--version"], install: "apt-get install curl" };
const NODE: Program = Program {
    check: &["node", "--experimental-websocket", "-e", "if (!globalThis.WebSocket) process.exit(1)"],
    install: "Node 20 or newer",
};
const NGINX: Program = Program { check: &["nginx", "-v"], install: "apt-get install nginx-light" };
const PYTHON: Program = Program { check: &["python3", "--version"], install: "apt-get install python3" };
const WEBSOCKETS: Program =
    Program { check: &["python3", "-c", "import websockets.sync.client"], install: "pip install websockets" };

const TESTS: &[(&str, Program, fn())] = &[
    ("a_browser_loses_the_connection_and_misses_nothing", CHROMIUM, browser::loses_the_connection),
    ("a_browser_loses_the_server_and_is_told_what_it_may_miss", CHROMIUM, browser::loses_the_server),
    ("the_dashboard_survives_a_restart", CHROMIUM, browser::dashboard),
    ("curl_reads_a_stream_and_resumes_it", CURL, command_line::curl),
    ("python_websockets_comes_back_without_loss", WEBSOCKETS, command_line::python),
    ("the_client_to_copy_comes_back_without_loss", NODE, command_line::node),
    ("the_client_to_copy_misses_nothing_on_a_registration", NODE, command_line::node_registered),
    ("the_client_to_copy_registers_again_and_goes_on_where_it_was", NODE, command_line::node_registers_again),
    ("the_client_to_copy_keeps_its_other_topics", NODE, command_line::node_loses_a_topic),
    ("the_client_to_copy_stays_connected_in_a_hidden_tab", NODE, command_line::node_hidden),
    ("the_client_to_copy_does_not_repeat_what_is_too_large", NODE, command_line::node_too_large),
    ("the_publisher_to_copy_says_what_its_caller_must_mend", PYTHON, command_line::publisher_mistakes),
    ("the_publisher_to_copy_repeats_what_is_no_answer", PYTHON, command_line::publisher),
    ("nginx_with_its_defaults_passes_streams_and_long_polls", NGINX, proxy::defaults),
    ("nginx_with_the_documented_lines_passes_everything", NGINX, proxy::documented),
];

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for (name, needs, run) in TESTS.iter().filter(|(name, ..)| name.contains(&filter)) {
        let began = Instant::now();
        if !is_there(needs.check) {
            println!("test {name} ... skipped: `{}` is not installed ({})", needs.check[0], needs.install);
            skipped += 1;
        } else if catch_unwind(*run).is_ok() {
            println!("test {name} ... ok ({:.1?})", began.elapsed());
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed.push(name);
        }
    }
    println!("\ntest result: {passed} passed; {} failed; {skipped} skipped", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_there(command: &[&str]) -> bool {
    let run = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
