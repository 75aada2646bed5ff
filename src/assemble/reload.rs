//! A reload as a transaction: one at a time, with one commit point, and nothing observable before it.
//!
//! Read everything once → parse, check and compile, with the code of `relay check` → compare with what is in force →
//! commit with one swap → tell the subscribers it affects, in log order → report.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, oneshot};
use tracing::{error, info, warn};

use crate::assemble::commit::commit;
use crate::assemble::gate::{Next, examine};
use crate::assemble::load::{Remembered, log_warnings};
use crate::assemble::refused::LastRefusal;
use crate::assemble::{Loaded, load};
use crate::background::{self, NoAnswer};
use crate::config::files::Files;
use crate::config::model::TokenConfig;
use crate::config::reading::Inputs;
use crate::diagnostic::render;
use crate::disk::Disk;
use crate::live::Live;
use crate::reloads::{Outcome, Report, Trigger};
use crate::schema::compile::SchemaCache;
use crate::snapshot::Snapshot;
use crate::telemetry::logs::Logs;
use crate::time::Time;

/// How often the files are read, at most, when they keep changing while they are being read.
const READS: usize = 3;

/// Runs every reload of the process, whatever triggered it.
pub struct Reloader {
    path: PathBuf,
    live: Arc<Live>,
    logs: Option<Logs>,
    state: Mutex<State>,
    reloaded: Notify,
}

/// What the reloader remembers between looks.
struct State {
    /// From the load that is in force.
    remembered: Remembered,
    /// What the last look read.
    inputs: Inputs,
    /// The last look came to no verdict.
    is_undecided: bool,
    refused: Option<LastRefusal>,
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Look {
    /// The reload ran to an end, or was not needed.
    Done(Report),
    /// It would remove something or has an error that may pass, perhaps because a file is half written. Holds the hash of what was read.
    HalfWritten(String),
    /// Nothing is known of the files: they changed during every read, too many files were open or no thread was there
    /// to read them, or the process is ending.
    Unstable,
}

/// The outcome, the diagnostics as JSON, and the same diagnostics as text.
type Verdict = (Outcome, Value, String);

impl Reloader {
    /// Starts from the load that produced the running configuration.
    pub fn new(path: PathBuf, live: Arc<Live>, logs: Option<Logs>, loaded: Loaded) -> Self {
        let state = State { remembered: loaded.remembered, inputs: loaded.inputs, is_undecided: false, refused: None };
        Self { path, live, logs, state: Mutex::new(state), reloaded: Notify::new() }
    }

    /// Where the files are that the last look read or tried to read.
    pub async fn paths(&self) -> Vec<PathBuf> {
        let disk = Disk::new(&self.path);
        self.state.lock().await.inputs.paths().into_iter().map(|path| disk.resolve(path)).collect()
    }

    /// Resolves once a requested reload has finished since the last call. Cancel-safe; only one task at a time may call
    /// it.
    pub async fn reloaded(&self) {
        self.reloaded.notified().await;
    }

    /// Reloads, or with `dry_run` says what a reload would do; `None` when the process is ending. Runs to its end even
    /// if the caller stops waiting, so that no commit is left half done.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger, dry_run: bool) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        let reloader = self.clone();
        self.live.drain.spawn("reload", async move {
            if let Look::Done(report) = reloader.look(trigger, dry_run, None).await {
                if !dry_run {
                    reloader.reloaded.notify_one();
                }
                // An error only means that the caller no longer waits.
                let _ = answer.send(report);
            }
        });
        answered.await.ok()
    }

    /// Whether the files are as the last look found them, and a new look would reach the same verdict.
    pub async fn are_unchanged(&self) -> bool {
        let (path, inputs) = {
            let state = self.state.lock().await;
            if state.is_undecided || state.refused.as_ref().is_some_and(LastRefusal::is_outdated) {
                return false;
            }
            (self.path.clone(), state.inputs.clone())
        };
        // When there is no answer, assume a change: the look that follows finds out.
        background::on_own_thread(move || inputs.are_unchanged(&Disk::new(&path))).await.unwrap_or(false)
    }

