//! The log: where it goes, how it looks, and what never gets into it.
//!
//! Other crates log what they handle, payloads included, at their lower levels. So only their warnings and errors pass,
//! whatever the configuration or `RUST_LOG` says. No caller waits for standard error.

use std::env;
use std::io;
use std::process;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::subscriber::with_default;
use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::filter::{FilterExt, FilterFn, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::model::Log;
use crate::telemetry::queue::Queue;

/// How long the end of the process waits for standard error.
const PATIENCE: Duration = Duration::from_secs(1);

/// A process has one log, as it has one standard error.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The running log.
pub struct Logs {
    filter: Handle<EnvFilter, Registry>,
    /// Whether `RUST_LOG` is set, which overrides the configuration.
    fixed: bool,
}

impl Logs {
    /// Starts logging to standard error, for the whole process. `RUST_LOG` overrides the level of the configuration.
    pub fn start(log: &Log) -> Self {
        let rust_log = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
        let json = log.json;
        let queue = Queue::default();
        let started = queue.write_to(io::stderr(), move |lost| told(json, lost));
        let writer = if started.is_ok() { writer(&queue) } else { BoxMakeWriter::new(io::stderr) };
        let (subscriber, logs) = build(log, rust_log.as_deref(), writer);
        // Fails if the process logs already, which is fine.
        if subscriber.try_init().is_ok() && started.is_ok() {
            let _ = QUEUE.set(queue);
        }
        if let Err(error) = started {
            warn!(%error, "cannot start the log's thread: log calls now wait for standard error");
        }
        if rust_log.is_some() && !logs.fixed {
            warn!(
                "`RUST_LOG` is invalid or hides all of relay's log lines; using `log.level`: set it to a level such as `warn`, \
                 or to `off`"
            );
        }
        logs
    }

    /// Sets the level to log from now on, unless `RUST_LOG` decides.
    pub fn set_level(&self, level: &str) {
        if !self.fixed {
            // Fails if the log has ended; then there is nothing to set.
            let _ = self.filter.reload(filter(level));
        }
    }
}

/// Waits until everything logged is written, or until standard error has taken nothing for a second.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(PATIENCE);
    }
}

/// Ends the process at once, after writing what is already logged.
pub fn exit(code: i32) -> ! {
    flush();
    process::exit(code)
}

/// How many lines were lost because standard error did not take them.
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, Queue::dropped)
}

fn writer(queue: &Queue) -> BoxMakeWriter {
    let queue = queue.clone();
    BoxMakeWriter::new(move || queue.clone())
}

/// The line about lost lines. It comes from a log of its own, so it passes whatever the level is, and goes ahead of the
/// lines that have come since.
fn told(json: bool, lost: u64) -> Vec<u8> {
    let page = Queue::default();
    let (subscriber, _) = build(&Log { json, level: "warn".into() }, None, writer(&page));
    with_default(subscriber, || warn!(lines = lost, "log lines were lost: standard error was not read fast enough"));
    page.take()
}

/// Creates a log that writes to `writer`, and its handle.
pub fn build(log: &Log, rust_log: Option<&str>, writer: BoxMakeWriter) -> (impl Subscriber + Send + Sync, Logs) {
    let wanted = rust_log.filter(|text| !silences(text)).and_then(|text| EnvFilter::try_new(text).ok());
    let fixed = wanted.is_some();
    let (level, handle) = reload::Layer::new(wanted.unwrap_or_else(|| filter(&log.level)));
    let lines = fmt::layer().with_writer(writer).with_ansi(false);
    let lines = if log.json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.boxed()
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(FilterFn::new(may_pass).and(level)));
    (subscriber, Logs { filter: handle, fixed })
}

fn may_pass(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= Level::WARN || target == "relay" || target.starts_with("relay::")
}

