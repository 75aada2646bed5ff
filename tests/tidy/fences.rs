//! Which files may name which crate. A crate that none of them names must not be a dependency.

use std::collections::BTreeSet;
use std::fs;

use crate::source::sources;

/// Crates that any file may name: they carry bytes, JSON, futures, log lines and tasks.
const EVERYWHERE: &[&str] =
    &["bytes", "futures", "memchr", "percent-encoding", "secrecy", "serde", "serde_json", "tokio", "tracing", "uuid"];

/// Each other crate, and the files or folders of `src/` that may name it.
const FENCES: &[(&str, &[&str])] = &[
    ("annotate-snippets", &["diagnostic/render.rs"]),
    ("ahash", &["directory.rs", "hub/list.rs", "hub/members.rs", "patterns.rs", "store/rings.rs"]),
    ("arc-swap", &["hub/mod.rs", "live.rs", "reloads.rs"]),
    ("base64", &["cli/token.rs", "http/handshake.rs"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("form_urlencoded", &["http/query.rs"]),
    ("getrandom", &["cli/token.rs", "reconnect.rs", "store/memory.rs"]),
    ("hdrhistogram", &["cli/bench/figures.rs"]),
    ("http-body-util", &["cli/bench/", "cli/requests.rs", "http/mod.rs"]),
    ("hyper", &["cli/", "http/", "server.rs"]),
    ("hyper-util", &["cli/requests.rs", "http/", "server.rs"]),
    ("indicatif", &["cli/bench/progress.rs", "cli/bench/show.rs"]),
    ("jiff", &["config/values.rs"]),
    ("jsonschema", &["schema/"]),
    ("notify", &["reload/"]),
    ("prometheus-client", &["telemetry/"]),
    ("regex-syntax", &["schema/"]),
    (
        "rustix",
        &[
            "background.rs",
            "cli/signals.rs",
            "disk.rs",
            "server/descriptors.rs",
            "server/socket.rs",
            "supervisor.rs",
            "telemetry/process.rs",
        ],
    ),
    ("sha1", &["http/handshake.rs"]),
    ("sha2", &["auth/", "cli/token.rs", "config/", "http/history.rs", "schema/compile/", "store/idempotency.rs"]),
    ("socket2", &["server/listener.rs", "server/socket.rs"]),
    ("strsim", &["spelling.rs"]),
    ("subtle", &["auth/"]),
    ("tikv-jemallocator", &["main.rs"]),
    ("tokio-util", &["drain.rs"]),
    ("rustls", &["assemble/tls.rs", "cli/target.rs", "snapshot.rs", "server.rs", "server/"]),
    ("rustls-native-certs", &["cli/target.rs"]),
    ("tokio-rustls", &["cli/target.rs", "server/"]),
    ("tokio-tungstenite", &["cli/bench/websocket.rs"]),
    ("toml", &["config/"]),
    ("toml_parser", &["config/duplicates.rs"]),
    ("tower-service", &["http/mod.rs"]),
    ("tracing-subscriber", &["telemetry/logs.rs"]),
    ("warp", &["http/"]),
];

/// The files that may touch the disk.
const DISK: &[&str] =
    &["cli/bench/disk.rs", "disk.rs", "reload/watch.rs", "server/listener.rs", "telemetry/process.rs"];

/// The names in all tables of dependencies that the program is built with.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string("Cargo.toml").expect("Cargo.toml");
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("build-");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn every_dependency_is_used_and_only_where_it_belongs() {
    let sources = sources("src");
    let fenced = FENCES.iter().map(|(name, places)| (*name, Some(*places)));
    let all: Vec<_> = fenced.chain(EVERYWHERE.iter().map(|name| (*name, None))).collect();
    let listed: BTreeSet<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(dependencies(), listed, "Cargo.toml, and the tables of this test");
    for (name, places) in all {
        let users = sources.iter().filter(|source| source.names_crate(&name.replace('-', "_")));
        let users: Vec<&str> = users.map(|source| source.path.trim_start_matches("src/")).collect();
        assert!(!users.is_empty(), "`{name}` is not used: remove it from Cargo.toml");
        let Some(places) = places else { continue };
        for user in &users {
            let inside = places.iter().any(|place| user == place || (place.ends_with('/') && user.starts_with(place)));
            assert!(inside, "src/{user} must not name `{name}`: only {places:?} may");
        }
        for place in places {
            assert!(users.iter().any(|user| user.starts_with(place)), "`{name}` is no longer used in src/{place}");
        }
    }
}

#[test]
fn the_disk_is_touched_in_few_places() {
    let mut seen = BTreeSet::new();
    for source in sources("src").iter().filter(|source| source.code.contains("std::fs")) {
        let path = source.path.trim_start_matches("src/");
        assert!(DISK.contains(&path), "src/{path} must not touch the disk: `files` does");
        seen.insert(path.to_owned());
    }
    assert_eq!(seen.len(), DISK.len(), "a place is listed that does not touch the disk");
}