    /// Looks at the files, and reloads if they have changed. A change that removes something, or an error that may
    /// pass, counts only if a person asked for the reload, or if `trusted` is the hash of what is found. Not cancel-safe.
    pub async fn look(&self, trigger: Trigger, dry_run: bool, trusted: Option<&str>) -> Look {
        let mut state = self.state.lock().await;
        // The drain waits for every reload that was asked for, so those still queued on this lock must not start now.
        if self.live.drain.has_begun() {
            return Look::Unstable;
        }
        let started = Instant::now();
        let running = self.live.snapshot();
        let mut report = Report {
            at: Time::now(),
            trigger,
            took_ms: 0,
            generation: running.generation,
            result: Outcome::Unchanged,
            diagnostics: json!([]),
        };
        if trigger.is_asked_for() && self.tells(dry_run) {
            self.live.supervisor.reloading();
        }
        let looked = self.consider(&mut state, &running, &report, dry_run, trusted).await;
        let is_undecided = matches!(looked, Err(NoAnswer::NoThread(_)) | Ok(Err(Look::Unstable)));
        let was_undecided = !dry_run && std::mem::replace(&mut state.is_undecided, is_undecided);
        let text;
        (report.result, report.diagnostics, text) = match looked {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(left)) => return left,
            Err(why @ NoAnswer::NoThread(_)) if !trigger.is_asked_for() => {
                if !was_undecided {
                    warn!(cause = %why, "cannot look at the configuration's files; trying again");
                }
                return Look::Unstable;
            }
            Err(why) => given_up(&why),
        };
        report.generation = self.live.snapshot().generation;
        report.at = Time::now();
        report.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !dry_run {
            background::in_place(|| self.tell(&report, &text));
        }
        if self.tells(dry_run) {
            self.live.supervisor.ready(self.live.reloads.stale().as_deref());
        }
        Look::Done(report)
    }

    /// Whether the supervisor hears of it: a dry run changes no state of the service, and systemd must hear nothing
    /// after STOPPING=1.
    fn tells(&self, dry_run: bool) -> bool {
        !dry_run && !self.live.drain.has_begun()
    }

    /// Loads and judges, or leaves it at what was found.
    async fn consider(
        &self,
        state: &mut State,
        running: &Arc<Snapshot>,
        report: &Report,
        dry_run: bool,
        trusted: Option<&str>,
    ) -> Result<Result<Verdict, Look>, NoAnswer> {
        let is_asked_for = report.trigger.is_asked_for();
        let (loaded, is_whole) = self.load(state).await?;
        if !is_asked_for && (!is_whole || loaded.inputs.are_incomplete()) {
            return Ok(Err(Look::Unstable));
        }
        if !dry_run {
            state.inputs.clone_from(&loaded.inputs);
        }
        if !is_asked_for && let Some(left) = self.leaves_alone(state, running, &loaded, trusted, report) {
            background::drop_elsewhere(loaded);
            return Ok(Err(left));
        }
        self.judge(state, running, loaded, report.trigger, dry_run).await.map(Ok)
    }

    /// The result of a look that nobody asked for, if there is nothing new to judge or it is too early to judge it.
    fn leaves_alone(
        &self,
        state: &mut State,
        running: &Snapshot,
        loaded: &Loaded,
        trusted: Option<&str>,
        report: &Report,
    ) -> Option<Look> {
        if loaded.hash == running.hash {
            state.refused = None;
            self.recover(report);
            return Some(Look::Done(report.clone()));
        }
        if state.refused.as_ref().is_some_and(|refused| refused.would_be(&loaded.hash)) {
            return Some(Look::Done(report.clone()));
        }
        let is_trusted = trusted == Some(&*loaded.hash);
        (!is_trusted && state.may_be_half(running, loaded)).then(|| Look::HalfWritten(loaded.hash.clone()))
    }

    /// Runs on a thread of its own, because thousands of schemas take a while.
    async fn load(&self, state: &State) -> Result<(Loaded, bool), NoAnswer> {
        let (path, cache) = (self.path.clone(), state.remembered.cache.clone());
        background::on_own_thread(move || load_whole(&Disk::new(&path), &cache)).await
    }

    async fn judge(
        &self,
        state: &mut State,
        running: &Arc<Snapshot>,
        loaded: Loaded,
        trigger: Trigger,
        dry_run: bool,
    ) -> Result<Verdict, NoAnswer> {
        let before = running.clone();
        // Thousands of diagnostics take as long to write out as to find.
        let examined = background::on_own_thread(move || {
            let (loaded, next) = examine(&before, loaded);
            let (text, diagnostics) = render::report(&loaded.diagnostics, &loaded.sources);
            (loaded, next, diagnostics, text)
        });
        let (mut loaded, next, diagnostics, text) = examined.await?;
        if !trigger.is_asked_for() && self.tells(dry_run) {
            // Not before: without a thread to examine them, the files are looked at again, and there is no reload yet.
            self.live.supervisor.reloading();
        }
        let Some(Next { snapshot, plan }) = next else {
            if !dry_run {
                state.refused = Some(LastRefusal::new(loaded.hash.clone(), &loaded.diagnostics, running));
            }
            background::drop_elsewhere(loaded);
            return Ok((Outcome::Refused, diagnostics, text));
        };
        let is_new = loaded.hash != running.hash;
        if dry_run {
            background::drop_elsewhere((loaded, snapshot));
            let outcome = if is_new { Outcome::Planned(plan.to_json()) } else { Outcome::Unchanged };
            return Ok((outcome, diagnostics, text));
        }
        log_warnings(&text);
        let mut outcome = Outcome::Unchanged;
        if is_new {
            outcome = Outcome::Committed(plan.to_json());
            commit(&self.live, self.logs.as_ref(), running, Arc::new(snapshot), plan).await;
        }
        state.refused = None;
        std::mem::swap(&mut state.remembered, &mut loaded.remembered);
        // These may be the last references to the old configuration.
        background::drop_elsewhere((running.clone(), loaded));
        Ok((outcome, diagnostics, text))
    }

    /// Notes that the files are those of the configuration in force. If the last reload was refused, logs that this is
    /// over, and returns true.
    fn recover(&self, report: &Report) -> bool {
        let was_stale = self.live.reloads.note_recovery();
        if was_stale {
            let (trigger, generation) = (report.trigger.as_str(), report.generation);
            info!(
                trigger,
                generation, "the files match the running configuration again; the refused change was undone"
            );
            if !self.live.drain.has_begun() {
                self.live.supervisor.ready(None);
            }
        }
        was_stale
    }

    /// Logs and records how a reload ended; `text` holds the diagnostics that `report` has as JSON.
    fn tell(&self, report: &Report, text: &str) {
        let (trigger, generation, took_ms) = (report.trigger.as_str(), report.generation, report.took_ms);
        match &report.result {
            Outcome::Committed(plan) => info!(trigger, generation, took_ms, %plan, "reloaded"),
            Outcome::Refused => {
                let diagnostics = format_args!("\n{}", text.trim_end());
                error!(trigger, generation, took_ms, %diagnostics, "a reload was refused");
            }
            Outcome::Unchanged => {
                if !self.recover(report) {
                    info!(trigger, generation, took_ms, "nothing to reload");
                }
                return;
            }
            Outcome::Planned(_) => return,
        }
        self.live.reloads.note(report.clone());
    }
}