/// Whether a filter hides everything of relay, even errors: a word that is not a level, such as `warning`, is taken for
/// the name of a target. Whoever wants that writes `off`.
fn silences(text: &str) -> bool {
    // Anything beyond this form, such as spans, is written by somebody who knows how.
    let Ok(targets) = text.parse::<Targets>() else { return false };
    let is_ours = |target: &str| "relay".starts_with(target) || target.starts_with("relay::");
    targets.default_level().is_none() && !targets.iter().any(|(target, _)| is_ours(target))
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,relay={level}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tracing::{debug, error, info, subscriber::with_default, trace, warn};

    use super::{build, told, writer};
    use crate::config::model::Log;
    use crate::telemetry::queue::Queue;

    fn taken(page: &Queue) -> String {
        String::from_utf8(page.take()).expect("text")
    }

    fn log(json: bool, level: &str) -> Log {
        Log { json, level: level.into() }
    }

    #[test]
    fn other_crates_only_warn_whatever_is_wanted() {
        for rust_log in [None, Some("trace"), Some("hyper=trace,relay=trace")] {
            let page = Queue::default();
            let (subscriber, _) = build(&log(false, "trace"), rust_log, writer(&page));
            with_default(subscriber, || {
                trace!(target: "hyper::proto", "foreign detail");
                debug!(target: "relayed", "a foreign name that begins like ours");
                warn!(target: "hyper::proto", "foreign warning");
                trace!("own detail");
            });
            let text = taken(&page);
            let shown = text.contains("foreign warning") || rust_log == Some("hyper=trace,relay=trace");
            assert!(shown && text.contains("own detail") && !text.contains("foreign detail"), "{rust_log:?}: {text}");
            assert!(!text.contains("begins like ours"), "{text}");
        }
    }

    #[test]
    fn the_level_can_be_changed_while_it_runs() {
        let page = Queue::default();
        let (subscriber, logs) = build(&log(false, "warn"), None, writer(&page));
        with_default(subscriber, || {
            info!("one");
            logs.set_level("info");
            info!("two");
        });
        let text = taken(&page);
        assert!(text.contains("two") && !text.contains("one"), "{text}");

        let (subscriber, logs) = build(&log(false, "warn"), Some("relay=info"), writer(&page));
        with_default(subscriber, || {
            logs.set_level("error");
            info!("three");
        });
        assert!(taken(&page).contains("three"), "RUST_LOG wins");
    }

    /// A bare word is the name of a target, so `warning` used to silence the whole log.
    #[test]
    fn a_filter_that_lets_nothing_of_relay_pass_does_not_count_unless_it_says_off() {
        for (rust_log, is_understood, is_logged) in [
            ("warning", false, true),
            ("nonsense", false, true),
            ("hyper=debug", false, true),
            ("relayed", false, true),
            ("relay=warning", false, true),
            ("off", true, false),
            ("warn,relay=off", true, false),
            ("error", true, true),
            ("WARN", true, true),
            ("relay", true, true),
            ("relay::telemetry=info", true, true),
            ("hyper=debug,relay=error", true, true),
        ] {
            let page = Queue::default();
            let (subscriber, logs) = build(&log(false, "warn"), Some(rust_log), writer(&page));
            with_default(subscriber, || error!("it broke"));
            assert_eq!((logs.fixed, taken(&page).contains("it broke")), (is_understood, is_logged), "{rust_log}");
        }
    }

    #[test]
    fn lost_lines_are_told_in_the_format_of_the_log() {
        let text = String::from_utf8(told(false, 7)).expect("text");
        let expected =
            " WARN relay::telemetry::logs: log lines were lost: standard error was not read fast enough lines=7\n";
        assert!(text.ends_with(expected), "{text}");
        let line: Value = serde_json::from_slice(&told(true, 7)).expect("one line of JSON");
        assert_eq!((&line["level"], &line["lines"]), (&"WARN".into(), &7.into()));
    }

    #[test]
    fn a_line_of_json_is_flat() {
        let page = Queue::default();
        let (subscriber, _) = build(&log(true, "info"), None, writer(&page));
        with_default(subscriber, || info!(topic = "cats", "a publish was refused"));
        let line: Value = serde_json::from_str(&taken(&page)).expect("one line of JSON");
        assert_eq!((&line["level"], &line["topic"]), (&"INFO".into(), &"cats".into()));
        assert_eq!(line["message"], "a publish was refused");
    }
}
