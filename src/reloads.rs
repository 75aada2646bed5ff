//! What came of the reloads: for operators, the metrics and `/ready`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};

use crate::time::Time;

/// What came of the reloads so far.
#[derive(Default)]
pub struct Reloads {
    last: ArcSwapOption<Report>,
    /// Why the files are not what is in force, where that is so.
    stale: ArcSwapOption<String>,
    /// Reloads that were committed.
    committed: AtomicU64,
    /// Reloads that were refused.
    refused: AtomicU64,
}

/// What came of one reload.
#[derive(Debug, Clone)]
pub struct Report {
    /// When it ended.
    pub at: Time,
    /// What asked for it.
    pub trigger: Trigger,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The generation that is in force since.
    pub generation: u64,
    /// What became of it.
    pub result: Outcome,
    /// What was found on the way, as `relay check --format json` prints it: why it was refused, or warnings.
    pub diagnostics: Value,
}

/// What asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A file or directory changed.
    File,
    /// The files were looked at again.
    Poll,
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Request,
}

impl Trigger {
    /// The word for logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Poll => "poll",
            Self::Signal => "signal",
            Self::Request => "request",
        }
    }

    /// Whether a person asked: then it applies at once.
    pub fn is_asked_for(self) -> bool {
        matches!(self, Self::Signal | Self::Request)
    }
}

/// What became of a reload.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was committed; the plan that was carried out.
    Committed(Value),
    /// It would be committed; the plan.
    Planned(Value),
    /// It was refused.
    Refused,
    /// The files are those of the configuration in force.
    Unchanged,
}

impl Reloads {
    /// Notes what came of one.
    pub fn note(&self, report: Report) {
        let (counter, why) = match report.result {
            Outcome::Committed(_) => (&self.committed, None),
            Outcome::Refused => (&self.refused, Some(Arc::new(refusal(&report)))),
            Outcome::Planned(_) | Outcome::Unchanged => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.last.store(Some(Arc::new(report)));
        self.stale.store(why);
    }

    /// Notes that the files are those of the configuration in force. Answers whether a refused change was undone by that.
    pub fn note_recovery(&self) -> bool {
        self.stale.swap(None).is_some()
    }

    /// The last one that was committed or refused.
    pub fn last(&self) -> Option<Arc<Report>> {
        self.last.load_full()
    }

    /// How many were committed, and how many refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.committed.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Why the files are not what is in force; `None` when they are, as far as is known.
    pub fn stale(&self) -> Option<String> {
        self.stale.load().as_deref().cloned()
    }

    /// The last one, as the admin listener tells it.
    pub fn to_json(&self) -> Value {
        self.last().map_or(Value::Null, |report| report.to_json())
    }
}

/// When a reload was refused and why, as the first error with its place, and how many more there are.
fn refusal(report: &Report) -> String {
    format!("the last reload was refused at {}: {}", report.at, in_short(&report.diagnostics))
}

fn in_short(diagnostics: &Value) -> String {
    let mut errors = diagnostics.as_array().into_iter().flatten().filter(|d| d["severity"] == "error");
    let Some(first) = errors.next() else { return "see `GET /config`".to_owned() };
    let mut text = first["message"].as_str().unwrap_or_default().to_owned();
    if let (Some(file), Some(line)) = (first["file"].as_str(), first["line"].as_u64()) {
        text = format!("{file}:{line}: {text}");
    }
    match errors.count() {
        0 => text,
        more => format!("{text}, and {more} more"),
    }
}

impl Report {
    /// As the admin listener tells it.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "at": self.at.to_string(),
            "trigger": self.trigger.as_str(),
            "took_ms": self.took_ms,
            "generation": self.generation,
        });
        let (result, plan) = match &self.result {
            Outcome::Committed(plan) => ("committed", Some(plan.clone())),
            Outcome::Planned(plan) => ("planned", Some(plan.clone())),
            Outcome::Refused => ("refused", None),
            Outcome::Unchanged => ("unchanged", Some(json!({}))),
        };
        json["result"] = result.into();
        json["diagnostics"] = self.diagnostics.clone();
        if let Some(plan) = plan {
            json["plan"] = plan;
        }
        json
    }
}
