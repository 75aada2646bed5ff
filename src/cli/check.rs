//! `relay check`

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::against::Old;
use super::{BAD_CONFIG, Format, complain, print, print_diagnostics};
use crate::assemble::gate::examine;
use crate::assemble::worst_case::WorstCase;
use crate::assemble::{Loaded, load};
use crate::config::model::Config;
use crate::connections;
use crate::diagnostic::render;
use crate::disk::Disk;
use crate::schema::compile::SchemaCache;
use crate::time::Time;

/// The code of a comparison for which there was nothing to compare with.
const NOTHING: &str = "nothing-to-compare-with";

/// The result of a check.
struct Checked {
    loaded: Loaded,
    /// The configuration, if it is valid.
    config: Option<Config>,
    /// What it was compared with, if it was to be compared.
    against: Option<Against>,
}

/// The result of a comparison.
enum Against {
    /// There was nothing to compare with, for this reason.
    Nothing(String),
    /// The change would be refused.
    Refused,
    /// What would change.
    Allowed(Change),
}

struct Change {
    /// For programs.
    plan: Value,
    /// What is not in the plan, because it could not be compared.
    not_compared: &'static [&'static str],
    /// The same for people.
    text: String,
}

pub(super) fn check(path: &Path, format: Format, against: Option<&str>) -> ExitCode {
    let loaded = load(&Disk::new(path), &SchemaCache::default(), Time::now());
    let checked = match against.map(Old::find).transpose() {
        Ok(Some(old)) => compare(old, loaded),
        Ok(None) => alone(loaded, None),
        Err(why) => alone(loaded, Some(Against::Nothing(why))),
    };
    let printed = match format {
        Format::Human => human(path, &checked),
        Format::Json => print(&format!("{}\n", json(&checked))),
        Format::Github => print(&github(&checked)),
    };
    let code = match &checked.against {
        Some(Against::Nothing(why)) => {
            complain(&format!("relay: {why}\n"));
            ExitCode::FAILURE
        }
        _ => printed,
    };
    if checked.config.is_none() { ExitCode::from(BAD_CONFIG) } else { code }
}

fn alone(mut loaded: Loaded, against: Option<Against>) -> Checked {
    Checked { config: loaded.config.take(), loaded, against }
}

fn compare(mut old: Old, loaded: Loaded) -> Checked {
    if let Some(config) = &loaded.config {
        old.suppose(config);
    }
    let (loaded, mut next) = examine(&old.snapshot, loaded);
    let against = next.as_mut().map_or(Against::Refused, |next| {
        let plan = old.plan(next);
        let text = old.describe(&plan, &next.snapshot);
        Against::Allowed(Change { plan, not_compared: old.not_compared(&next.snapshot), text })
    });
    Checked { loaded, config: next.map(|next| next.snapshot.config), against: Some(against) }
}

fn json(checked: &Checked) -> Value {
    let mut diagnostics = render::json(&checked.loaded.diagnostics, &checked.loaded.sources);
    let mut not_compared: &[&str] = &[];
    let plan = match &checked.against {
        None => return diagnostics,
        Some(Against::Nothing(why)) => {
            if let Some(list) = diagnostics.as_array_mut() {
                list.push(json!({"code": NOTHING, "severity": "error", "message": why}));
            }
            None
        }
        Some(Against::Refused) => None,
        Some(Against::Allowed(change)) => {
            not_compared = change.not_compared;
            Some(&change.plan)
        }
    };
    let mut told = json!({"diagnostics": diagnostics, "plan": plan});
    if !not_compared.is_empty() {
        told["not_compared"] = not_compared.into();
    }
    told
}

fn github(checked: &Checked) -> String {
    let diagnostics = render::github(&checked.loaded.diagnostics, &checked.loaded.sources);
    match &checked.against {
        None | Some(Against::Refused) => diagnostics,
        Some(Against::Nothing(why)) => diagnostics + &render::remark("error", NOTHING, why),
        Some(Against::Allowed(change)) => diagnostics + &render::remark("notice", "plan", change.text.trim_end()),
    }
}

fn human(path: &Path, checked: &Checked) -> ExitCode {
    print_diagnostics(&checked.loaded);
    let summary = render::summary(&path.display().to_string(), &checked.loaded.diagnostics);
    match &checked.config {
        Some(config) => {
            let change = match &checked.against {
                Some(Against::Allowed(change)) => &change.text,
                _ => "",
            };
            print(&format!("{summary}\n{}{change}", overview(config, &checked.loaded)))
        }
        None => {
            complain(&format!("{summary}\n"));
            ExitCode::SUCCESS
        }
    }
}

/// A summary of a valid configuration: its counts and its worst-case memory.
fn overview(config: &Config, loaded: &Loaded) -> String {
    let counted = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let families = config.topics.iter().filter(|topic| !topic.name.is_exact()).count();
    let (schemas, files) = (loaded.schemas.len(), loaded.files.len());
    // Says that what a `$ref` leads to was read.
    let made_of = if files > schemas { format!(" in {files} files") } else { String::new() };
    let worst = WorstCase::of(config);
    let mut text = format!(
        "{}, {}, {}{made_of}, {}\nworst-case memory: {}\n",
        counted(config.topics.len() - families, "topic", "topics"),
        counted(families, "family", "families"),
        counted(schemas, "schema", "schemas"),
        counted(config.tokens.len(), "token", "tokens"),
        about(worst.total()),
    );
    let limits = &config.limits;
    let rows = [
        ("history of topics", worst.topics, String::new()),
        ("history of families", worst.families, format!("{} concrete topics each", limits.family_topics)),
        ("window", worst.window, String::new()),
        (
            "connections",
            worst.connections,
            limits
                .connections
                .map_or(format!("{}, or what the descriptors allow", connections::MOST), |n| n.to_string()),
        ),
        ("validation", worst.judging, String::new()),
        ("unread answers", worst.outbound, String::new()),
        ("registrations", worst.registrations, limits.registrations.to_string()),
        ("idempotency keys", worst.keys, limits.idempotency_keys.to_string()),
    ];
    for (what, bytes, note) in rows.into_iter().filter(|(_, bytes, _)| *bytes > 0) {
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {what:<20} {:>10}{note}", about(bytes));
    }
    text
}

/// A size rounded to about three digits.
fn about(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 100.0 && value.fract() != 0.0 { 1 } else { 0 };
    format!("{value:.digits$} {}", units[unit])
}
