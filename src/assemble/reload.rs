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
    /// The reload ran to an end.
    Done(Report),
    /// There is nothing to reload: the files are those in force, or were refused before.
    Unchanged,
    /// It would remove something or has an error that may pass, perhaps because a file is half written. Holds the hash of what was read.
    HalfWritten(String),
    /// Nothing is known of the files: they changed during every read, too many files were open or no thread was there
    /// to read them, or the process is ending.
    Unstable,
}

/// What was loaded, what it would change (nothing if it is refused), and its diagnostics as JSON and as text.
struct Examined {
    loaded: Loaded,
    next: Option<Next>,
    diagnostics: Value,
    text: String,
}

/// How a reload ended, with the diagnostics as JSON and as text.
struct Verdict {
    result: Outcome,
    diagnostics: Value,
    text: String,
}

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
            if let Some(report) = reloader.asked(trigger, dry_run).await {
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

    /// A reload that a person asked for: it ends in a report, whatever the files are like, unless the process is ending.
    async fn asked(&self, trigger: Trigger, dry_run: bool) -> Option<Report> {
        let mut state = self.state.lock().await;
        // The drain waits for every reload that was asked for, so those still queued on this lock must not start now.
        if self.live.drain.has_begun() {
            return None;
        }
        let (began, running) = (Instant::now(), self.live.snapshot());
        if dry_run {
            let verdict = self.plan(&state, &running).await.unwrap_or_else(|why| given_up(&why));
            return Some(self.report(trigger, began, verdict.result, verdict.diagnostics));
        }
        self.live.supervisor.reloading();
        let verdict = self.judge(&mut state, running).await;
        state.is_undecided = matches!(verdict, Err(NoAnswer::NoThread(_)));
        Some(self.finish(trigger, began, verdict.unwrap_or_else(|why| given_up(&why))))
    }

    /// What a reload would do. Nothing is remembered of it.
    async fn plan(&self, state: &State, running: &Arc<Snapshot>) -> Result<Verdict, NoAnswer> {
        let (loaded, _) = self.load(state).await?;
        let Examined { loaded, next, diagnostics, text } = examined(running, loaded).await?;
        let result = match &next {
            None => Outcome::Refused,
            Some(_) if loaded.hash == running.hash => Outcome::Unchanged,
            Some(Next { plan, .. }) => Outcome::Planned(plan.to_json()),
        };
        background::drop_elsewhere((loaded, next));
        Ok(Verdict { result, diagnostics, text })
    }

    async fn judge(&self, state: &mut State, running: Arc<Snapshot>) -> Result<Verdict, NoAnswer> {
        let (loaded, _) = self.load(state).await?;
        state.inputs.clone_from(&loaded.inputs);
        let examined = examined(&running, loaded).await?;
        Ok(self.carry_out(state, running, examined).await)
    }

    /// Looks at the files, and reloads if they have changed. A change that removes something, or an error that may
    /// pass, counts only if `trusted` is the hash of what is found. Not cancel-safe.
    pub async fn look(&self, trigger: Trigger, trusted: Option<&str>) -> Look {
        let mut state = self.state.lock().await;
        if self.live.drain.has_begun() {
            return Look::Unstable;
        }
        let began = Instant::now();
        let looked = self.noticed(&mut state, trigger, began, trusted).await;
        let is_undecided = matches!(looked, Ok(Look::Unstable) | Err(NoAnswer::NoThread(_)));
        let was_undecided = std::mem::replace(&mut state.is_undecided, is_undecided);
        match looked {
            Ok(look) => look,
            Err(why @ NoAnswer::NoThread(_)) => {
                if !was_undecided {
                    warn!(cause = %why, "cannot look at the configuration's files; trying again");
                }
                Look::Unstable
            }
            Err(why @ NoAnswer::Panicked) => Look::Done(self.finish(trigger, began, given_up(&why))),
        }
    }

    /// Reloads files that may have changed, unless there is nothing to judge or it is too early to judge it.
    async fn noticed(
        &self,
        state: &mut State,
        trigger: Trigger,
        began: Instant,
        trusted: Option<&str>,
    ) -> Result<Look, NoAnswer> {
        let running = self.live.snapshot();
        let (loaded, is_whole) = self.load(state).await?;
        if !is_whole || loaded.inputs.are_incomplete() {
            return Ok(Look::Unstable);
        }
        state.inputs.clone_from(&loaded.inputs);
        let mut left = None;
        if loaded.hash == running.hash {
            state.refused = None;
            if self.recover(trigger) {
                self.live.supervisor.ready(None);
            }
            left = Some(Look::Unchanged);
        } else if state.refused.as_ref().is_some_and(|refused| refused.would_be(&loaded.hash)) {
            left = Some(Look::Unchanged);
        } else if trusted != Some(&*loaded.hash) && state.may_be_half(&running, &loaded) {
            left = Some(Look::HalfWritten(loaded.hash.clone()));
        }
        if let Some(left) = left {
            background::drop_elsewhere(loaded);
            return Ok(left);
        }
        let examined = examined(&running, loaded).await?;
        // Not before: without a thread to examine them, the files are looked at again, and there is no reload yet.
        self.live.supervisor.reloading();
        let verdict = self.carry_out(state, running, examined).await;
        Ok(Look::Done(self.finish(trigger, began, verdict)))
    }

    /// Runs on a thread of its own, because thousands of schemas take a while. The answer includes whether the files
    /// stood still in the end.
    async fn load(&self, state: &State) -> Result<(Loaded, bool), NoAnswer> {
        let (path, cache) = (self.path.clone(), state.remembered.cache.clone());
        background::on_own_thread(move || load_whole(&Disk::new(&path), &cache)).await
    }

    /// Puts in force what was examined, or remembers that it was refused.
    async fn carry_out(&self, state: &mut State, running: Arc<Snapshot>, examined: Examined) -> Verdict {
        let Examined { mut loaded, next, diagnostics, text } = examined;
        let Some(Next { snapshot, plan }) = next else {
            state.refused = Some(LastRefusal::new(loaded.hash.clone(), &loaded.diagnostics, &running));
            background::drop_elsewhere(loaded);
            return Verdict { result: Outcome::Refused, diagnostics, text };
        };
        log_warnings(&text);
        let mut result = Outcome::Unchanged;
        if loaded.hash != running.hash {
            result = Outcome::Committed(plan.to_json());
            commit(&self.live, self.logs.as_ref(), &running, Arc::new(snapshot), plan).await;
        }
        state.refused = None;
        std::mem::swap(&mut state.remembered, &mut loaded.remembered);
        // These may be the last references to the old configuration.
        background::drop_elsewhere((running, loaded));
        Verdict { result, diagnostics, text }
    }

    /// Logs and records how a reload ended, and tells the supervisor.
    fn finish(&self, trigger: Trigger, began: Instant, verdict: Verdict) -> Report {
        let report = self.report(trigger, began, verdict.result, verdict.diagnostics);
        background::in_place(|| self.tell(&report, &verdict.text));
        self.live.supervisor.ready(self.live.reloads.stale().as_deref());
        report
    }

    fn report(&self, trigger: Trigger, began: Instant, result: Outcome, diagnostics: Value) -> Report {
        Report {
            at: Time::now(),
            trigger,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            generation: self.live.snapshot().generation,
            result,
            diagnostics,
        }
    }

    /// Notes that the files are those of the configuration in force. If the last reload was refused, logs that this is
    /// over, and returns true.
    fn recover(&self, trigger: Trigger) -> bool {
        let was_stale = self.live.reloads.note_recovery();
        if was_stale {
            let (trigger, generation) = (trigger.as_str(), self.live.snapshot().generation);
            info!(
                trigger,
                generation, "the files match the running configuration again; the refused change was undone"
            );
        }
        was_stale
    }

    fn tell(&self, report: &Report, text: &str) {
        let (trigger, generation, took_ms) = (report.trigger.as_str(), report.generation, report.took_ms);
        match &report.result {
            Outcome::Committed(plan) => info!(trigger, generation, took_ms, %plan, "reloaded"),
            Outcome::Refused => {
                let diagnostics = format_args!("\n{}", text.trim_end());
                error!(trigger, generation, took_ms, %diagnostics, "a reload was refused");
            }
            Outcome::Unchanged => {
                if !self.recover(report.trigger) {
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

/// Compares what was loaded with what runs, on a thread of its own: thousands of diagnostics take as long to write out
/// as to find.
async fn examined(running: &Arc<Snapshot>, loaded: Loaded) -> Result<Examined, NoAnswer> {
    let running = running.clone();
    let work = move || {
        let (loaded, next) = examine(&running, loaded);
        let (text, diagnostics) = render::report(&loaded.diagnostics, &loaded.sources);
        Examined { loaded, next, diagnostics, text }
    };
    background::on_own_thread(work).await
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
    Verdict { result: Outcome::Refused, diagnostics, text: message.to_owned() }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
