//! README cannot rot: its tour is replayed, its configurations are checked, its tables are compared with the code.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use relay::close::Close;
use relay::config::model::Limits;
use relay::problem::SLUGS;
use relay::reconnect::goaway;

use crate::program::{Place, Relay};
use crate::tour::{Tour, blocks, copy, has, shell};

fn readme() -> String {
    fs::read_to_string("README.md").expect("README.md")
}

/// The part of README under a heading, up to the next of the same level.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let start = readme.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &readme[start + 4..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// A directory with what the repository's relay.toml needs.
fn place(name: &str, toml: &str) -> Place {
    let place = Place::new(name);
    copy(Path::new("schemas"), &place.0.join("schemas"));
    place.write("relay.toml", toml);
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_goes_as_it_says() {
    if !has("curl", &["--version"]) || !has("python3", &["--version"]) {
        return;
    }
    let readme = readme();
    let toml = fs::read_to_string("relay.toml").expect("relay.toml");
    let mut tour = Tour::begin(place("tour", &toml), "\nrelay\n");
    // The first line of the log was read when the server was started.
    let five = section(&readme, "Five minutes");
    let start = five.find("**Subscribe**").expect("the first step");
    let mut replayed = 0;
    for part in [&five[start..], section(&readme, "Changing a running relay"), section(&readme, "Limits")] {
        for block in blocks(part) {
            replayed += usize::from(tour.replay(&block).await);
        }
    }
    assert!(replayed >= 18, "only {replayed} blocks");
}

/// Its figures are of another machine, so that only what stands around them is compared, and of a longer run.
#[test]
fn what_it_measures_is_measured_and_shown_like_that() {
    let readme = readme();
    let blocks = blocks(section(&readme, "How fast it is here"));
    let (command, expected) = blocks[0].text.split_once('\n').expect("a command and its output");
    let toml = fs::read_to_string("relay.toml").expect("relay.toml");
    let place =
        place("measured", &toml.replace("127.0.0.1:8000", "127.0.0.1:0").replace("127.0.0.1:8001", "127.0.0.1:0"));
    let mut relay = Relay::start(&place.0.join("relay.toml"));
    let (public, _) = relay.addresses();
    relay.ignore_log();
    let command = command.trim_start_matches("$ ").replace("127.0.0.1:8000", &public);
    let shorter = command.replace("--messages 1000", "--messages 3 --subscribers 30");
    assert_ne!(shorter, command);
    let output = shell(&place.0).args(["-c", &shorter]).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(without_figures(&String::from_utf8(output.stdout).expect("UTF-8")), without_figures(expected));
}

/// The text with each number and its unit replaced.
fn without_figures(text: &str) -> String {
    let word = |word: &str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
        if rest.len() < word.len() { format!("9{rest}") } else { word.to_owned() }
    };
    let words: String = text.split_inclusive([' ', '\n']).map(word).collect();
    [" µs", " ms", " s", " kB", " MB", " GB", " B"]
        .iter()
        .fold(words, |text, unit| text.replace(&format!("9{unit}"), "9 unit"))
}

