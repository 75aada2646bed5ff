//! How errors are worded: lower case, no full stop, what to do next.

use std::fs;

use crate::source::sources;

/// The sentences of the fixtures: after `error[code]:`, `warning[code]:` and `help:`.
fn sentences() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("tests/config/bad")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("fixtures") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                let text = fs::read_to_string(&path).expect("it was listed");
                found.extend(text.lines().filter_map(sentence).map(|line| (path.display().to_string(), line)));
            }
        }
    }
    found
}

fn sentence(line: &str) -> Option<String> {
    let line = line.trim_start_matches([' ', '=', '|']);
    let starts = ["error[", "warning[", "help: ", "note: "];
    starts.iter().any(|start| line.starts_with(start)).then(|| Some(line.split_once(": ")?.1.to_owned()))?
}

/// Whether a text begins in lower case; an acronym, such as JSON, may come first.
fn begins_low(text: &str) -> bool {
    let mut chars = text.chars();
    let (first, second) = (chars.next().unwrap_or('.'), chars.next().unwrap_or('.'));
    !first.is_uppercase() || second.is_uppercase()
}

#[test]
fn diagnostics_begin_low_and_end_without_a_full_stop() {
    let sentences = sentences();
    assert!(sentences.len() > 80, "only {} sentences were seen", sentences.len());
    for (file, text) in sentences {
        assert!(begins_low(&text), "{file}: `{text}` begins in upper case");
        assert!(!text.ends_with('.'), "{file}: `{text}` ends in a full stop");
    }
}

#[test]
fn problems_and_close_reasons_are_worded_like_diagnostics() {
    let mut seen = 0;
    for file in ["src/problem.rs", "src/close.rs", "src/name.rs", "src/protocol/command.rs"] {
        let text = fs::read_to_string(file).expect("it is there");
        let product = text.split("#[cfg(test)]").next().unwrap_or(&text);
        // Titles of problems are exempt; in their tables, a comma precedes them.
        let words = product.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains(", \""));
        for line in words {
            let Some(text) = line.split('"').nth(1).filter(|text| text.contains(' ')) else { continue };
            seen += 1;
            assert!(begins_low(text), "{file}: `{text}` begins in upper case");
            assert!(!text.ends_with('.'), "{file}: `{text}` ends in a full stop");
        }
    }
    assert!(seen > 40, "only {seen} texts were seen");
}

/// Regression: a refusal that nothing made stood in the documents, as an answer that nobody could get.
#[test]
fn every_refusal_is_made_somewhere() {
    let problem = fs::read_to_string("src/problem.rs").expect("src/problem.rs");
    let (_, rest) = problem.split_once("pub enum Refusal {\n").expect("the refusals");
    let (refusals, _) = rest.split_once("\n}\n").expect("their end");
    let names = refusals.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with(' '));
    let names = names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default());
    let names: Vec<&str> = names.filter(|name| name.starts_with(char::is_uppercase)).collect();
    assert!(names.len() > 20, "{names:?}");
    let makers: Vec<_> = sources("src").into_iter().filter(|source| source.module() != "problem").collect();
    for name in names {
        let made = makers.iter().any(|source| source.paths("Refusal::").iter().any(|(_, found)| found == name));
        assert!(made, "nothing makes `Refusal::{name}`");
    }
}
