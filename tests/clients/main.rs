//! Clients that are not ours: a browser, curl, Python's `websockets`, Node, and nginx in between. The server is the program
//! itself.
//!
//! A runner of its own, because the usual one cannot say that a test was skipped: one whose program is not installed is
//! named, with what to install, and never counted as passed.

#![expect(clippy::disallowed_macros, reason = "what a test prints is for whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "plain threads that wait: no server of ours runs in this process")]

mod browser;
mod command_line;
mod proxy;
mod server;

use std::panic::catch_unwind;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// A test, and the program that it cannot do without.
struct Test {
    name: &'static str,
    needs: &'static [&'static str],
    install: &'static str,
    run: fn(),
}

const CHROMIUM: &[&str] = &["chromium", "--version"];
const CURL: &[&str] = &["curl", "--version"];
const NODE: &[&str] = &["node", "--experimental-websocket", "-e", "if (!globalThis.WebSocket) process.exit(1)"];
const NGINX: &[&str] = &["nginx", "-v"];
const PYTHON: &[&str] = &["python3", "--version"];
const WEBSOCKETS: &[&str] = &["python3", "-c", "import websockets.sync.client"];

const TESTS: &[Test] = &[
    Test {
        name: "a_browser_loses_the_connection_and_misses_nothing",
        needs: CHROMIUM,
        install: "apt-get install chromium",
        run: browser::loses_the_connection,
    },
    Test {
        name: "a_browser_loses_the_server_and_is_told_what_it_may_miss",
        needs: CHROMIUM,
        install: "apt-get install chromium",
        run: browser::loses_the_server,
    },
    Test {
        name: "the_dashboard_survives_a_restart",
        needs: CHROMIUM,
        install: "apt-get install chromium",
        run: browser::dashboard,
    },
    Test {
        name: "curl_reads_a_stream_and_resumes_it",
        needs: CURL,
        install: "apt-get install curl",
        run: command_line::curl,
    },
    Test {
        name: "python_websockets_comes_back_without_loss",
        needs: WEBSOCKETS,
        install: "pip install websockets",
        run: command_line::python,
    },
    Test {
        name: "the_client_to_copy_comes_back_without_loss",
        needs: NODE,
        install: "Node 20 or newer",
        run: command_line::node,
    },
    Test {
        name: "the_client_to_copy_misses_nothing_on_a_registration",
        needs: NODE,
        install: "Node 20 or newer",
        run: command_line::node_registered,
    },
    Test {
        name: "the_client_to_copy_registers_again_and_goes_on_where_it_was",
        needs: NODE,
        install: "Node 20 or newer",
        run: command_line::node_registers_again,
    },
    Test {
        name: "the_client_to_copy_keeps_its_other_topics",
        needs: NODE,
        install: "Node 20 or newer",
        run: command_line::node_loses_a_topic,
    },
    Test {
        name: "the_client_to_copy_stays_connected_in_a_hidden_tab",
        needs: NODE,
        install: "Node 20 or newer",
        run: command_line::node_hidden,
    },
    Test {
        name: "the_client_to_copy_does_not_repeat_what_is_too_large",
        needs: NODE,
        install: "Node 20 or newer",
        run: command_line::node_too_large,
    },
    Test {
        name: "the_publisher_to_copy_says_what_its_caller_must_mend",
        needs: PYTHON,
        install: "apt-get install python3",
        run: command_line::publisher_mistakes,
    },
    Test {
        name: "the_publisher_to_copy_repeats_what_is_no_answer",
        needs: PYTHON,
        install: "apt-get install python3",
        run: command_line::publisher,
    },
    Test {
        name: "nginx_with_its_defaults_passes_streams_and_long_polls",
        needs: NGINX,
        install: "apt-get install nginx-light",
        run: proxy::defaults,
    },
    Test {
        name: "nginx_with_the_documented_lines_passes_everything",
        needs: NGINX,
        install: "apt-get install nginx-light",
        run: proxy::documented,
    },
];

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for test in TESTS.iter().filter(|test| test.name.contains(&filter)) {
        let began = Instant::now();
        if !is_there(test.needs) {
            println!("test {} ... skipped: `{}` is not installed ({})", test.name, test.needs[0], test.install);
            skipped += 1;
        } else if catch_unwind(test.run).is_ok() {
            println!("test {} ... ok ({:.1?})", test.name, began.elapsed());
            passed += 1;
        } else {
            println!("test {} ... FAILED", test.name);
            failed.push(test.name);
        }
    }
    println!("\ntest result: {passed} passed; {} failed; {skipped} skipped", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_there(command: &[&str]) -> bool {
    let run = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
