//! JSON-Schema-Test-Suite, required and optional: each schema is a topic, and each instance is judged by `POST
//! /validate`. What the suite serves on `http://localhost:1234/` are files here; only this test replaces such
//! addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use relay::assemble::{build, load};
use relay::config::files::Memory;
use relay::diagnostic::render;
use relay::schema::compile::SchemaCache;
use relay::time::Time;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::peer::Peer;
use crate::rig::{Rig, snapshot_of};
use crate::suites::suite;

const DIALECTS: [(&str, &str); 3] = [
    ("draft7", "http://json-schema.org/draft-07/schema#"),
    ("draft2019-09", "https://json-schema.org/draft/2019-09/schema"),
    ("draft2020-12", ""),
];

/// Intended misses: how the name starts, what it contains, and why.
const MISSES: &[(&str, &str, &str)] = &[
    ("draft2020-12/format: ", "is only an annotation by default", "here a format that is written down is judged"),
    ("draft2019-09/vocabulary: ", "custom metaschema", OWN_DIALECT),
    ("draft2019-09/vocabulary: ", "optional vocabulary", OWN_DIALECT),
    ("draft2020-12/vocabulary: ", "custom metaschema", OWN_DIALECT),
    ("draft2020-12/vocabulary: ", "optional vocabulary", OWN_DIALECT),
    ("draft2020-12/optional/format-assertion: ", "custom metaschema", OWN_DIALECT),
];
const OWN_DIALECT: &str = "a `$schema` of one's own is refused by name rather than half understood";

/// Warnings that the required cases are about; no other keyword in them may be reported as having no effect. Optional
/// cases are about patterns, which draw other warnings.
const TOLD: [&str; 2] = ["has no effect without `if`", "has no effect beside `$ref` in draft 7"];

/// One schema with its instances.
struct Case {
    name: String,
    schema: String,
    tests: Vec<Value>,
}

