//! The results of reloads: for operators, the metrics and `/ready`.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};

use crate::counter::Counter;
use crate::time::Time;

/// The results of all reloads so far.
#[derive(Default)]
pub struct Reloads {
    last: ArcSwapOption<Report>,
    /// Why the configuration in force is not that of the files, if it is not.
    stale: ArcSwapOption<String>,
    /// Reloads that were committed.
    committed: Counter,
    /// Reloads that were refused.
    refused: Counter,
}

/// The result of one reload.
#[derive(Debug, Clone)]
pub struct Report {
    /// When it ended.
    pub at: Time,
    /// What asked for it.
    pub trigger: Trigger,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The generation in force afterwards.
    pub generation: u64,
    /// Its outcome.
    pub result: Outcome,
    /// The diagnostics, as `relay check --format json` prints them: why it was refused, or warnings.
    pub diagnostics: Value,
}

/// What asked for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Something happened to one of the files.
    File,
    /// It was time to compare the files again.
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
}

/// The outcome of a reload.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was committed, with this plan.
    Committed(Value),
    /// It would be committed, with this plan.
    Planned(Value),
    /// It was refused.
    Refused,
    /// The files are those of the configuration in force.
    Unchanged,
}

impl Reloads {
    /// Notes the result of a reload.
    pub fn note(&self, report: Report) {
        let (counter, why) = match report.result {
            Outcome::Committed(_) => (&self.committed, None),
            Outcome::Refused => (&self.refused, Some(Arc::new(refusal(&report)))),
            Outcome::Planned(_) | Outcome::Unchanged => return,
        };
        counter.add(1);
        self.last.store(Some(Arc::new(report)));
        self.stale.store(why);
    }

    /// Notes that the files are those of the configuration in force; returns whether that has undone a refused change.
    pub fn note_recovery(&self) -> bool {
        self.stale.swap(None).is_some()
    }

    /// The last one that was committed or refused.
    pub fn last(&self) -> Option<Arc<Report>> {
        self.last.load_full()
    }

    /// How many were committed, and how many refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.committed.get(), self.refused.get())
    }

    /// Why the configuration in force is not that of the files; `None` if it is, as far as is known.
    pub fn stale(&self) -> Option<String> {
        self.stale.load().as_deref().cloned()
    }

    /// The last one, as the admin listener shows it.
    pub fn to_json(&self) -> Value {
        self.last().map_or(Value::Null, |report| report.to_json())
    }
}

/// When the reload was refused and why: the first error with its place, and the number of others.
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
    // The last one may stand for many that are left out.
    match errors.map(|error| error["errors"].as_u64().unwrap_or(1)).sum() {
        0 => text,
        more => format!("{text}, and {more} more"),
    }
}

impl Report {
    /// As the admin listener shows it.
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
