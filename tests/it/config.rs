//! The configurations under `tests/config`: good ones load, and each bad one gives exactly the text beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test` rewrites those texts; read the diff before you commit it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
use relay::assemble::{Loaded, load};
use relay::config::files::{MAX_FILE, Memory};
use relay::diagnostic::{Diagnostic, any_error, render};
use relay::disk::Disk;
use relay::schema::compile::SchemaCache;
use relay::time::Time;
use serde_json::json;

use crate::program::Place;

/// The sources that hold the codes which the files alone can cause; those of `change.rs` come up only in a reload.
const WRITTEN: &[&str] = &[
    "src/diagnostic/file.rs",
    "src/diagnostic/value.rs",
    "src/diagnostic/server.rs",
    "src/diagnostic/topic.rs",
    "src/diagnostic/token.rs",
    "src/schema/compile/fault.rs",
];

/// The diagnostic codes in a source file, found by what precedes them there.
pub fn codes_in(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(file).expect("the source is there");
    let marks = ["About::error(", "About::warning(", " => \"schema-", " => (\"schema-"];
    let behind = |mark| text.match_indices(mark).map(|(at, _)| &text[at..]);
    let codes: BTreeSet<_> =
        marks.into_iter().flat_map(behind).filter_map(|text| Some(text.split('"').nth(1)?.to_owned())).collect();
    assert!(codes.len() >= 5, "{file}: only {codes:?}");
    codes
}

fn load_file(path: &Path) -> Loaded {
    load(&Disk::new(path), &SchemaCache::default(), Time::now())
}

/// Each fixture's name and its relay.toml: `<name>.toml`, or `<name>/relay.toml` if it consists of several files.
fn fixtures(directory: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("fixtures are there") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.push((name, path.join("relay.toml")));
        } else if path.extension().is_some_and(|e| e == "toml") {
            found.push((name, path));
        }
    }
    found.sort();
    found
}

#[test]
fn every_diagnostic_has_a_fixture_and_every_fixture_gives_its_text() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut seen = BTreeSet::new();
    for (code, path) in fixtures("tests/config/bad") {
        let loaded = load_file(&path);
        let shown = path.display().to_string();
        let text = render::human(&loaded.diagnostics, &loaded.sources, false)
            + &render::summary(&shown, &loaded.diagnostics)
            + "\n";
        for diagnostic in &loaded.diagnostics {
            assert_eq!(diagnostic.fact.about().code, code, "{shown} is about more than its name says:\n{text}");
        }
        assert!(!loaded.diagnostics.is_empty(), "{shown} is found to be good");
        assert_eq!(loaded.config.is_none(), loaded.diagnostics.iter().any(Diagnostic::is_error), "{shown}");
        let golden =
            if path.ends_with("relay.toml") { path.with_file_name("expected.txt") } else { path.with_extension("txt") };
        if update {
            fs::write(&golden, &text).expect("the fixture can be written");
        }
        assert_eq!(text, fs::read_to_string(&golden).unwrap_or_default(), "{}", golden.display());
        seen.insert(code);
    }
    let written: BTreeSet<_> = WRITTEN.iter().flat_map(|file| codes_in(file)).collect();
    assert_eq!(seen, written, "what has a fixture in tests/config/bad, and what is written");
    assert!(seen.len() >= 40, "only {} codes were seen", seen.len());
}

#[test]
fn good_configurations_have_no_problems() {
    let mut fixtures = fixtures("tests/config/ok");
    fixtures.push(("the repository's own".to_owned(), PathBuf::from("relay.toml")));
    for (name, path) in &fixtures {
        let loaded = load_file(path);
        let text = render::human(&loaded.diagnostics, &loaded.sources, false);
        assert!(loaded.diagnostics.is_empty() && loaded.config.is_some(), "{name}:\n{text}");
    }
    assert!(fixtures.len() > 3, "only {} good configurations", fixtures.len());
}

const SECRET: &str = "correct-horse-battery-staple-0123456789";

/// A configuration that uses nearly every key, with a secret in each place where one may or must not stand.
fn everything() -> String {
    let text = fs::read_to_string("tests/config/ok/every_key.toml").expect("the fixture is there");
    text + &format!("\n[tokens.plain]\nsecret = \"{SECRET}\"\n\n[tokens.digest]\nsha256 = '{SECRET}'\n")
}

fn all_formats(loaded: &Loaded) -> String {
    let (diagnostics, sources) = (&loaded.diagnostics, &loaded.sources);
    let human = render::human(diagnostics, sources, false) + &render::human(diagnostics, sources, true);
    human + &render::json(diagnostics, sources).to_string() + &render::github(diagnostics, sources)
}

