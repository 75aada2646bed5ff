//! README and the pages of `docs/` cannot go stale: what they show is replayed, their configurations are checked, and
//! their tables are compared with the code.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use relay::assemble::PROTOCOLS;
use relay::close::Close;
use relay::config::keys::{Absent, KEYS, Type};
use relay::config::model::Limits;
use relay::config::units::{show_duration, show_size};
use relay::problem::SLUGS;
use relay::reconnect::goaway;

use crate::program::{Place, Relay};
use crate::rig::{Rig, call};
use crate::tour::{Block, Tour, blocks, copy, has, shell};

const CONFIGURATION: &str = "docs/configuration.md";
const HTTP: &str = "docs/http.md";
const OPERATING: &str = "docs/operating.md";
const PERFORMANCE: &str = "docs/performance.md";
const README: &str = "README.md";
const RELOAD: &str = "docs/reload.md";
const WEBSOCKET: &str = "docs/websocket.md";

fn read(page: &str) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// README, and all pages of `docs/`.
fn pages() -> Vec<String> {
    let docs = fs::read_dir("docs").expect("docs").map(|entry| entry.expect("an entry").path().display().to_string());
    let pages: Vec<String> = docs.filter(|path| path.ends_with(".md")).chain([README.to_owned()]).collect();
    assert!(pages.len() >= 8, "{pages:?}");
    pages
}

/// The section of a page under a heading, up to the next heading of the same level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &page[start + 4..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// A directory with this relay.toml, and the schemas that the repository's own one needs.
fn place(name: &str, toml: &str) -> Place {
    let place = Place::new(name);
    copy(Path::new("schemas"), &place.0.join("schemas"));
    place.write("relay.toml", toml);
    place
}

/// Whether the programs that the pages' commands call are installed.
fn can_replay() -> bool {
    has("curl", &["--version"]) && has("python3", &["--version"])
}

/// It starts in an empty directory, with the two files that it shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_goes_as_it_says() {
    if !can_replay() {
        return;
    }
    let readme = read(README);
    let five = section(&readme, "Five minutes");
    let files = blocks(five);
    let file = |language: &str| &files.iter().find(|block| block.language == language).expect(language).text;
    let place = Place::new("tour");
    place.write("relay.toml", file("toml"));
    place.write("cat.json", file("json"));
    let mut tour = Tour::begin(place, "\nrelay\n");
    // The first line of the log was read when the server was started.
    let start = five.find("**Subscribe**").expect("the first step");
    let mut replayed = 0;
    for part in [&five[start..], section(&readme, "Changing it while it runs")] {
        for block in blocks(part) {
            replayed += usize::from(tour.replay(&block).await);
        }
    }
    assert!(replayed >= 10, "only {replayed} blocks");
}

/// Each page gets a server of its own, on a copy of the repository's relay.toml.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_pages_show_goes_as_they_say() {
    if !can_replay() {
        return;
    }
    let toml = read("relay.toml");
    for (page, least) in [(HTTP, 9), (WEBSOCKET, 9), (RELOAD, 4), (OPERATING, 1)] {
        let mut tour = Tour::begin(place(&page.replace('/', "-"), &toml), "\nrelay\n");
        let mut replayed = 0;
        for block in blocks(&read(page)) {
            replayed += usize::from(tour.replay(&block).await);
        }
        assert!(replayed >= least, "{page}: only {replayed} blocks");
    }
}

/// The possible values of a label are read from the sources.
#[test]
fn the_labels_of_metrics_are_told_with_their_values() {
    let page = read(OPERATING);
    let row = |label: &str| {
        let mut rows = section(&page, "Metrics").lines();
        rows.find(|line| line.starts_with(&format!("| `{label}` | "))).unwrap_or_else(|| panic!("no row for `{label}`"))
    };
    let holds = |label: &str, value: &str| assert!(row(label).contains(&format!("`{value}`")), "{label}: {value}");
    let stats = read("src/telemetry/stats.rs");
    let routes = stats.split("const ROUTES").nth(1).expect("the routes").split("];").next().expect("an end");
    let routes: Vec<&str> = routes.split('"').skip(1).step_by(2).collect();
    assert!(routes.len() >= 15, "{routes:?}");
    routes.iter().for_each(|route| holds("route", route));
    let scrape = read("src/telemetry/scrape.rs");
    let mut labels = BTreeSet::new();
    for pair in scrape.split("(\"").skip(1) {
        // `("step", "drop")` has a value; the value of `("topic", name)` is not known here.
        let Some((label, rest)) = pair.split_once("\", ") else { continue };
        let literal = rest.strip_prefix('"').and_then(|rest| rest.split_once("\")]"));
        if let Some((value, _)) = literal.filter(|(value, _)| !value.is_empty() && !value.contains('"')) {
            holds(label, value);
            labels.insert(label);
        }
    }
    assert_eq!(labels, BTreeSet::from(["kind", "result", "step"]));
    let mut tasks = 0;
    for file in ["src/server.rs", "src/cli/run.rs", "src/assemble/reload.rs", "src/http/upgrade.rs"] {
        let text = read(file);
        for call in ["drain.spawn(\"", "drain.detach(\"", "clone().spawn(\""] {
            for task in text.split(call).skip(1).filter_map(|rest| rest.split('"').next()) {
                tasks += 1;
                holds("task", task);
            }
        }
    }
    assert!(tasks >= 10, "only {tasks} tasks");
}

