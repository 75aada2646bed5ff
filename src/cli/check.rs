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

/// The result of a check.
struct Checked {
    loaded: Loaded,
    /// The configuration, if it is valid.
    config: Option<Config>,
    /// What would change, if it was compared and is allowed: the plan for programs, and the text for people.
    change: Option<(Value, String)>,
}

pub(super) fn check(path: &Path, format: Format, against: Option<&str>) -> ExitCode {
    let loaded = load(&Disk::new(path), &SchemaCache::default(), Time::now());
    let checked = match against.map(Old::find).transpose() {
        Ok(Some(old)) => compare(old, loaded),
        Ok(None) => alone(loaded),
        Err(why) => return not_compared(path, format, &alone(loaded), &why),
    };
    let code = tell(path, format, &checked, against.is_some());
    if checked.config.is_none() { ExitCode::from(BAD_CONFIG) } else { code }
}

/// Says why there was nothing to compare with. About the files it reports only errors.
fn not_compared(path: &Path, format: Format, checked: &Checked, why: &str) -> ExitCode {
    let is_bad = checked.config.is_none();
    if is_bad {
        // The exit code of printing matters less than the invalid configuration.
        tell(path, format, checked, true);
    }
    complain(&format!("relay: {why}\n"));
    if is_bad { ExitCode::from(BAD_CONFIG) } else { ExitCode::FAILURE }
}

fn tell(path: &Path, format: Format, checked: &Checked, is_compared: bool) -> ExitCode {
    match format {
        Format::Human => human(path, checked),
        Format::Json => print(&format!("{}\n", json(checked, is_compared))),
        Format::Github => print(&github(checked)),
    }
}

fn alone(mut loaded: Loaded) -> Checked {
    Checked { config: loaded.config.take(), loaded, change: None }
}

fn compare(mut old: Old, loaded: Loaded) -> Checked {
    if let Some(config) = &loaded.config {
        old.suppose(config);
    }
    let (loaded, mut next) = examine(&old.snapshot, loaded);
    let change = next.as_mut().map(|next| {
        let plan = old.plan(next);
        let text = old.describe(&plan, &next.snapshot);
        (plan, text)
    });
    Checked { loaded, config: next.map(|next| next.snapshot.config), change }
}

fn json(checked: &Checked, is_compared: bool) -> Value {
    let diagnostics = render::json(&checked.loaded.diagnostics, &checked.loaded.sources);
    if !is_compared {
        return diagnostics;
    }
    json!({"diagnostics": diagnostics, "plan": checked.change.as_ref().map(|(plan, _)| plan)})
}

fn github(checked: &Checked) -> String {
    let notice = checked.change.as_ref().map(|(_, text)| render::notice("plan", text.trim_end()));
    render::github(&checked.loaded.diagnostics, &checked.loaded.sources) + &notice.unwrap_or_default()
}

fn human(path: &Path, checked: &Checked) -> ExitCode {
    print_diagnostics(&checked.loaded);
    let summary = render::summary(&path.display().to_string(), &checked.loaded.diagnostics);
    match &checked.config {
        Some(config) => {
            let change = checked.change.as_ref().map_or("", |(_, text)| text);
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