#[tokio::test]
async fn json_schema_test_suite_agrees_over_http() {
    let Some(folder) = suite("json-schema") else { return };
    let (mut passed, mut missed) = (0, BTreeSet::new());
    for (draft, dialect) in DIALECTS {
        let cases = cases(&folder, draft, dialect);
        let (files, refused) = loadable(&cases, &remotes(&folder, dialect));
        let rig = Rig::serve(build::live(snapshot_of(&files, |_| {}), 2)).await;
        let mut peer = rig.connect().await;
        for (number, case) in cases.iter().enumerate() {
            for test in &case.tests {
                let answer = match refused.get(&number) {
                    // Relay refuses a schema that nothing can satisfy at once, rather than every message.
                    Some(code) if code == "schema-unsatisfiable" => 422,
                    Some(_) => 0,
                    None => validate(&mut peer, number, &test["data"]).await,
                };
                let expected = if test["valid"] == true { 200 } else { 422 };
                if answer == expected {
                    passed += 1;
                } else {
                    let why = refused.get(&number).cloned().unwrap_or_else(|| answer.to_string());
                    missed.insert(format!("{}: {}: {why}", case.name, test["description"]));
                }
            }
        }
        rig.end().await;
    }
    let listed = |name: &str, (start, part, _): &(&str, &str, &str)| name.starts_with(start) && name.contains(part);
    let unknown: Vec<&String> = missed.iter().filter(|name| !MISSES.iter().any(|miss| listed(name, miss))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let unused: Vec<_> = MISSES.iter().filter(|miss| !missed.iter().any(|name| listed(name, miss))).collect();
    assert!(unused.is_empty(), "listed as missed, but they pass: {unused:#?}");
    eprintln!("JSON-Schema-Test-Suite over HTTP: {passed} passed, {} are listed as missed", missed.len());
    assert!(passed > 6_000);
}

async fn validate(peer: &mut Peer<TcpStream>, number: usize, instance: &Value) -> u16 {
    let body = instance.to_string();
    let head = "Host: localhost\r\nAuthorization: Bearer secret-all\r\nContent-Type: application/json";
    peer.send(format!("POST /validate/t{number} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .await;
    peer.answer().await.expect("an answer").status
}

fn cases(folder: &Path, draft: &str, dialect: &str) -> Vec<Case> {
    let mut files = Vec::new();
    let root = folder.join("tests").join(draft);
    let mut folders = vec![root.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let groups: Vec<Value> = serde_json::from_slice(&fs::read(&file).expect("it was listed")).expect("JSON");
        let stem = file.with_extension("");
        let stem = stem.strip_prefix(&root).expect("it lies below").to_string_lossy();
        cases.extend(groups.into_iter().map(|group| Case {
            name: format!("{draft}/{stem}: {}", group["description"]),
            schema: local(group["schema"].clone(), dialect),
            tests: group["tests"].as_array().expect("a list").clone(),
        }));
    }
    cases
}

/// A document with its dialect, and with files instead of addresses.
fn local(mut document: Value, dialect: &str) -> String {
    if let (Value::Object(members), false) = (&mut document, dialect.is_empty()) {
        members.entry("$schema").or_insert_with(|| json!(dialect));
    }
    document.to_string().replace("http://localhost:1234/", "relay:///remotes/")
}

/// The suite's `remotes/`, by path.
fn remotes(folder: &Path, dialect: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join("remotes")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(document) = serde_json::from_slice(&fs::read(&path).expect("it was listed")) {
                let name = path.strip_prefix(folder).expect("it lies below").to_string_lossy().into_owned();
                found.insert(name, local(document, dialect));
            }
        }
    }
    found
}

/// A configuration of all cases whose schemas are accepted; and for the others, by number, the code of the diagnostic.
fn loadable(cases: &[Case], remotes: &BTreeMap<String, String>) -> (Memory, BTreeMap<usize, String>) {
    let mut refused = BTreeMap::new();
    loop {
        let files = files(cases, remotes, &refused);
        let loaded = load(&with_secret(&files), &SchemaCache::default(), Time::now());
        let told = render::json(&loaded.diagnostics, &loaded.sources);
        let of_cases = told.as_array().expect("a list").iter().filter_map(|diagnostic| {
            let text = diagnostic.to_string();
            let number: usize = text.split("cases/").nth(1)?.split('.').next()?.parse().ok()?;
            Some((number, diagnostic))
        });
        if loaded.config.is_some() {
            for (number, diagnostic) in of_cases.filter(|(number, _)| !cases[*number].name.contains("/optional/")) {
                let message = diagnostic["message"].as_str().expect("a sentence");
                assert!(TOLD.iter().any(|end| message.ends_with(end)), "{}: {message}", cases[number].name);
            }
            return (files, refused);
        }
        let before = refused.len();
        for (number, diagnostic) in of_cases.filter(|(_, diagnostic)| diagnostic["severity"] == "error") {
            refused.entry(number).or_insert_with(|| diagnostic["code"].as_str().unwrap_or_default().to_owned());
        }
        assert!(refused.len() > before, "{told:#}");
    }
}

fn with_secret(files: &Memory) -> Memory {
    let mut files = files.clone();
    files.env.insert("ALL".into(), "secret-all".into());
    files
}

fn files(cases: &[Case], remotes: &BTreeMap<String, String>, refused: &BTreeMap<usize, String>) -> Memory {
    let mut toml = String::from(
        "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [tokens.all]\nsecret = { env = \"ALL\" }\npublish = [\"**\"]\n",
    );
    let kept: Vec<_> = cases.iter().enumerate().filter(|(number, _)| !refused.contains_key(number)).collect();
    for (number, _) in &kept {
        writeln!(toml, "[topics.t{number}]\nschema = \"cases/{number}.json\"").expect("a text takes all");
    }
    let mut files = Memory::new(&toml);
    for (number, case) in kept {
        files = files.with(&format!("cases/{number}.json"), &case.schema);
    }
    remotes.iter().fold(files, |files, (name, text)| files.with(name, text))
}
