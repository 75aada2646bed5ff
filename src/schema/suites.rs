//! JSON-Schema-Test-Suite, where it lies beside the repository: the required cases of the dialects in use.

#![expect(clippy::disallowed_macros, reason = "what it prints is for whoever runs it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::schema::Schema;
use crate::schema::compile::{Compiled, SchemaCache, SchemaFaultKind, SchemaLimits, Texts, compile_all};
use crate::schema::json::{MAX_DEPTH, parse};

/// Misses that are meant: how the name starts, what it holds, and why.
const MISSES: &[(&str, &str, &str)] = &[
    ("draft2020-12/format: ", "is only an annotation by default", "here a format that is written down is judged"),
    ("draft2019-09/vocabulary: ", "custom metaschema", OWN_DIALECT),
    ("draft2019-09/vocabulary: ", "optional vocabulary", OWN_DIALECT),
    ("draft2020-12/vocabulary: ", "custom metaschema", OWN_DIALECT),
    ("draft2020-12/vocabulary: ", "optional vocabulary", OWN_DIALECT),
];

const OWN_DIALECT: &str = "a `$schema` of one's own is refused by name rather than half understood";

const LIMITS: SchemaLimits = SchemaLimits { schema_size: 1 << 20, regex_size: 1 << 20, json_depth: 64 };

/// Warnings that its cases are about: nothing else in them is taken for a keyword without effect.
const TOLD: [&str; 2] = ["has no effect without `if`", "has no effect beside `$ref` in draft 7"];

/// One case's schema, and the suite's `remotes/` in place of what stands on http://localhost:1234/.
struct Case<'a> {
    schema: &'a Value,
    remotes: PathBuf,
    /// What `$schema` is taken to be where it is absent.
    dialect: &'a str,
}

impl Texts for Case<'_> {
    fn read(&self, path: &str) -> Result<Arc<str>, String> {
        let mut document = match path.strip_prefix("remotes/") {
            None if path == "schema.json" => self.schema.clone(),
            None => return Err(format!("{path} is not here")),
            Some(path) => {
                let text = std::fs::read(self.remotes.join(path)).map_err(|e| e.to_string())?;
                serde_json::from_slice(&text).map_err(|e| e.to_string())?
            }
        };
        if let (Value::Object(members), false) = (&mut document, self.dialect.is_empty()) {
            members.entry("$schema").or_insert_with(|| json!(self.dialect));
        }
        Ok(document.to_string().replace("http://localhost:1234/", "relay:///remotes/").into())
    }
}

fn compile(schema: &Value, dialect: &str, remotes: &Path) -> Compiled {
    let case = Case { schema, dialect, remotes: remotes.to_owned() };
    compile_all(&case, &["schema.json".into()], &LIMITS, &SchemaCache::default())
}

/// A folder of foreign suites: below `$RELAY_SUITES`, else beside the repository; `None`, and said so, where it is not.
pub(super) fn suite(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites");
    let folder = std::env::var_os("RELAY_SUITES").map_or_else(beside, PathBuf::from).join(name);
    if !folder.is_dir() {
        eprintln!("skipped: {} is not here", folder.display());
        return None;
    }
    Some(folder)
}

/// Whether a schema accepts a value that is published.
fn accepts(schema: &Schema, value: &Value) -> bool {
    let text = Bytes::from(value.to_string());
    let json = parse(&text, MAX_DEPTH).unwrap_or_else(|why| panic!("{value}: {why:?}"));
    schema.accept(json).is_ok()
}

#[test]
fn the_json_schema_test_suite_agrees() {
    let Some(folder) = suite("json-schema") else { return };
    let dialects = [
        ("draft7", "http://json-schema.org/draft-07/schema#"),
        ("draft2019-09", "https://json-schema.org/draft/2019-09/schema"),
        ("draft2020-12", ""),
    ];
    let (mut passed, mut missed) = (0, BTreeSet::new());
    for (draft, dialect) in dialects {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder.join("tests").join(draft)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "json")) {
            let cases: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            for case in cases.as_array().unwrap() {
                let name = format!("{draft}/{}: {}", file.file_stem().unwrap().to_string_lossy(), case["description"]);
                let compiled = compile(&case["schema"], dialect, &folder.join("remotes"));
                for fault in compiled.faults.iter().filter(|fault| fault.kind.is_warning()) {
                    let told = fault.kind.to_string();
                    assert!(TOLD.iter().any(|sentence| told.ends_with(sentence)), "{name}: {}: {told}", fault.pointer);
                }
                for test in case["tests"].as_array().unwrap() {
                    let answer = match compiled.schemas.get("schema.json") {
                        Some(schema) => Ok(accepts(schema, &test["data"])),
                        None => match &compiled.faults[0].kind {
                            SchemaFaultKind::Unsatisfiable { .. } => Ok(false),
                            other => Err(other.to_string()),
                        },
                    };
                    if answer == Ok(test["valid"].as_bool().unwrap()) {
                        passed += 1;
                    } else {
                        missed.insert(format!("{name}: {}: {answer:?}", test["description"]));
                    }
                }
            }
        }
    }
    let listed = |name: &str, (start, part, _): &(&str, &str, &str)| name.starts_with(start) && name.contains(part);
    let unknown: Vec<&String> = missed.iter().filter(|name| !MISSES.iter().any(|miss| listed(name, miss))).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let unused: Vec<_> = MISSES.iter().filter(|miss| !missed.iter().any(|name| listed(name, miss))).collect();
    assert!(unused.is_empty(), "listed as missed, but they pass: {unused:#?}");
    eprintln!("{passed} passed, {} are listed as missed", missed.len());
    assert!(passed > 3_000);
}
