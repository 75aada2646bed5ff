//! Reports what was measured, to people and to programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::bench::arguments::Arguments;
use crate::cli::bench::figures::{Figures, Latencies};
use crate::cli::bench::ledger::Account;
use crate::cli::bench::payload::Work;
use crate::cli::bench::show;
use crate::cli::bench::worker::Outcome;

/// The percentiles to show, with their names in the text and in JSON.
const PERCENTILES: [(f64, &str, &str); 4] =
    [(50.0, "p50", "p50"), (90.0, "p90", "p90"), (99.0, "p99", "p99"), (99.9, "p99.9", "p99_9")];

/// The results of a run.
pub(super) struct Report<'a> {
    arguments: &'a Arguments,
    work: Work,
    connected: Duration,
    /// From the first publish to the last answer or delivery, without the warm-up.
    pub(super) measured: Duration,
    published: u64,
    answers: Latencies,
    account: Account,
    pub(super) figures: Figures,
    gaps: u64,
    closed: BTreeMap<(u16, String), u64>,
    pub(super) interrupted: bool,
    /// Why the run ended early.
    pub(super) failure: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        work: Work,
        connected: Duration,
        published: u64,
        answers: Latencies,
    ) -> Self {
        Self {
            arguments,
            work,
            connected,
            measured: Duration::ZERO,
            published,
            answers,
            account: Account::default(),
            figures: Figures::new(0),
            gaps: 0,
            closed: BTreeMap::new(),
            interrupted: false,
            failure: None,
        }
    }

    /// Adds the outcome of a worker.
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.account.add(outcome.account);
        self.figures.add(outcome.figures);
        self.gaps += outcome.gaps;
        for (end, count) in outcome.closed {
            *self.closed.entry(end).or_default() += count;
        }
    }

    /// Why this run is not a success, in a sentence.
    pub(super) fn complaint(&self) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let Account { lost, duplicated, out_of_order, .. } = self.account;
        let closed: u64 = self.closed.values().sum();
        if lost + duplicated + out_of_order + closed == 0 {
            return None;
        }
        Some(format!(
            "{} deliveries were lost, {} came twice, {} came out of order, and {} connections were closed",
            show::count(lost),
            show::count(duplicated),
            show::count(out_of_order),
            show::count(closed),
        ))
    }

    /// Describes the load in one line.
    pub(super) fn load(&self) -> String {
        let topics = match self.work.topics.len() {
            1 => String::new(),
            many => format!(" ({} topics)", show::count(many as u64)),
        };
        let (name, transport) = (&self.work.name, self.arguments.transport.as_str());
        let subscribers = show::count(self.arguments.subscribers.into());
        let payload = show::bytes(self.work.payload.len() as f64);
        format!("{name}{topics}, {subscribers} subscribers over {transport}, payload {payload}")
    }

    /// The report as text, for people.
    pub(super) fn text(&self) -> String {
        let (published, deliveries) = (self.per_second(self.published), self.deliveries_per_second());
        let (arguments, kind) = (self.arguments, self.work.kind);
        let window = show::count(arguments.window() as u64);
        let mut text = format!("load       {} ({kind}), window {window}\n", self.load());
        let mut line = |name: &str, rest: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<10} {rest}");
        };
        if arguments.subscribers > 0 {
            line("connected", format_args!("in {}", show::time(self.connected)));
        }
        let in_time = show::time(self.measured);
        line(
            "published",
            format_args!("{} messages in {in_time}: {}/s", show::count(self.published), show::rate(published)),
        );
        line("answered", format_args!("{}", percentiles(&self.answers)));
        if arguments.subscribers > 0 {
            let bytes = show::bytes(self.per_second(self.figures.bytes));
            let count = show::count(self.figures.deliveries);
            line("delivered", format_args!("{count} messages: {}/s, {bytes}/s", show::rate(deliveries)));
            line("latency", format_args!("{}", percentiles(&self.figures.latencies)));
            let Account { lost, duplicated, out_of_order, .. } = self.account;
            let [lost, twice, out_of_order, gaps] = [lost, duplicated, out_of_order, self.gaps].map(show::count);
            line("lost", format_args!("{lost}, duplicated {twice}, out of order {out_of_order}, gaps reported {gaps}"));
        }
        if self.account.foreign > 0 {
            let foreign = show::count(self.account.foreign);
            line("foreign", format_args!("{foreign} deliveries of messages published by others, not counted above"));
        }
        for ((code, reason), count) in &self.closed {
            let code = if *code == 0 { "without a code".to_owned() } else { format!("with {code}") };
            let count = show::count(*count);
            line("closed", format_args!("{count} connections {code}: {reason}"));
        }
        if arguments.rate > 0 && published < 0.95 * f64::from(arguments.rate) {
            let rate = show::count(arguments.rate.into());
            let advice = "try a larger --window or more --publishers";
            line("rate", format_args!("the requested {rate}/s was not reached: {advice}"));
        }
        if self.interrupted {
            line("note", format_args!("interrupted: these are the figures up to that point"));
        }
        text
    }

    /// The report as one JSON object, for programs. Counts have no unit; all other members have it in their names.
    pub(super) fn json(&self) -> Value {
        let closed = self.closed.iter().map(|((code, reason), count)| {
            let code = if *code == 0 { Value::Null } else { json!(code) };
            json!({"code": code, "reason": reason, "connections": count})
        });
        json!({
            "url": self.arguments.url,
            "topic": self.work.name,
            "topics": self.work.topics.len(),
            "transport": self.arguments.transport.as_str(),
            "subscribers": self.arguments.subscribers,
            "publishers": self.arguments.publishers,
            "window": self.arguments.window(),
            "rate_per_second": self.arguments.rate,
            "payload_bytes": self.work.payload.len(),
            "connected_seconds": self.connected.as_secs_f64(),
            "measured_seconds": self.measured.as_secs_f64(),
            "published": self.published,
            "published_per_second": self.per_second(self.published),
            "answer_microseconds": microseconds(&self.answers),
            "delivered": self.figures.deliveries,
            "delivered_per_second": self.deliveries_per_second(),
            "delivered_bytes": self.figures.bytes,
            "delivered_bytes_per_second": self.per_second(self.figures.bytes),
            "latency_microseconds": microseconds(&self.figures.latencies),
            "lost": self.account.lost,
            "duplicated": self.account.duplicated,
            "out_of_order": self.account.out_of_order,
            "foreign": self.account.foreign,
            "gaps": self.gaps,
            "closed": closed.collect::<Vec<_>>(),
            "interrupted": self.interrupted,
            "complaint": self.complaint(),
        })
    }

    pub(super) fn deliveries_per_second(&self) -> f64 {
        self.per_second(self.figures.deliveries)
    }

    fn per_second(&self, count: u64) -> f64 {
        if self.measured.is_zero() { 0.0 } else { count as f64 / self.measured.as_secs_f64() }
    }
}

fn percentiles(latencies: &Latencies) -> String {
    if latencies.count() == 0 {
        return "nothing was measured".to_owned();
    }
    let shown = PERCENTILES.map(|(percent, name, _)| format!("{name} {}", show::time(latencies.percentile(percent))));
    format!("{}, max {}", shown.join(", "), show::time(latencies.longest()))
}

fn microseconds(latencies: &Latencies) -> Value {
    let micros = |duration: Duration| duration.as_nanos() as f64 / 1e3;
    let mut object = serde_json::Map::new();
    for (percent, _, name) in PERCENTILES {
        object.insert(name.to_owned(), json!(micros(latencies.percentile(percent))));
    }
    object.insert("max".to_owned(), json!(micros(latencies.longest())));
    object.insert("mean".to_owned(), json!(micros(latencies.mean())));
    Value::Object(object)
}
