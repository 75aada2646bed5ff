//! A reload as a transaction: one at a time, one commit point, and before it nothing that anybody could notice.
//!
//! Read everything once → parse, check and compile, by the code of `relay check` → compare with what is in force →
//! commit by one swap → tell those whom it affects, in the order of the log → report.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::spawn_blocking;
use tracing::{error, info};

use crate::assemble::aside::aside;
use crate::assemble::plan::Plan;
use crate::assemble::refused::Refused;
pub use crate::assemble::trigger::Trigger;
use crate::assemble::{Loaded, build, gate, load};
use crate::config::files::Inputs;
use crate::config::model::{Config, Span, TokenConfig};
use crate::diagnostic::{Diagnostic, any_error, render};
use crate::directory::Directory;
use crate::files::Disk;
use crate::hub::entry::Mark;
use crate::hub::topic::Topic;
use crate::live::{Live, PublishPause};
use crate::plugin::Retention;
use crate::reloads::{Outcome, Report};
use crate::schema::compile::SchemaCache;
use crate::snapshot::Snapshot;
use crate::telemetry::logs::Logs;
use crate::time::Time;

/// How many times files are read that change while they are read.
const READS: usize = 3;
/// How long publishes wait for appends that began before a commit; a store that hangs does not hold them up for longer.
const PAUSE_AT_MOST: Duration = Duration::from_secs(1);

/// The one who reloads.
pub struct Reloader {
    path: PathBuf,
    live: Arc<Live>,
    logs: Option<Logs>,
    state: Mutex<State>,
    looked: Notify,
}

/// What is remembered from one load to the next.
struct State {
    cache: SchemaCache,
    /// Keys of the files in force.
    keys: BTreeMap<String, Span>,
    /// Files in force whose last line has no end.
    unfinished: BTreeSet<Arc<str>>,
    refused: Option<Refused>,
    paths: Vec<String>,
    /// What the last look read.
    inputs: Inputs,
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Looked {
    /// It came to this.
    Done(Report),
    /// It would remove something, which a file that is half written looks like: the hash of what was read.
    Suspicious(String),
    /// They changed whenever they were read, or too many files were open to look: nothing is known of them.
    Unseen,
}

/// A configuration that could be put in force.
pub struct Next {
    /// As it would be.
    pub snapshot: Snapshot,
    /// What it would change.
    pub plan: Plan,
}

/// What came of the files, and what was found on the way.
type Verdict = (Outcome, Value);

impl Reloader {
    /// Goes on from the load that the running configuration came from.
    pub fn new(path: PathBuf, live: Arc<Live>, logs: Option<Logs>, loaded: Loaded) -> Self {
        let Loaded { cache, keys, unfinished, read_paths: paths, inputs, .. } = loaded;
        let state = State { cache, keys, unfinished, refused: None, paths, inputs };
        Self { path, live, logs, state: Mutex::new(state), looked: Notify::new() }
    }

    /// Where the files are that were read or tried at the last look.
    pub async fn paths(&self) -> Vec<PathBuf> {
        let disk = Disk::new(&self.path);
        self.state.lock().await.paths.iter().map(|path| disk.resolve(path)).collect()
    }

    /// Resolves when somebody has reloaded since the last call. Safe to drop; one task at a time may call it.
    pub async fn looked(&self) {
        self.looked.notified().await;
    }

    /// Reloads, or with `dry_run` says what that would do; `None` when the process is ending. Goes on when the caller
    /// does not wait for the answer: a commit is never left half done.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger, dry_run: bool) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        let reloader = self.clone();
        self.live.drain.spawn("reload", async move {
            if let Looked::Done(report) = reloader.look(trigger, dry_run, None).await {
                if !dry_run {
                    reloader.looked.notify_one();
                }
                // Nobody waits for it any more.
                let _ = answer.send(report);
            }
        });
        answered.await.ok()
    }

    /// Whether the files are as the last look found them, and would come to the same.
    pub async fn are_unchanged(&self) -> bool {
        let (path, inputs) = {
            let state = self.state.lock().await;
            if state.refused.as_ref().is_some_and(Refused::is_outdated) {
                return false;
            }
            (self.path.clone(), state.inputs.clone())
        };
        // Where it cannot be told, a look tells.
        spawn_blocking(move || inputs.are_unchanged(&Disk::new(&path))).await.unwrap_or(false)
    }

