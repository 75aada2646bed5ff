//! The Autobahn cases (run by kosoku, from PyPI) against the real server: its accept loop, its handshake, its
//! connection. Only the protocol is the test's own: it echoes.
//!
//! Families 12 and 13 test compression, which the server never agrees to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use relay::assemble::build;
use relay::close::Close;
use relay::command::{BadCommand, Command as Asked, CommandKind};
use relay::config::model::Config;
use relay::frame::{self, Opcode};
use relay::message::{Epoch, Record};
use relay::notice::Notice;
use relay::plugin::{Encoder, Protocol, ReadBinary};
use serde_json::Value;

use crate::rig::{Rig, grants, snapshot};

const CASES: usize = 301;
/// The largest messages of family 9 have 16 MiB.
const LARGEST: usize = 32 << 20;

/// Reads every message as a ping whose id is the message itself, so that the pong repeats it.
struct Echo;

/// Begins the id of a binary message; each byte then becomes the character with the same number. No text of the cases
/// begins with it: it is a private-use character of the last plane.
const BINARY: char = '\u{10FFFD}';

impl Encoder for Echo {
    fn slot(&self) -> usize {
        0
    }

    fn message(&self, _: Epoch, record: &Record) -> Bytes {
        frame::frame(Opcode::Text, record.payload.as_bytes())
    }

    fn notice(&self, notice: &Notice) -> Result<Option<Bytes>, Close> {
        match notice {
            Notice::Pong { id: Some(Value::String(text)) } => Ok(Some(match text.strip_prefix(BINARY) {
                Some(bytes) => frame::frame(Opcode::Binary, &bytes.chars().map(|c| c as u8).collect::<Vec<_>>()),
                None => frame::frame(Opcode::Text, text.as_bytes()),
            })),
            _ => Ok(None),
        }
    }
}

impl Protocol for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn command(&self, text: &str) -> Result<Asked, BadCommand> {
        Ok(Asked { id: Some(text.into()), kind: CommandKind::Ping })
    }

    fn binary_command(&self) -> Option<ReadBinary> {
        Some(|bytes| {
            let id: String = std::iter::once(BINARY).chain(bytes.iter().copied().map(char::from)).collect();
            Ok(Asked { id: Some(id.into()), kind: CommandKind::Ping })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_families_1_to_11_is_ok_and_strict() {
    let Some(cases) = run("large", "*", |config| config.limits.frame = LARGEST).await else { return };
    assert_eq!(cases.len(), CASES);
    for (case, result) in &cases {
        assert!(is_ok(result), "{case}: {result}");
    }
    eprintln!("Autobahn: {} cases, all of them OK or informational, none NON-STRICT", cases.len());
}

/// With the limit of production, a larger message ends in 1009, and nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_limits_of_production_every_larger_case_ends_in_1009() {
    let Some(cases) = run("limits", "9.*", |_| {}).await else { return };
    let (small, large): (Vec<_>, Vec<_>) = cases.iter().partition(|(_, result)| is_ok(result));
    for (case, result) in &large {
        assert_eq!(result["remoteCloseCode"], 1009, "{case}: {result}");
    }
    eprintln!("Autobahn, family 9, limits of production: {} cases OK, {} end in 1009", small.len(), large.len());
    assert_eq!((small.len(), large.len()), (14, 40));
}

fn is_ok(result: &Value) -> bool {
    ["behavior", "behaviorClose"].iter().all(|part| matches!(result[part].as_str(), Some("OK" | "INFORMATIONAL")))
}

/// Runs cases; `None`, with a message, if kosoku is not installed.
async fn run(name: &str, include: &'static str, change: impl FnOnce(&mut Config)) -> Option<BTreeMap<String, Value>> {
    if !Command::new("kosoku").arg("--help").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: kosoku is not installed (pip install kosoku==0.1.0)");
        return None;
    }
    let snapshot = snapshot(|config| {
        config.anonymous = grants(&[], &["cats"], &[]);
        config.limits.commands = u32::MAX;
        change(config);
    });
    let rig = Rig::serve_with(build::live(snapshot, 2), &[&Echo], None).await;
    let reports = Path::new(env!("CARGO_TARGET_TMPDIR")).join("autobahn").join(name);
    // Reports of an earlier run would count as well.
    let _ = fs::remove_dir_all(&reports);
    let arguments = ["-m", "fuzzingclient", "-i", include, "-x", "12.*", "-x", "13.*", "-p", "4", "-o"];
    let address = format!("{}/ws", rig.public);
    let run = tokio::task::spawn_blocking({
        let reports = reports.clone();
        move || Command::new("kosoku").args(arguments).arg(reports).arg(address).output()
    });
    let output = run.await.expect("it did not panic").expect("it was there before");
    let index = fs::read_to_string(reports.join("index.json"))
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&index).expect("of JSON");
    rig.end().await;
    Some(index.into_values().flatten().collect())
}