#[test]
fn a_program_for_the_command_line_subscribes() {
    if !has("python3", &["-m", "websockets", "--version"]) || !has("curl", &["--version"]) {
        return;
    }
    let place = place(
        "typed",
        "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"\"\n[topics.cats]\n\
        schema = \"any\"\n[anonymous]\npublish = [\"cats\"]\nsubscribe = [\"cats\"]\n",
    );
    let mut relay = Relay::start(&place.0.join("relay.toml"));
    let (public, _) = relay.addresses();
    let url = format!("ws://{public}/ws");
    let command =
        Command::new("python3").args(["-m", "websockets", &url]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut typed = command.expect("it was there before");
    let mut input = typed.stdin.take().expect("a pipe");
    let mut output = BufReader::new(typed.stdout.take().expect("a pipe"));
    let mut until = |text: &str| {
        let mut seen = String::new();
        while !seen.contains(text) {
            assert_ne!(output.read_line(&mut seen).expect("text"), 0, "no `{text}` in\n{seen}");
        }
    };
    input.write_all(b"{\"topics\":[\"cats\"]}\n").expect("it reads");
    until(r#"{"type":"ok"}"#);
    let url = format!("http://{public}/publish/cats");
    let published = Command::new("curl").args(["-s", "--json", r#"{"name":"Tom"}"#, &url]).output().expect("curl");
    assert!(published.status.success());
    until(r#""data":{"name":"Tom"}}"#);
    drop(input);
    assert!(typed.wait().expect("an end").success());
}

#[test]
fn its_configurations_are_good() {
    let mut seen = 0;
    for block in blocks(&readme()).iter().filter(|block| block.language == "toml") {
        seen += 1;
        let place = place(&format!("toml-{seen}"), "");
        let secret = place.write("dashboard", "a-secret-of-the-dashboard-that-is-long-enough");
        fs::create_dir_all(place.0.join("topics.d")).expect("a directory");
        let more = "[topics.dogs]\nschema = \"any\"\n[tokens.dogs]\nsha256 = \"00\"\npublish = [\"dogs\"]\n";
        fs::write(place.0.join("topics.d/dogs.toml"), more.replace("00", &"0".repeat(64))).expect("a file");
        place.write("relay.toml", &block.text.replace("/run/secrets/dashboard", &secret.display().to_string()));
        let output = shell(&place.0).args(["-c", "relay check"]).output().expect("bash");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{}\n{told}", block.text);
    }
    assert!(seen >= 2, "only {seen} configurations");
}

#[test]
fn its_reference_of_keys_is_the_one_that_is_generated() {
    let generated = relay::config::keys::markdown();
    let readme = readme();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let start = readme.find("| key | value |").expect("the table");
        let end = start + readme[start..].find("\n\n").expect("its end") + 1;
        let updated = format!("{}{generated}{}", &readme[..start], &readme[end..]);
        fs::write("README.md", updated).expect("README can be written");
        return;
    }
    assert!(
        readme.contains(generated.trim_end()),
        "the table of keys is not what `relay keys` prints: UPDATE_GOLDEN=1"
    );
}

#[test]
fn every_problem_close_code_command_and_notice_is_in_its_tables() {
    let readme = readme();
    let http = section(&readme, "HTTP");
    for slug in SLUGS {
        assert!(http.contains(&format!("`{slug}`")), "`{slug}` is not in the section HTTP");
    }
    let websocket = section(&readme, "WebSocket");
    let mut seen = 0;
    for line in fs::read_to_string("src/close.rs").expect("src/close.rs").lines() {
        let code = line.trim().trim_end_matches(',').split(" => ").nth(1).filter(|code| code.len() == 4);
        // A normal end needs no words.
        for code in code.into_iter().filter(|code| code.bytes().all(|b| b.is_ascii_digit()) && *code != "1000") {
            seen += 1;
            assert!(websocket.contains(code), "{code} is not in the section WebSocket");
        }
    }
    assert!(seen >= 15, "only {seen} close codes");
    let envelope = fs::read_to_string("src/protocol/envelope.rs").expect("envelope.rs");
    let notices: Vec<&str> = envelope.split("Object::new(").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    assert!(notices.len() >= 9, "{notices:?}");
    for notice in notices {
        assert!(websocket.contains(&format!("| `{notice}` |")), "`{notice}` is not in the section WebSocket");
    }
    let commands = fs::read_to_string("src/protocol/command.rs").expect("command.rs");
    let commands: Vec<&str> =
        commands.split("Type { name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        assert!(websocket.contains(&format!(r#"{{"type":"{command}""#)), "`{command}` is not in the section WebSocket");
    }
}

#[test]
fn its_links_lead_somewhere() {
    let mut seen = 0;
    for document in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(document).expect(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                seen += 1;
                assert!(Path::new(target.split('#').next().expect("a path")).exists(), "{document}: {target}");
            }
        }
    }
    assert!(seen >= 5, "only {seen} links");
}

/// `reconnect_after_ms` was promised where no `goaway` says it, and not where one does.
#[test]
fn when_to_come_back_is_said_where_a_goaway_tells_it() {
    let readme = readme();
    let closes = [Close::OverCapacity, Close::Lagging, Close::Internal, Close::Draining, Close::NoSignOfLife];
    for close in closes {
        let told = goaway(close, &Limits::default()).is_some();
        assert_eq!(close.reason().contains("`reconnect_after_ms`"), told, "the reason of {close:?}");
        let mut rows = section(&readme, "WebSocket").lines().filter(|line| line.starts_with("| 4"));
        let row = rows.find(|row| row.contains(&close.code().to_string())).expect("its row");
        assert_eq!(row.contains("`reconnect_after_ms`"), told, "{row}");
    }
}