    /// Looks at the files. Unless a person asked, or `trusted` is the hash of what is found, what removes something is
    /// left alone. Not to be dropped before it is done.
    pub async fn look(&self, trigger: Trigger, dry_run: bool, trusted: Option<&str>) -> Looked {
        let mut state = self.state.lock().await;
        let started = Instant::now();
        let running = self.live.snapshot();
        let mut report = Report {
            at: Time::now(),
            trigger: trigger.as_str(),
            took_ms: 0,
            generation: running.generation,
            result: Outcome::Unchanged,
            diagnostics: json!([]),
        };
        // A look changes nothing, and whoever has said that he stops has said the last word.
        let tells = || !dry_run && !self.live.drain.has_begun();
        match self.load(&state).await {
            Err(given_up) => (report.result, report.diagnostics) = given_up,
            Ok((loaded, is_whole)) if !trigger.is_asked_for() && (!is_whole || loaded.inputs.are_incomplete()) => {
                return Looked::Unseen;
            }
            Ok((loaded, _)) => {
                if !dry_run {
                    state.paths.clone_from(&loaded.read_paths);
                    state.inputs.clone_from(&loaded.inputs);
                }
                if !trigger.is_asked_for() {
                    if loaded.hash == running.hash {
                        state.refused = None;
                        self.recover(&report);
                        return Looked::Done(report);
                    }
                    if state.refused.as_ref().is_some_and(|refused| refused.would_be(&loaded.hash)) {
                        return Looked::Done(report);
                    }
                    if trusted != Some(&loaded.hash) && state.may_be_half(&running, &loaded) {
                        return Looked::Suspicious(loaded.hash);
                    }
                }
                if tells() {
                    self.live.supervisor.reloading();
                }
                (report.result, report.diagnostics) = self.judge(&mut state, &running, loaded, dry_run).await;
            }
        }
        report.generation = self.live.snapshot().generation;
        report.at = Time::now();
        report.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !dry_run {
            self.tell(&report);
        }
        if tells() {
            self.live.supervisor.ready(self.live.reloads.stale().as_deref());
        }
        Looked::Done(report)
    }

    /// Off the threads that serve: thousands of schemas take a while. Reads again what changed while it was read, as
    /// when a whole directory is replaced; answers whether it stood still in the end.
    async fn load(&self, state: &State) -> Result<(Loaded, bool), Verdict> {
        let (path, cache) = (self.path.clone(), state.cache.clone());
        aside(move || {
            let disk = Disk::new(&path);
            let mut reads = 0;
            loop {
                let mut loaded = load(&disk, &cache, Time::now());
                let is_whole = loaded.inputs.are_unchanged(&disk);
                reads += 1;
                if is_whole || reads == READS {
                    loaded.diagnostics.iter_mut().for_each(Diagnostic::in_force);
                    return (loaded, is_whole);
                }
            }
        })
        .await
        .map_err(given_up)
    }

    async fn judge(&self, state: &mut State, running: &Arc<Snapshot>, loaded: Loaded, dry_run: bool) -> Verdict {
        let before = running.clone();
        let (mut loaded, next) = match aside(move || examine(&before, loaded)).await {
            Ok(examined) => examined,
            Err(cause) => return given_up(cause),
        };
        let diagnostics = render::json(&loaded.diagnostics, &loaded.sources);
        let Some(Next { snapshot, plan }) = next else {
            if !dry_run {
                state.refused = Some(Refused::new(loaded.hash.clone(), &loaded.diagnostics, running));
            }
            let text = render::human(&loaded.diagnostics, &loaded.sources, false);
            return (Outcome::Refused(text.trim_end().into()), diagnostics);
        };
        let is_new = loaded.hash != running.hash;
        if dry_run {
            return (if is_new { Outcome::Planned(plan.to_json()) } else { Outcome::Unchanged }, diagnostics);
        }
        loaded.log_warnings();
        let mut outcome = Outcome::Unchanged;
        if is_new {
            outcome = Outcome::Committed(plan.to_json());
            self.commit(running, Arc::new(snapshot), plan).await;
        }
        std::mem::swap(&mut state.unfinished, &mut loaded.unfinished);
        std::mem::swap(&mut state.cache, &mut loaded.cache);
        std::mem::swap(&mut state.keys, &mut loaded.keys);
        state.refused = None;
        // Thousands of small things, to be dropped elsewhere, the last of the old configuration among them.
        drop(spawn_blocking({
            let before = running.clone();
            move || drop((before, loaded))
        }));
        (outcome, diagnostics)
    }

    /// The commit point is the swap. What is long is done where nobody is served, but at the pace of those who serve, for
    /// they wait for the same locks.
    async fn commit(&self, running: &Arc<Snapshot>, next: Arc<Snapshot>, plan: Plan) {
        let (live, before, after) = (self.live.clone(), running.clone(), next.clone());
        let swap = move || {
            let prepared = swap(&live, &before, &after, &plan);
            (plan, prepared)
        };
        let (plan, (prepared, pause)) = spawn_blocking(swap).await.expect("a commit does not panic");
        let mut pause = Some(pause);
        let mut settled = pin!(self.live.appending.turn());
        if tokio::time::timeout(PAUSE_AT_MOST, &mut settled).await.is_err() {
            pause = None;
            settled.await;
        }
        let (live, after) = (self.live.clone(), next.clone());
        let tell = move || {
            tell_all(&live, &after, &plan, prepared);
            drop(pause);
        };
        spawn_blocking(tell).await.expect("a commit does not panic");
        self.apply(&next.config);
    }

