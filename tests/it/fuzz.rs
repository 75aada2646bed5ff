//! The fuzz targets as ordinary tests: over their corpora, and over a bounded number of random edits of these and of
//! random bytes.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Runs one target over its corpus, over `cases` edits of it, and over `cases` random inputs.
fn run(name: &str, target: fn(&[u8]), cases: u32) {
    let directory = format!("fuzz/corpus/{name}");
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let corpus: Vec<Vec<u8>> = files.map(|file| fs::read(file.expect("an entry").path()).expect("a file")).collect();
    assert!(corpus.len() > 1, "{directory} is empty");
    corpus.iter().for_each(|bytes| target(bytes));
    let edits = vec((any::<Index>(), 0..4_usize, vec(any::<u8>(), 0..4)), 0..6);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(any::<Index>(), edits), |(from, edits)| {
        let mut bytes = from.get(&corpus).clone();
        for (at, removed, inserted) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted);
        }
        target(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(any::<u8>(), 0..200), |bytes| {
        target(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

#[test]
fn no_configuration_is_too_broken_to_be_judged() {
    run("config", targets::config, 100);
}

#[test]
fn no_schema_is_too_broken_to_be_judged() {
    run("schema", targets::schema, 100);
}

#[test]
fn a_publish_is_accepted_as_it_is_or_refused_with_a_reason() {
    run("publish", targets::publish, 2_000);
}

#[test]
fn websocket_bytes_mean_the_same_however_they_are_cut() {
    run("inbound", targets::inbound, 2_000);
}

#[test]
fn a_command_is_read_or_refused_with_a_reason() {
    run("command", targets::command, 2_000);
}

#[test]
fn a_payload_is_one_event_whatever_it_holds() {
    run("sse", targets::sse, 2_000);
}

#[test]
fn a_position_has_one_spelling() {
    run("position", targets::position, 2_000);
}
