//! The log: where it goes, how it looks, and what never gets into it.
//!
//! Other crates log what they handle, payloads included, at their lower levels: of theirs only warnings and errors pass,
//! whatever the configuration or `RUST_LOG` says.

use std::env;
use std::io;

use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::filter::{FilterExt, FilterFn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::model::Log;

/// The running log.
pub struct Logs {
    filter: Handle<EnvFilter, Registry>,
    /// `RUST_LOG` is set and wins over the configuration.
    fixed: bool,
}

impl Logs {
    /// Starts to log to standard error, for the whole process. `RUST_LOG` wins over the level of the configuration.
    pub fn start(log: &Log) -> Self {
        let rust_log = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
        let (subscriber, logs) = build(log, rust_log.as_deref(), BoxMakeWriter::new(io::stderr));
        // It fails when the process logs already, which is as good.
        let _ = subscriber.try_init();
        if rust_log.is_some() && !logs.fixed {
            warn!("`RUST_LOG` is not understood; the level of the configuration counts");
        }
        logs
    }

    /// Logs from this level on from now on, unless `RUST_LOG` says what to log.
    pub fn set_level(&self, level: &str) {
        if !self.fixed {
            // It fails when the log has ended, and then there is nothing to set.
            let _ = self.filter.reload(filter(level));
        }
    }
}

/// A log that is written to `writer`, and its handle.
pub fn build(log: &Log, rust_log: Option<&str>, writer: BoxMakeWriter) -> (impl Subscriber + Send + Sync, Logs) {
    let wanted = rust_log.and_then(|text| EnvFilter::try_new(text).ok());
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

fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,relay={level}"))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::{debug, info, subscriber::with_default, trace, warn};
    use tracing_subscriber::fmt::writer::BoxMakeWriter;

    use super::build;
    use crate::config::model::Log;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn writer(&self) -> BoxMakeWriter {
            let page = self.clone();
            BoxMakeWriter::new(move || page.clone())
        }

        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().expect("not poisoned"))).expect("text")
        }
    }

    fn log(json: bool, level: &str) -> Log {
        Log { json, level: level.into() }
    }

    #[test]
    fn other_crates_only_warn_whatever_is_wanted() {
        for rust_log in [None, Some("trace"), Some("hyper=trace,relay=trace")] {
            let page = Page::default();
            let (subscriber, _) = build(&log(false, "trace"), rust_log, page.writer());
            with_default(subscriber, || {
                trace!(target: "hyper::proto", "foreign detail");
                debug!(target: "relayed", "a foreign name that begins like ours");
                warn!(target: "hyper::proto", "foreign warning");
                trace!("own detail");
            });
            let text = page.take();
            let shown = text.contains("foreign warning") || rust_log == Some("hyper=trace,relay=trace");
            assert!(shown && text.contains("own detail") && !text.contains("foreign detail"), "{rust_log:?}: {text}");
            assert!(!text.contains("begins like ours"), "{text}");
        }
    }

    #[test]
    fn the_level_can_be_changed_while_it_runs() {
        let page = Page::default();
        let (subscriber, logs) = build(&log(false, "warn"), None, page.writer());
        with_default(subscriber, || {
            info!("one");
            logs.set_level("info");
            info!("two");
        });
        let text = page.take();
        assert!(text.contains("two") && !text.contains("one"), "{text}");

        let (subscriber, logs) = build(&log(false, "warn"), Some("relay=info"), page.writer());
        with_default(subscriber, || {
            logs.set_level("error");
            info!("three");
        });
        assert!(page.take().contains("three"), "RUST_LOG wins");
    }

    #[test]
    fn a_line_of_json_is_flat() {
        let page = Page::default();
        let (subscriber, _) = build(&log(true, "info"), None, page.writer());
        with_default(subscriber, || info!(topic = "cats", "a publish was refused"));
        let line: Value = serde_json::from_str(&page.take()).expect("one line of JSON");
        assert_eq!((&line["level"], &line["topic"]), (&"INFO".into(), &"cats".into()));
        assert_eq!(line["message"], "a publish was refused");
    }
}