/// The figures on the page are from another machine and a longer run, so only the text around them is compared.
#[test]
fn what_it_measures_is_measured_and_shown_like_that() {
    let page = read(PERFORMANCE);
    let shown = blocks(&page);
    let is_bench = |block: &&Block| block.text.starts_with("$ relay bench ");
    let (command, expected) = shown
        .iter()
        .find(is_bench)
        .expect("a run of `relay bench`")
        .text
        .split_once('\n')
        .expect("a command and its output");
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

/// The text with each number and its unit replaced by a placeholder.
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
fn the_configurations_in_documents_pass_the_check() {
    let mut seen = 0;
    let all: Vec<Block> = pages().iter().flat_map(|page| blocks(&read(page))).collect();
    for block in all.iter().filter(|block| block.language == "toml") {
        seen += 1;
        let place = place(&format!("toml-{seen}"), "");
        for schema in ["cat.json", "schemas/cat.next.json"] {
            fs::copy("schemas/animal.json", place.0.join(schema)).expect("a schema");
        }
        for file in ["cert.pem", "key.pem"] {
            fs::write(place.0.join(file), certificate(file)).expect("a file");
        }
        let secret = place.write("dashboard", "a-secret-of-the-dashboard-that-is-long-enough");
        fs::create_dir_all(place.0.join("topics.d")).expect("a directory");
        let more = "[topics.dogs]\nschema = \"any\"\n[tokens.dogs]\nsha256 = \"00\"\npublish = [\"dogs\"]\n";
        fs::write(place.0.join("topics.d/dogs.toml"), more.replace("00", &"0".repeat(64))).expect("a file");
        place.write("relay.toml", &block.text.replace("/run/secrets/dashboard", &secret.display().to_string()));
        let output = shell(&place.0).args(["-c", "relay check"]).output().expect("bash");
        let told = String::from_utf8_lossy(&output.stderr);
        let told = told.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        assert!(output.status.success() && told.is_empty(), "{}\n{told}", block.text);
    }
    assert!(seen >= 5, "only {seen} configurations");
}

/// A certificate made for this test, or its key.
fn certificate(file: &str) -> String {
    static MADE: std::sync::LazyLock<(String, String)> = std::sync::LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    if file == "cert.pem" { MADE.0.clone() } else { MADE.1.clone() }
}

#[test]
fn the_reference_of_keys_is_the_one_that_is_generated() {
    let mut generated = String::from("| key | value | default | what it is |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            Absent::Required => "*required*".to_owned(),
            Absent::Nothing => String::new(),
            Absent::Value(text) => format!("`{text}`"),
            Absent::Words(words) => words.to_owned(),
        };
        generated += &format!("| `{}` | {} | {default} | {} |\n", key.path(), values(key.value), key.doc);
    }
    assert!(generated.lines().all(|line| line.matches('|').count() == 5), "a bar would end a cell:\n{generated}");
    let page = read(CONFIGURATION);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let start = page.find("| key | value |").expect("the table");
        let end = page[start..].find("\n\n").map_or(page.len(), |end| start + end + 1);
        let updated = format!("{}{generated}{}", &page[..start], &page[end..]);
        fs::write(CONFIGURATION, updated).expect("the page can be written");
        return;
    }
    assert!(page.contains(generated.trim_end()), "the table of keys is not what keys.rs says: UPDATE_GOLDEN=1");
}

/// The possible values of a type, in words.
fn values(value: Type) -> String {
    let milliseconds = |ms: u64| show_duration(Duration::from_millis(ms));
    match value {
        Type::Text => "string".to_owned(),
        Type::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Type::Count(0, u64::MAX) => "number".to_owned(),
        Type::Count(min, max) => format!("number, {min} to {max}"),
        Type::Size(min, max) => format!("size, {} to {}", show_size(min), show_size(max)),
        Type::Duration(min, max) => format!("duration, {} to {}", milliseconds(min), milliseconds(max)),
        Type::Rate(max) => format!("`off`, or 1 to {max} a second"),
        Type::Texts => "list of strings".to_owned(),
        Type::Time => "date and time with offset".to_owned(),
        Type::Json => "any value".to_owned(),
        Type::Table => "table".to_owned(),
        Type::Named => "tables by name".to_owned(),
        Type::Tables => "list of tables".to_owned(),
    }
}