    /// What is not asked for by each request but kept somewhere.
    fn apply(&self, config: &Config) {
        let (live, limits) = (&self.live, &config.limits);
        live.hub.store().remember(limits.idempotency_keys, limits.idempotency_window);
        live.hub.resize(limits.window);
        live.registrations.keep_for(limits.registration_ttl);
        live.connections.look_again(limits.connections);
        if let Some(logs) = &self.logs {
            logs.set_level(&config.log.level);
        }
    }

    /// The files are those of the configuration in force. Answers whether a refused change was undone by that, which is
    /// then told.
    fn recover(&self, report: &Report) -> bool {
        let was_stale = self.live.reloads.recovered();
        if was_stale {
            let (trigger, generation) = (report.trigger, report.generation);
            info!(trigger, generation, "the files match the running configuration again; nothing is refused any more");
            if !self.live.drain.has_begun() {
                self.live.supervisor.ready(None);
            }
        }
        was_stale
    }

    fn tell(&self, report: &Report) {
        let (trigger, generation, took_ms) = (report.trigger, report.generation, report.took_ms);
        match &report.result {
            Outcome::Committed(plan) => info!(trigger, generation, took_ms, %plan, "reloaded"),
            Outcome::Refused(text) => {
                error!(trigger, generation, took_ms, diagnostics = %format_args!("\n{text}"), "a reload was refused");
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
    /// Whether the files look as they would in the middle of being written: a key or a secret is not what it was, or a
    /// line has no end.
    fn may_be_half(&self, running: &Snapshot, loaded: &Loaded) -> bool {
        let Some(config) = &loaded.config else { return false };
        let digests: HashMap<&str, [u8; 32]> = config.tokens.iter().map(|t| (&*t.name, t.digest)).collect();
        let is_other = |token: &TokenConfig| digests.get(&*token.name).is_some_and(|digest| *digest != token.digest);
        self.keys.keys().any(|key| !loaded.keys.contains_key(key))
            || !loaded.unfinished.is_subset(&self.unfinished)
            || running.config.tokens.iter().any(is_other)
    }
}

/// What the hub and the log are to know once nothing is judged by the old configuration any more.
struct Prepared {
    topics: Directory<Arc<Topic>>,
    retention: Directory<Retention>,
}

/// New topics are known to the log before the swap, so that nobody's first message is lost; old ones until behind the
/// last message that was judged by them.
fn swap(live: &Arc<Live>, running: &Snapshot, next: &Arc<Snapshot>, plan: &Plan) -> (Prepared, PublishPause) {
    let (topics, retention) = (build::topics(next), build::retention(&next.config));
    let (mut all_topics, mut all_retention) = (topics.clone(), retention.clone());
    let retained_before = build::retention(&running.config);
    for name in &plan.topics_removed {
        if let (Some(rules), Some(kept)) = (running.declared(name), retained_before.get(name)) {
            all_topics.insert(name.clone(), rules.topic.clone());
            all_retention.insert(name.clone(), kept.clone());
        }
    }
    // Publishers wait while a store goes through all that it retains.
    if all_retention.iter().any(|kept| retained_before.get(&kept.declared) != Some(kept)) {
        live.hub.store().retain(all_retention);
    }
    live.hub.declare(all_topics);
    let pause = live.commit(next.clone());
    // At once, however long a store takes; by what each is and not by its name, which a new secret may have.
    if !plan.lost_tokens().is_empty() {
        live.hub.revoke(|principal| principal.token.is_some() && next.auth.renew(principal).is_none());
    }
    if plan.may_end_registrations() {
        live.registrations.end_lost(next, Time::now());
    }
    (Prepared { topics, retention }, pause)
}

/// Everything that was judged by the old configuration is in the log: marks the place, behind which the new one judges.
fn tell_all(live: &Live, next: &Snapshot, plan: &Plan, prepared: Prepared) {
    let (generation, anonymous) = (next.generation, plan.anonymous);
    let (removed, changed) = (plan.topics_removed.clone(), plan.schemas_changed.clone().into());
    let tokens = plan.tokens_changed.iter().cloned().chain(plan.lost_tokens()).collect();
    live.hub.mark(|seq| Mark { seq, generation, removed, changed, tokens, anonymous });
    live.hub.declare(prepared.topics);
    if !plan.topics_removed.is_empty() {
        live.hub.store().retain(prepared.retention);
    }
}

/// Everything between the load and the commit; no configuration when there is an error among the diagnostics.
pub fn examine(running: &Snapshot, mut loaded: Loaded) -> (Loaded, Option<Next>) {
    let Some(config) = loaded.config.take() else { return (loaded, None) };
    let snapshot = build::snapshot(config, &loaded, Some(running));
    let found = gate::examine(running, &snapshot, &loaded);
    loaded.diagnostics.extend(found);
    if any_error(&loaded.diagnostics) {
        return (loaded, None);
    }
    let plan = Plan::between(running, &snapshot);
    (loaded, Some(Next { snapshot, plan }))
}

/// A reload that could not be judged is refused, and ends nothing else.
fn given_up(cause: String) -> Verdict {
    let message = "relay could not judge the configuration: the log says why";
    error!(cause, "a reload was given up");
    (Outcome::Refused(message.into()), json!([{"code": "internal", "severity": "error", "message": message}]))
}
