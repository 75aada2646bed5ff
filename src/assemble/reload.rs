//! A reload as a transaction: one at a time, one commit point, and before it nothing that anybody could notice.
//!
//! Read everything once → parse, check and compile, by the code of `relay check` → compare with what is in force →
//! commit by one swap → tell those whom it affects, in the order of the log → report.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, oneshot};
use tracing::{error, info, warn};

use crate::assemble::plan::Plan;
use crate::assemble::{Loaded, build, gate, load};
use crate::config::files::Inputs;
use crate::config::model::Config;
use crate::diagnostic::{any_error, render};
use crate::files::Disk;
use crate::hub::entry::Mark;
use crate::live::Live;
use crate::message::Time;
use crate::reloads::{Outcome, Report};
use crate::schema::compile::SchemaCache;
use crate::snapshot::Snapshot;
use crate::telemetry::logs::Logs;

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
    fn is_word(self) -> bool {
        matches!(self, Self::Signal | Self::Request)
    }
}

/// The one who reloads.
pub struct Reloader {
    path: PathBuf,
    live: Arc<Live>,
    logs: Option<Logs>,
    state: Mutex<State>,
}

/// What is remembered from one load to the next.
struct State {
    cache: SchemaCache,
    /// Keys of the files in force.
    keys: BTreeSet<String>,
    /// Of the files that were refused last, so that the same are not refused again at every look.
    refused: Option<String>,
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
}

impl Reloader {
    /// Goes on from the load that the running configuration came from.
    pub fn new(path: PathBuf, live: Arc<Live>, logs: Option<Logs>, loaded: Loaded) -> Self {
        let Loaded { cache, keys, read_paths: paths, inputs, .. } = loaded;
        Self { path, live, logs, state: Mutex::new(State { cache, keys, refused: None, paths, inputs }) }
    }

    /// Where the files are that were read or tried at the last look.
    pub async fn paths(&self) -> Vec<PathBuf> {
        let disk = Disk::new(&self.path);
        self.state.lock().await.paths.iter().map(|path| disk.resolve(path)).collect()
    }

