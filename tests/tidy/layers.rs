//! The levels of `src/`: a module names only modules of its own level or below.

use std::collections::BTreeSet;

use crate::source::{Source, sources};

/// Every module of the top level, from the bottom up. A new module must find its place here.
const LEVELS: &[(&str, &[&str])] = &[
    (
        "values",
        &[
            "close",
            "command",
            "config",
            "counter",
            "diagnostic",
            "directory",
            "footprint",
            "frame",
            "hex",
            "host",
            "lock",
            "message",
            "name",
            "notice",
            "path",
            "patterns",
            "plugin",
            "principal",
            "problem",
            "schema",
            "spelling",
            "time",
        ],
    ),
    ("parts", &["auth", "hub", "protocol", "store"]),
    (
        "what lives",
        &[
            "appending",
            "background",
            "delivery",
            "evaluate",
            "rates",
            "reconnect",
            "connections",
            "disk",
            "drain",
            "fuse",
            "identify",
            "ingest",
            "judging",
            "live",
            "registrations",
            "shadow",
            "reloads",
            "snapshot",
            "supervisor",
            "telemetry",
            "unauthenticated",
        ],
    ),
    ("assembly", &["assemble"]),
    ("rim", &["cli", "http", "main", "reload", "server", "ws"]),
];
const VALUES: usize = 0;
const PARTS: usize = 1;
const RIM: usize = 4;

/// Where one part of the rim hands over to another, and what it hands over.
const SEAMS: &[(&str, &str, &str)] = &[
    ("cli", "reload", "`relay run` starts the task that watches the files"),
    ("cli", "server", "`relay run` binds the listeners and serves"),
    ("http", "server", "hyper gives an upgraded socket back as the type that the accept loop gave to it"),
    ("http", "ws", "an upgrade hands the socket over"),
    ("main", "cli", "the program is the command line"),
    ("server", "http", "the accept loop hands requests over"),
];

fn level(module: &str) -> usize {
    let found = LEVELS.iter().position(|(_, modules)| modules.contains(&module));
    found.unwrap_or_else(|| panic!("`{module}` has no level: give it one in tests/tidy/layers.rs"))
}

/// Each use of one top-level module by another: from, to, place.
fn uses(sources: &[Source]) -> Vec<(&str, String, String)> {
    let mut uses = Vec::new();
    for source in sources.iter().filter(|source| source.module() != "lib") {
        let prefix = if source.module() == "main" { "relay::" } else { "crate::" };
        for (line, to) in source.paths(prefix) {
            if to != source.module() {
                uses.push((source.module(), to, format!("{}:{line}", source.path)));
            }
        }
    }
    uses
}

#[test]
fn every_module_of_the_top_level_has_one_level() {
    let listed: Vec<&str> = LEVELS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let once: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(once.len(), listed.len(), "a module appears twice in LEVELS");
    let sources = sources("src");
    let found: BTreeSet<&str> =
        sources.iter().filter(|source| !source.is_test).map(Source::module).filter(|module| *module != "lib").collect();
    assert_eq!(once, found);
}

#[test]
fn a_module_names_only_what_lies_below_it() {
    let sources = sources("src");
    let uses = uses(&sources);
    assert!(uses.len() > 200, "only {} uses were seen", uses.len());
    let mut seams = BTreeSet::new();
    for (from, to, place) in &uses {
        let (above, below) = (level(from), level(to));
        assert!(above >= below, "{place}: `{from}` ({}) names `{to}` ({})", LEVELS[above].0, LEVELS[below].0);
        assert!(above != PARTS || below != PARTS, "{place}: `{from}` and `{to}` must not know each other");
        if above == RIM && below == RIM {
            let seam = SEAMS.iter().find(|(a, b, _)| a == from && b == to);
            seams.insert(seam.unwrap_or_else(|| panic!("{place}: `{from}` must not name `{to}`: no seam is there")));
        }
    }
    assert_eq!(seams.len(), SEAMS.len(), "a seam is listed that no code uses");
}

#[test]
fn no_path_hides_which_module_it_names() {
    for source in sources("src") {
        assert!(!source.code.contains("crate::{"), "{}: name each module in a `use` of its own", source.path);
        assert!(!source.code.contains("super::super"), "{}: write the path from the crate", source.path);
        let top = source.path.matches('/').count() == 1;
        assert!(!top || !source.code.contains("super::"), "{}: write the path from the crate", source.path);
    }
}

#[test]
fn values_know_no_tasks_sockets_or_files() {
    for source in sources("src").iter().filter(|source| !source.is_test) {
        if !LEVELS[VALUES].1.contains(&source.module()) {
            continue;
        }
        for name in ["tokio", "hyper", "warp", "notify", "socket2"] {
            assert!(!source.names_crate(name), "{}: a value must not know {name}", source.path);
        }
        for path in ["std::fs", "std::process", "std::thread", "std::env", "std::os", "TcpStream", "UdpSocket"] {
            assert!(!source.code.contains(path), "{}: a value must not know {path}", source.path);
        }
    }
}

#[test]
fn only_assembly_reads_the_tables_of_kinds() {
    let mut readers = 0;
    for source in sources("src") {
        for table in ["auth::build", "protocol::KINDS", "store::KINDS"] {
            let reads = source.code.contains(table);
            assert!(!reads || source.module() == "assemble", "{} reads {table}", source.path);
            readers += usize::from(reads);
        }
    }
    assert!(readers >= 3, "the tables have moved: this test no longer sees who reads them");
}

#[test]
fn each_kind_is_one_file_and_one_entry() {
    let sources = sources("src");
    let families = [
        ("auth", "Authenticator", "fn build("),
        ("protocol", "Protocol", "const KINDS: &[&dyn Protocol] = &["),
        ("store", "Store", "const KINDS: &[Kind] = &["),
    ];
    for (family, plugin, table) in families {
        let root = format!("src/{family}/mod.rs");
        let root = sources.iter().find(|source| source.path == root).expect("a family has a mod.rs");
        let start = root.code.find(table).expect("a family says which kinds it has") + table.len();
        let end = start + root.code[start..].find(['}', ';']).expect("it ends");
        let mut seen = 0;
        for source in sources.iter().filter(|source| source.module() == family) {
            let name = source.path.rsplit('/').next().and_then(|file| file.strip_suffix(".rs")).expect("it is Rust");
            let is_kind = source.code.contains(&format!("impl {plugin} for "));
            let is_listed = root.code[start..end].contains(&format!("{name}::"));
            assert_eq!(is_listed, is_kind, "{} and the kinds of {family}", source.path);
            seen += usize::from(is_kind);
        }
        assert!(seen > 0, "no kind of {family} was seen");
    }
}