/// Compares the names, the help texts, and the labels of metrics that have samples.
#[tokio::test]
async fn the_reference_of_metrics_is_what_a_scrape_gives() {
    let rig = Rig::start(|_| {}).await;
    rig.post("/publish/sightings", "secret-all", "{}").await;
    let answer = call(rig.admin, "GET /metrics HTTP/1.1\r\n", "").await;
    let page = read(OPERATING);
    let rows: Vec<&str> = section(&page, "Metrics")
        .lines()
        .filter(|line| line.starts_with("| `relay_") || line.starts_with("| `process_"))
        .collect();
    let text = String::from_utf8(answer.body.clone()).expect("UTF-8");
    let mut seen = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        seen += 1;
        let (name, help) = line.split_once(' ').expect("a help text");
        let counter = text.contains(&format!("# TYPE {name} counter\n"));
        let name = if counter { format!("{name}_total") } else { name.to_owned() };
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}` | ")));
        let row = row.unwrap_or_else(|| panic!("no row for `{name}`, {help}"));
        let help = help.trim_end_matches('.');
        assert!(row.ends_with(&format!(" | {help} |")), "{row}\nis not `{help}`");
        let sample = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{"))?.split('}').next());
        let labels =
            sample.unwrap_or_default().split(',').filter_map(|label| label.split_once('=').map(|(name, _)| name));
        for label in labels {
            assert!(row.contains(&format!("`{label}`")), "{row} has not `{label}`");
        }
    }
    assert_eq!(seen, rows.len(), "the page has rows for what is no metric");
    assert!(seen > 30, "only {seen} metrics");
    rig.end().await;
}

#[test]
fn every_problem_close_code_protocol_command_and_notice_is_in_the_document() {
    let http = read(HTTP);
    let http = section(&http, "Problems");
    for slug in SLUGS {
        assert!(http.contains(&format!("`{slug}`")), "`{slug}` is not in {HTTP}");
    }
    let websocket = read(WEBSOCKET);
    let closes = section(&websocket, "Closes");
    let mut seen = 0;
    for line in fs::read_to_string("src/close.rs").expect("src/close.rs").lines() {
        let code = line.trim().trim_end_matches(',').split(" => ").nth(1).filter(|code| code.len() == 4);
        // A normal end needs no row.
        for code in code.into_iter().filter(|code| code.bytes().all(|b| b.is_ascii_digit()) && *code != "1000") {
            seen += 1;
            assert!(closes.contains(code), "{code} is not in {WEBSOCKET}");
        }
    }
    assert!(seen >= 15, "only {seen} close codes");
    for protocol in PROTOCOLS {
        assert!(websocket.contains(&format!("`{}`", protocol.name())), "{} is not in {WEBSOCKET}", protocol.name());
    }
    let written = fs::read_to_string("src/protocol/written.rs").expect("written.rs");
    let notices: Vec<&str> = written.split("Object::new(").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    assert!(notices.len() >= 9, "{notices:?}");
    for notice in notices {
        assert!(websocket.contains(&format!("| `{notice}` |")), "`{notice}` is not in {WEBSOCKET}");
    }
    let commands = fs::read_to_string("src/protocol/command.rs").expect("command.rs");
    let commands: Vec<&str> =
        commands.split("Type { name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        assert!(websocket.contains(&format!(r#"| `{{"type":"{command}""#)), "`{command}` is not in {WEBSOCKET}");
    }
}

/// A link to a heading must find it; and README must link to every page.
#[test]
fn every_link_in_documents_has_a_target_and_readme_links_every_page() {
    let mut seen = 0;
    let others = [
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "bench/README.md",
        "tests/README.md",
        "examples/client/README.md",
    ];
    for document in pages().into_iter().chain(others.map(str::to_owned)) {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            seen += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let beside = Path::new(&document).with_file_name(path);
            let path = if path.is_empty() { Path::new(&document) } else { beside.as_path() };
            assert!(path.exists(), "{document}: {target}");
            if !heading.is_empty() {
                let page = read(&path.display().to_string());
                let mut headings = page.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|anchor| anchor == heading), "{document}: {target}");
            }
        }
    }
    assert!(seen >= 50, "only {seen} links");
    let readme = read(README);
    for page in pages().iter().filter(|page| *page != README) {
        assert!(readme.contains(&format!("]({page})")), "README does not lead to {page}");
    }
}

/// The anchor of a heading in links.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Regression: `reconnect_after_ms` was promised where no `goaway` says it, and not where one does.
#[test]
fn when_to_come_back_is_said_where_a_goaway_tells_it() {
    let page = read(WEBSOCKET);
    let closes =
        [Close::OverCapacity, Close::Lagging, Close::Shed, Close::Internal, Close::Draining, Close::NoSignOfLife];
    for close in closes {
        let told = goaway(close, &Limits::default()).is_some();
        assert_eq!(close.reason().contains("`reconnect_after_ms`"), told, "the reason of {close:?}");
        let mut rows = section(&page, "Closes").lines().filter(|line| line.starts_with("| 4"));
        let row = rows.find(|row| row.contains(&close.code().to_string())).expect("its row");
        assert_eq!(row.contains("`reconnect_after_ms`"), told, "{row}");
    }
}