fn load_text(text: &str) -> Loaded {
    load(&Memory::new(text), &SchemaCache::default(), Time::now())
}

#[test]
fn no_form_of_a_diagnostic_shows_a_secret() {
    let loaded = load_text(&everything());
    let shown = all_formats(&loaded);
    assert!(shown.contains("plain-secret") && shown.contains("bad-digest"), "{shown}");
    assert!(!shown.contains("correct"), "{shown}");
}

/// Regression: a secret under a wrong key, in a wrong form or in a comment was shown with its line, also in the log of
/// a running relay.
#[test]
fn a_secret_under_a_wrong_key_or_form_is_masked() {
    let head = "version = 1\n[topics.cats]\nschema = \"any\"\n[anonymous]\npublish = [\"cats\"]\n";
    let mut shown = 0;
    for slip in [
        "[tokens.a]\nsecert = \"hunter2\"",
        "[tokens.a]\nsecret = { env = \"hunter2\" }",
        "[tokens.a]\nsecret = { file = \"hunter2\" }",
        "[tokens.a.secret]\nenv = 'hunter2'",
        "[tokens.a.secret]\nvalue = \"hunter2\"",
        "[tokens]\nshop = \"hunter2\"",
        "[tokens.a]\nsecret: \"hunter2\"",
        "[tokens.a]\nsecret \"hunter2\"",
        "[tokens.a]\nsecret hunter2",
        "[tokens.a]\nhunter2",
        "[tokens.a]\ntoken = \"hunter2\"",
        "[tokens.a]\npassword = 'hunter2'",
        "[tokens.a]\napi_key = hunter2",
        "[tokens.a]\nSecret = \"hunter2",
        "[tokens.a]\nsha-256 = [\"hunter2\"]",
        "[tokens.a]\nsecret = \"x\" # was hunter2",
        "[tokens.a] # hunter2\nretries = 3",
        "[tokens.a]\nuser = \"u\" secert = \"hunter2\"",
        "[tokens.a]\npublish = [\"cats\"\nsecert = \"hunter2\"",
        "[tokens.a]\nsecert = \"\"\"\nhunter2\n\"\"\"",
        "[tokens.a\nsecert = \"hunter2\"",
        "[token.a]\nsecert = \"hunter2\"",
        "[shop]\nsecert = \"hunter2\"\n[shop]\nsecert = \"hunter2\"",
        "[[tokens]]\nsecert = \"hunter2\"",
        "[tokens]\na = { secert = \"hunter2\" }",
        "[limits]\ntokens.a.secert = \"hunter2\"",
        "[limits]\ntokens = { a = { secert = \"hunter2\" } }",
        "[server.tls]\ncert = \"a\"\nkey = \"\"\"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n\"\"\"",
        "[server.tls]\ncert = \"a\"\nkey = '-----BEGIN EC PRIVATE KEY-----hunter2-----END EC PRIVATE KEY-----'",
        "[server.tls]\ncert = \"a\"\nkey = \"-----BEGIN PRIVATE KEY-----\nhunter2\n",
        "[server]\nkey = \"-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\"",
    ] {
        let loaded = load_text(&format!("{head}{slip}\n"));
        let all = all_formats(&loaded);
        assert!(!loaded.diagnostics.is_empty() && !all.contains("hunter2"), "{slip}\n{all}");
        shown += usize::from(all.contains("*******"));
    }
    assert!(shown > 12, "the lines are shown, and masked: {shown}");
    let loaded = load_text(&format!("{head}[tokens.a]\nsecert = \"hunter2\" # a \u{e9}\n"));
    let text = render::human(&loaded.diagnostics, &loaded.sources, false);
    let near = load_text(&format!("{head}[tokens.a]\nsecret = {{ fil = \"hunter2\" }}\n"));
    let near = render::human(&near.diagnostics, &near.sources, false);
    assert!(
        near.contains("unknown key `***`") && !near.contains("did you mean"),
        "what it is near to tells of it: {near}"
    );
    let line = "7 | secert = \"*******\" # **\u{b7}\n  | ^^^^^^";
    assert!(text.contains("unknown key `secert` in `[tokens.a]`") && text.contains(line), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a file is mangled, it is judged, and its diagnostics can be written in every format.
    #[test]
    fn no_text_is_too_broken_to_be_told_what_is_wrong_with_it(
        edits in vec((any::<proptest::sample::Index>(), 0..4_usize, "[\\[\\]{}\"'=,.\\n #é\u{1F408}a1-]{0,3}"), 1..6)
    ) {
        let mut text: Vec<char> = everything().chars().collect();
        for (at, removed, inserted) in edits {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        let loaded = load_text(&text);
        all_formats(&loaded);
        prop_assert_eq!(loaded.config.is_none(), any_error(&loaded.diagnostics));
    }
}

#[test]
fn json_and_github_say_what_people_are_told() {
    let text = "version = 1\n[topics.cats]\nschema = \"any\"\n[topics.dogs]\nschema = \"any\"\nhistroy = 1\n\
        [anonymous]\npublish = [\"cats\", \"dogs\"]\n[topics.cats]\n";
    let loaded = load_text(text);
    assert_eq!(
        render::json(&loaded.diagnostics, &loaded.sources),
        json!([
            {
                "code": "unknown-key", "severity": "error", "message": "unknown key `histroy` in `[topics.dogs]`",
                "help": "did you mean `history`?", "file": "relay.toml", "line": 6, "column": 1, "end_line": 6,
                "end_column": 8, "related": [],
            },
            {
                "code": "duplicate-key", "severity": "error", "message": "`cats` appears twice in the same table",
                "help": "keep one of them", "file": "relay.toml", "line": 9, "column": 9, "end_line": 9,
                "end_column": 13,
                "related": [{"file": "relay.toml", "line": 2, "column": 1, "message": "first here"}],
            },
        ])
    );
    assert_eq!(
        render::github(&loaded.diagnostics, &loaded.sources),
        "::error file=relay.toml,line=6,col=1,title=unknown-key::unknown key `histroy` in `[topics.dogs]`%0Ahelp: did \
         you mean `history`?\n\
         ::error file=relay.toml,line=9,col=9,title=duplicate-key::`cats` appears twice in the same table%0Ahelp: keep \
         one of them\n"
    );
}

/// What has a meaning of its own in an annotation is escaped there, and a span of several lines ends where it ends.
#[test]
fn whatever_stands_in_a_name_or_over_lines_is_told_in_its_place() {
    let topics = "[topics.cats]\nschema = [\n\"any\"\n]\n\"100%\" = 1\n";
    let files = Memory::new("version = 1\ninclude = [\"t/*.toml\"]\n").with("t/a,b:c.toml", topics);
    let loaded = load(&files, &SchemaCache::default(), Time::now());
    let github = render::github(&loaded.diagnostics, &loaded.sources);
    let expected =
        "::error file=t/a%2Cb%3Ac.toml,line=5,col=1,title=unknown-key::unknown key `100%25` in `[topics.cats]`%0A";
    assert!(github.contains(expected), "{github}");
    let json = render::json(&loaded.diagnostics, &loaded.sources);
    let list =
        json.as_array().expect("a list").iter().find(|one| one["code"] == "wrong-type").expect("a list is no text");
    assert_eq!([&list["line"], &list["end_line"], &list["end_column"]], [&json!(2), &json!(4), &json!(2)], "{list}");
}

/// Regression: when descriptors ran out, the cause was "uncategorized error"; and whatever the cause, the advice was to
/// name the file.
#[test]
fn why_relay_toml_cannot_be_read_is_the_systems_word_and_the_advice_fits_it() {
    let long = "x".repeat(300);
    for (path, cause, advice) in [
        (
            "tests/nothing.toml",
            "there is no such file",
            "name the file with `--config`, or write one: README, \"Five minutes\", begins with a small one; a relay that runs keeps its \
             configuration until the file is back",
        ),
        (
            "tests/config",
            "it is not a regular file",
            "name a file with `--config`, not a directory or a pipe: it is read again at each reload",
        ),
        (&long, "File name too long (os error 36)", "fix what the system reports, and try again"),
    ] {
        let loaded = load_file(Path::new(path));
        let expected = format!("error[config-unreadable]: cannot read `{path}`: {cause}\n |\n = help: {advice}\n\n");
        assert_eq!(render::human(&loaded.diagnostics, &loaded.sources, false), expected);
    }
}

#[test]
fn a_link_out_of_the_directory_is_not_followed_and_one_inside_is() {
    let place = Place::new("links");
    place.write("outside.json", "{}");
    place.write("inside/..data/cat.json", "{}");
    // As Kubernetes mounts a ConfigMap.
    symlink("..data/cat.json", place.0.join("inside/cat.json")).expect("a link");
    symlink("../outside.json", place.0.join("inside/dog.json")).expect("a link");
    let text = "version = 1\n[topics.cats]\nschema = \"cat.json\"\n[topics.dogs]\nschema = \"dog.json\"\n\
        [anonymous]\npublish = [\"**\"]\n";
    let loaded = load_file(&place.write("inside/relay.toml", text));
    let said: Vec<_> = loaded.diagnostics.iter().map(|d| d.fact.to_string()).collect();
    assert_eq!(said, ["cannot read the schema `dog.json`: it lies outside relay.toml's directory"]);
    assert_eq!(loaded.inputs.paths(), ["cat.json", "dog.json", "relay.toml"]);
}

#[test]
fn what_has_not_changed_is_not_compiled_again() {
    let path = Path::new("tests/config/ok/include/relay.toml");
    let first = load_file(path);
    let second = load(&Disk::new(path), &first.remembered.cache, Time::now());
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.schemas.len(), 2);
    for (file, schema) in &first.schemas {
        assert!(std::sync::Arc::ptr_eq(schema, &second.schemas[file]), "{file}");
    }
}

/// Regression: the check for changes read files with another size limit than the load, and found this one changed each
/// time.
#[test]
fn a_large_schema_that_has_not_changed_is_unchanged() {
    let large = " ".repeat(MAX_FILE + 1);
    let config = "version = 1\n[topics.cats]\nschema = \"cat.json\"\n[limits]\nschema_size = \"20 MiB\"\n";
    let files = Memory::new(config).with("cat.json", &format!("{large}true"));
    let loaded = load(&files, &SchemaCache::default(), Time::now());
    assert!(!any_error(&loaded.diagnostics), "{:?}", loaded.diagnostics);
    assert!(loaded.inputs.are_unchanged(&files));
    assert!(!loaded.inputs.are_unchanged(&files.with("cat.json", &format!("{large}false"))));
}

/// Writes 5,000 topics over 500 schema files that share definitions, with as many grants as a large installation has.
pub fn write_large(directory: &Path) {
    fs::create_dir_all(directory.join("schemas")).expect("a directory");
    fs::create_dir_all(directory.join("topics.d")).expect("a directory");
    let common = r#"{"$defs": {"id": {"type": "string", "pattern": "^[a-z]+-[0-9]+$"}, "at": {"type": "string", "format": "date-time"}}}"#;
    fs::write(directory.join("schemas/common.json"), common).expect("a file");
    for schema in 0..500 {
        let text = json!({
            "type": "object",
            "title": format!("schema {schema}"),
            "properties": {
                "id": {"$ref": "common.json#/$defs/id"},
                "at": {"$ref": "common.json#/$defs/at"},
                "amount": {"type": "integer", "minimum": 0, "maximum": schema + 1},
                "lines": {"type": "array", "maxItems": 100, "items": {"type": "object", "properties": {
                    "sku": {"type": "string", "minLength": 1, "maxLength": 40}, "count": {"type": "integer"}}}},
            },
            "required": ["id", "at"],
            "additionalProperties": false,
        });
        fs::write(directory.join(format!("schemas/{schema}.json")), text.to_string()).expect("a file");
    }
    for file in 0..50 {
        let topic = |n: usize| {
            let name = if n.is_multiple_of(10) { format!("\"t{n}.{{region}}\"") } else { format!("\"t{n}.all\"") };
            format!(
                "[topics.{name}]\nschema = \"schemas/{}.json\"\nhistory = {{ count = 100, bytes = \"1 MiB\" }}\n",
                n / 10
            ) + &format!(
                "[[topics.{name}.examples]]\nvalid = {{ id = \"o-1\", at = 2026-11-24T10:00:00Z, amount = 0 }}\n"
            )
        };
        let text: String = (file * 100..(file + 1) * 100).map(topic).collect();
        fs::write(directory.join(format!("topics.d/{file}.toml")), text).expect("a file");
    }
    let token =
        |n: usize| format!("[tokens.n{n}]\nsha256 = \"{n:064x}\"\npublish = [\"t{n}.*\"]\nsubscribe = [\"**\"]\n");
    let tokens: String = (0..500).map(token).collect();
    let text = format!("version = 1\ninclude = [\"topics.d/*.toml\"]\n{tokens}");
    fs::write(directory.join("relay.toml"), text).expect("a file");
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored five_thousand"]
fn five_thousand_topics_over_500_schemas_are_checked_within_a_second() {
    let place = Place::new("large");
    write_large(&place.0);
    let path = place.0.join("relay.toml");
    let begin = Instant::now();
    let loaded = load_file(&path);
    let first = begin.elapsed();
    let begin = Instant::now();
    let again = load(&Disk::new(&path), &loaded.remembered.cache, Time::now());
    let second = begin.elapsed();
    println!("first load {first:?}, with its cache {second:?}");
    assert_eq!(render::human(&loaded.diagnostics, &loaded.sources, false), "");
    assert_eq!((loaded.config.map(|c| c.topics.len()), again.schemas.len()), (Some(5_000), 500));
    assert!(first < Duration::from_secs(1), "{first:?}");
}
