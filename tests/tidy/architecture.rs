//! ARCHITECTURE.md cannot go stale: it is short, and what it names exists.

use std::fs;
use std::path::Path;

use crate::source::sources;

/// It is a map, not a book.
const MAX_LINES: usize = 200;

/// What stands between backticks outside of fenced blocks, in order.
fn ticked(document: &str) -> Vec<&str> {
    let outside = document.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn architecture() -> String {
    fs::read_to_string("ARCHITECTURE.md").expect("ARCHITECTURE.md")
}

#[test]
fn architecture_md_is_short() {
    let lines = architecture().lines().count();
    assert!(lines <= MAX_LINES, "{lines} lines");
}

#[test]
fn every_path_and_type_in_it_exists() {
    let architecture = architecture();
    let code: String = sources("src").into_iter().map(|source| source.code).collect();
    let (mut paths, mut types) = (0, 0);
    for name in ticked(&architecture) {
        let is_path = name.ends_with(".rs") || name.ends_with('/');
        let first = name.split(['(', ':', '<', '.', ' ']).next().unwrap_or(name);
        if is_path {
            paths += 1;
            let there = ["", "src/"].iter().any(|root| Path::new(&format!("{root}{name}")).exists());
            assert!(there, "`{name}` is not there");
        } else if first.starts_with(char::is_uppercase) && first.contains(char::is_lowercase) {
            types += 1;
            let kinds = ["struct", "enum", "trait", "type"];
            let declared = kinds.iter().any(|kind| code.contains(&format!("{kind} {first}")));
            let named = ["Cargo.toml"].contains(&name);
            assert!(declared || named, "`{name}`: nothing declares `{first}`");
            // `Type::method`: the method too.
            if let Some(method) = name.split("::").nth(1).map(|rest| rest.split('(').next().unwrap_or(rest)) {
                let found = code.contains(&format!("fn {method}")) || code.contains(&format!("{method},"));
                assert!(found, "`{name}`: nothing declares `{method}`");
            }
        }
    }
    assert!(paths >= 40 && types >= 15, "only {paths} paths and {types} types were seen");
}

#[test]
fn every_module_and_every_dependency_is_on_the_map() {
    let architecture = architecture();
    let ticked = ticked(&architecture);
    let modules = fs::read_to_string("src/lib.rs").expect("src/lib.rs");
    let mut seen = 0;
    for module in modules.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        seen += 1;
        let (file, folder) = (format!("{module}.rs"), format!("{module}/"));
        assert!(ticked.iter().any(|name| *name == file || *name == folder), "`{module}` is not on the map");
    }
    assert!(seen > 30, "only {seen} modules");
    let manifest = fs::read_to_string("Cargo.toml").expect("Cargo.toml");
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            assert!(ticked.contains(&name), "it does not say why `{name}` is a dependency");
        }
    }
}
