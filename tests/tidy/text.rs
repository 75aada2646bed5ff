//! File lengths, module headers, words and markers.

use std::collections::BTreeSet;
use std::fs;

use crate::source::{Source, sources};

/// Most lines of a product file. Tests in a sibling file do not count.
const MAX_FILE: usize = 400;

/// Words that say nothing, or that other systems use for a thing that has its own name here.
const WORDS: &[&str] =
    &["Broker", "Channel", "Client", "Data", "Event", "Helper", "Manager", "Session", "Util", "Utils"];

/// The program, and the code that measures it.
fn products() -> Vec<Source> {
    ["src", "bench/src", "bench/instructions"].into_iter().flat_map(sources).collect()
}

fn all() -> Vec<Source> {
    let mut all = products();
    all.extend(sources("tests"));
    assert!(all.len() > 100, "only {} files were seen", all.len());
    all
}

#[test]
fn files_are_short() {
    let long = products().into_iter().filter(|source| !source.is_test).filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > MAX_FILE).then(|| format!("{} has {lines} lines", source.path))
    });
    assert_eq!(long.collect::<Vec<_>>(), Vec::<String>::new(), "split them: {MAX_FILE} are the most");
}

#[test]
fn every_module_says_what_it_is() {
    // A test file beside its module counts as part of that module.
    for source in all().into_iter().filter(|source| !source.is_test) {
        assert!(source.text.starts_with("//!"), "{} has no header", source.path);
    }
}

#[test]
fn nothing_is_left_for_later() {
    for source in all() {
        for marker in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            assert!(!source.text.contains(marker), "{}: {marker}", source.path);
        }
        assert!(!source.whole.contains("#[ignore]"), "{}: an ignored test needs a reason", source.path);
    }
}

/// A text that was pasted twice or cut at the wrong place repeats its headings.
#[test]
fn no_page_says_a_heading_twice() {
    let docs = fs::read_dir("docs").expect("docs/").map(|entry| entry.expect("an entry").path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "bench/README.md", "bench/FOUND.md", "tests/README.md"]
        .map(Into::into);
    let mut seen = 0;
    for page in docs.chain(pages) {
        let text = fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        let mut headings = BTreeSet::new();
        for heading in text.lines().filter(|line| line.starts_with("## ")) {
            seen += 1;
            assert!(headings.insert(heading), "{}: `{heading}` appears twice", page.display());
        }
    }
    assert!(seen > 20, "only {seen} headings were seen");
}

#[test]
fn types_are_named_in_the_words_of_the_house() {
    let mut seen = 0;
    for source in products() {
        for keyword in ["struct ", "enum ", "trait ", "type "] {
            for (_, name) in source.paths(keyword) {
                seen += 1;
                let bad = WORDS.iter().find(|word| has_word(&name, word));
                assert!(bad.is_none(), "{}: `{name}` uses {bad:?}", source.path);
            }
        }
    }
    assert!(seen > 200, "only {seen} types were seen");
}

/// Whether a name in camel case contains this word.
fn has_word(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| !name[at + word.len()..].starts_with(char::is_lowercase))
}

#[test]
fn uses_stand_in_three_groups() {
    for source in all() {
        let mut groups: Vec<usize> = Vec::new();
        let mut apart = true;
        let mut inside = false;
        for line in source.whole.lines() {
            if inside {
                inside = !line.ends_with(';');
                continue;
            }
            // Re-exports may stand anywhere.
            let Some(path) = line.strip_prefix("use ") else {
                apart |= line.is_empty();
                continue;
            };
            inside = !line.ends_with(';');
            let group = match path.split("::").next() {
                Some("std") => 0,
                Some("crate" | "self" | "super") => 2,
                _ => 1,
            };
            let last = groups.last().copied().unwrap_or(0);
            assert!(group >= last, "{}: `{line}` stands too late", source.path);
            assert!(group == last || apart || groups.is_empty(), "{}: no blank line before `{line}`", source.path);
            groups.push(group);
            apart = false;
        }
    }
}