impl State {
    /// Whether the files look half written: a key is gone, a secret has changed, a last line has lost its line end, or
    /// there is an error that may be over in a moment.
    fn may_be_half(&self, running: &Snapshot, loaded: &Loaded) -> bool {
        let Some(config) = &loaded.config else {
            return loaded.diagnostics.iter().any(|diagnostic| diagnostic.fact.may_pass());
        };
        let digests: HashMap<&str, [u8; 32]> = config.tokens.iter().map(|t| (&*t.name, t.digest)).collect();
        let is_other = |token: &TokenConfig| digests.get(&*token.name).is_some_and(|digest| *digest != token.digest);
        let (was, is) = (&self.remembered, &loaded.remembered);
        was.keys.keys().any(|key| !is.keys.contains_key(key))
            || !is.unfinished.is_subset(&was.unfinished)
            || running.config.tokens.iter().any(is_other)
    }
}

/// Loads, and loads again if something changed during the read, as when a whole directory is replaced. The answer
/// includes whether the files stood still in the end.
fn load_whole(files: &dyn Files, cache: &SchemaCache) -> (Loaded, bool) {
    let mut reads = 0;
    loop {
        let loaded = load(files, cache, Time::now());
        let is_whole = loaded.inputs.are_unchanged(files);
        reads += 1;
        if is_whole || reads == READS {
            return (loaded, is_whole);
        }
    }
}

/// A reload that could not be judged is refused, and nothing else stops because of it.
fn given_up(why: &NoAnswer) -> Verdict {
    let message = "relay could not check the configuration: see the log for the cause";
    let cause = why.to_string();
    error!(cause, "a reload was abandoned");
    let diagnostics = json!([{"code": "internal", "severity": "error", "message": message}]);
    (Outcome::Refused, diagnostics, message.to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{READS, load_whole};
    use crate::config::files::{Access, FileError, Files};
    use crate::schema::compile::SchemaCache;

    /// A relay.toml that differs at each of its first `changes` reads and then stays the same.
    struct Written {
        changes: usize,
        reads: Cell<usize>,
    }

    impl Files for Written {
        fn read(&self, _: Access, _: &str, _: usize) -> Result<Vec<u8>, FileError> {
            self.reads.set(self.reads.get() + 1);
            let version = self.reads.get().min(self.changes + 1);
            Ok(format!("version = 1\n[topics.t{version}]\nschema = \"any\"\n").into_bytes())
        }

        fn list(&self, _: &str) -> Result<Vec<String>, FileError> {
            Err(FileError::NotFound)
        }

        fn env(&self, _: &str) -> Option<String> {
            None
        }

        fn shown(&self, path: &str) -> String {
            path.to_owned()
        }

        fn main_name(&self) -> &str {
            "relay.toml"
        }
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again_but_not_for_ever() {
        // Each load reads the file twice: once for its content, and once to see whether that has changed.
        for (changes, loads, stood_still) in [(0, 1, true), (1, 2, true), (4, 3, true), (99, READS, false)] {
            let files = Written { changes, reads: Cell::default() };
            let (loaded, is_whole) = load_whole(&files, &SchemaCache::default());
            assert_eq!((files.reads.get(), is_whole), (2 * loads, stood_still), "{changes}");
            let topic = loaded.config.expect("a good one").topics[0].name.to_string();
            assert!(!is_whole || topic == format!("t{}", changes + 1), "{topic}");
        }
    }
}