    /// Reloads, or with `dry_run` says what that would do; `None` when the process is ending. Goes on when the caller
    /// does not wait for the answer: a commit is never left half done.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger, dry_run: bool) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        let reloader = self.clone();
        self.live.drain.spawn("reload", async move {
            if let Looked::Done(report) = reloader.look(trigger, dry_run, None).await {
                // Nobody waits for it any more.
                let _ = answer.send(report);
            }
        });
        answered.await.ok()
    }

    /// Whether the files are as the last look found them.
    pub async fn are_unchanged(&self) -> bool {
        let (path, inputs) = (self.path.clone(), self.state.lock().await.inputs.clone());
        let look = move || inputs.are_unchanged(&Disk::new(&path));
        tokio::task::spawn_blocking(look).await.expect("reading does not panic")
    }

    /// Looks at the files. Unless a person asked, or `trusted` is the hash of what is found, what removes something is
    /// left alone. Not to be dropped before it is done.
    pub async fn look(&self, trigger: Trigger, dry_run: bool, trusted: Option<&str>) -> Looked {
        let mut state = self.state.lock().await;
        let started = Instant::now();
        let loaded = self.load(&mut state).await;
        let running = self.live.snapshot();
        let mut report = Report {
            at: Time::now(),
            trigger: trigger.as_str(),
            took_ms: 0,
            generation: running.generation,
            result: Outcome::Unchanged,
        };
        if !trigger.is_word() {
            if loaded.hash == running.hash {
                state.refused = None;
                self.live.reloads.recovered();
                return Looked::Done(report);
            }
            if state.refused.as_ref() == Some(&loaded.hash) {
                return Looked::Done(report);
            }
            if loaded.config.is_some() && trusted != Some(&loaded.hash) && !state.keys.is_subset(&loaded.keys) {
                return Looked::Suspicious(loaded.hash);
            }
        }
        self.live.supervisor.reloading();
        report.result = self.judge(&mut state, &running, loaded, dry_run).await;
        self.live.supervisor.ready();
        report.generation = self.live.snapshot().generation;
        report.at = Time::now();
        report.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.tell(&report);
        Looked::Done(report)
    }

    /// Off the threads that serve: thousands of schemas take a while.
    async fn load(&self, state: &mut State) -> Loaded {
        let (path, cache) = (self.path.clone(), state.cache.clone());
        let load = move || load(&Disk::new(&path), &cache, Time::now());
        let loaded = tokio::task::spawn_blocking(load).await.expect("a load does not panic");
        state.paths.clone_from(&loaded.read_paths);
        state.inputs.clone_from(&loaded.inputs);
        loaded
    }

    async fn judge(&self, state: &mut State, running: &Arc<Snapshot>, mut loaded: Loaded, dry_run: bool) -> Outcome {
        let Some(config) = loaded.config.clone() else { return self.refuse(state, &loaded, dry_run) };
        let next = build::snapshot(config, &loaded, Some(running));
        let before = running.clone();
        let examine = move || {
            let found = gate::examine(&before, &next, &loaded);
            (found, next, loaded)
        };
        let (found, next, back) = tokio::task::spawn_blocking(examine).await.expect("the gate does not panic");
        loaded = back;
        loaded.diagnostics.extend(found);
        if any_error(&loaded.diagnostics) {
            return self.refuse(state, &loaded, dry_run);
        }
        let plan = Plan::between(running, &next);
        if dry_run {
            return Outcome::Planned(plan.to_json());
        }
        warn_all(&loaded);
        let json = plan.to_json();
        if loaded.hash != running.hash {
            self.commit(running, next, plan).await;
        }
        (state.cache, state.keys, state.refused) = (loaded.cache, loaded.keys, None);
        Outcome::Committed(json)
    }

    fn refuse(&self, state: &mut State, loaded: &Loaded, dry_run: bool) -> Outcome {
        if !dry_run {
            state.refused = Some(loaded.hash.clone());
        }
        let diagnostics = render::json(&loaded.diagnostics, &loaded.sources);
        let text = render::human(&loaded.diagnostics, &loaded.sources, false);
        Outcome::Refused { diagnostics, text: text.into() }
    }

    /// The commit point is the swap. New topics are known to the log before it, so that nobody's first message is lost;
    /// old ones after the last message that was judged by them.
    async fn commit(&self, running: &Snapshot, next: Snapshot, plan: Plan) {
        let live = &self.live;
        let (generation, config) = (next.generation, next.config.clone());
        let topics = build::topics(&next);
        let mut both = build::topics(&next);
        let mut retention = build::retention(&config);
        for name in &plan.topics_removed {
            if let Some(rules) = running.declared(name) {
                both.insert(name.clone(), rules.topic.clone());
            }
            if let Some(kept) = build::retention(&running.config).get(name) {
                retention.insert(name.clone(), kept.clone());
            }
        }
        live.hub.store().retain(retention);
        live.hub.declare(both);
        live.commit(next);
        live.settle().await;
        live.hub.mark(|seq| Mark {
            seq,
            generation,
            removed: plan.topics_removed.clone(),
            changed: plan.schemas_changed.clone(),
            tokens: plan.tokens_changed.iter().cloned().chain(plan.lost_tokens()).collect(),
            anonymous: plan.anonymous,
        });
        live.hub.revoke(&plan.lost_tokens());
        live.hub.declare(topics);
        self.apply(&config);
    }

    fn apply(&self, config: &Config) {
        self.live.hub.store().retain(build::retention(config));
        self.live.hub.resize(config.limits.window);
        if let Some(logs) = &self.logs {
            logs.set_level(&config.log.level);
        }
    }

    fn tell(&self, report: &Report) {
        let (trigger, generation, took_ms) = (report.trigger, report.generation, report.took_ms);
        match &report.result {
            Outcome::Committed(plan) => info!(trigger, generation, took_ms, %plan, "reloaded"),
            Outcome::Refused { text, .. } => {
                error!(trigger, generation, took_ms, diagnostics = %format_args!("\n{text}"), "a reload was refused");
            }
            Outcome::Planned(_) | Outcome::Unchanged => return,
        }
        self.live.reloads.note(report.clone());
    }
}

fn warn_all(loaded: &Loaded) {
    if !loaded.diagnostics.is_empty() {
        let text = render::human(&loaded.diagnostics, &loaded.sources, false);
        warn!(diagnostics = %format_args!("\n{text}"), "the configuration has warnings");
    }
}
