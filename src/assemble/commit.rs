//! Puts a configuration in force with one swap, then tells the subscribers it affects, in log order.
//!
//! Knows nothing of files or of the checks before it: a configuration that cannot be put in force does not get here.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::assemble::build;
use crate::assemble::plan::Plan;
use crate::background;
use crate::config::model::Config;
use crate::directory::Directory;
use crate::hub::entry::Mark;
use crate::hub::topic::Topic;
use crate::live::{Live, PublishPause};
use crate::plugin::Retention;
use crate::snapshot::Snapshot;
use crate::telemetry::logs::Logs;
use crate::time::Time;

/// How long publishes wait, at most, for appends that began before a commit, so that a hanging store does not block
/// them.
const PAUSE_AT_MOST: Duration = Duration::from_secs(1);

/// Commits `next`; the swap of the snapshot is the commit point. The long steps run on other threads than those that
/// serve, but at the same priority, because serving threads wait for the locks that these steps hold.
pub(super) async fn commit(
    live: &Arc<Live>,
    logs: Option<&Logs>,
    running: &Arc<Snapshot>,
    next: Arc<Snapshot>,
    plan: Plan,
) {
    let plan = Arc::new(plan);
    let (shared, before, after, changes) = (live.clone(), running.clone(), next.clone(), plan.clone());
    let swap = move || put_in_force(&shared, &before, &after, &changes);
    let (prepared, pause) = spawn_blocking(swap).await.expect("a commit does not panic");
    let (shared, after, changes) = (live.clone(), next.clone(), plan.clone());
    let ended = spawn_blocking(move || end_lost(&shared, &after, &changes));
    let leaves_over = prepared.leaves_over;
    let mut pause = Some(pause);
    let mut settled = pin!(live.appending.quiesce());
    if tokio::time::timeout(PAUSE_AT_MOST, &mut settled).await.is_err() {
        pause = None;
        settled.await;
    }
    let (shared, after) = (live.clone(), next.clone());
    let tell = move || {
        mark(&shared, &after, &plan, prepared);
        drop(pause);
    };
    spawn_blocking(tell).await.expect("a commit does not panic");
    ended.await.expect("a commit does not panic");
    background::in_place(|| apply(live, logs, &next.config));
    if leaves_over {
        // It may take seconds, and no setting waits for it.
        live.hub.store().sweep(Time::now()).await;
    }
}

/// Passes on the settings that other parts keep a copy of instead of reading them from the snapshot at each request.
fn apply(live: &Live, logs: Option<&Logs>, config: &Config) {
    let limits = &config.limits;
    live.hub.store().remember(limits.idempotency_keys, limits.idempotency_window);
    live.hub.resize(limits.window);
    live.registrations.keep_for(limits.registration_ttl);
    live.connections.look_again(limits.connections);
    if let Some(logs) = logs {
        logs.set_level(&config.log.level);
    }
}

/// What the hub and the log learn once nothing is judged by the old configuration any more.
struct Prepared {
    topics: Directory<Arc<Topic>>,
    retention: Directory<Retention>,
    /// Whether the store has new rules, and may hold more than they allow.
    leaves_over: bool,
}

/// Swaps the snapshot. The log learns of new topics before the swap, so that nobody's first message is lost, and keeps
/// removed ones until the last message that was judged by the old configuration is behind it.
fn put_in_force(live: &Arc<Live>, running: &Snapshot, next: &Arc<Snapshot>, plan: &Plan) -> (Prepared, PublishPause) {
    let (topics, retention) = (build::topics(next), build::retention(&next.config));
    let (mut all_topics, mut all_retention) = (topics.clone(), retention.clone());
    let retained_before = build::retention(&running.config);
    for name in &plan.topics_removed {
        if let (Some(rules), Some(kept)) = (running.declared(name), retained_before.get(name)) {
            all_topics.insert(name.clone(), rules.topic.clone());
            all_retention.insert(name.clone(), kept.clone());
        }
    }
    // Only if something differs: the whole log is then swept behind the commit.
    let differs = all_retention.iter().any(|kept| retained_before.get(&kept.declared) != Some(kept));
    if differs {
        live.hub.store().retain(all_retention);
    }
    let leaves_over = differs || !plan.topics_removed.is_empty();
    live.hub.declare(all_topics);
    (Prepared { topics, retention, leaves_over }, live.commit(next.clone()))
}

/// Closes connections and ends registrations that depended on a lost token or grant: at once, however slow the store
/// is, and beside the mark, because there may be a hundred thousand of them.
fn end_lost(live: &Live, next: &Snapshot, plan: &Plan) {
    // Compares the credentials themselves, because a token with a new secret keeps its name.
    if !plan.lost_tokens().is_empty() {
        live.hub.revoke(|principal| next.renew(principal).is_none());
    }
    if plan.may_end_registrations() {
        live.registrations.end_lost(next, Time::now());
    }
}

/// Appends the mark from which on the new configuration judges. By now, everything that the old one judged is in the
/// log.
fn mark(live: &Live, next: &Snapshot, plan: &Plan, prepared: Prepared) {
    let (generation, anonymous) = (next.generation, plan.anonymous);
    let (removed, changed) = (plan.topics_removed.clone().into(), plan.schemas_changed.clone().into());
    let tokens = plan.tokens_changed.iter().cloned().chain(plan.lost_tokens()).collect();
    live.hub.mark(|seq| Mark { seq, generation, first: generation, removed, changed, tokens, anonymous });
    live.hub.declare(prepared.topics);
    if !plan.topics_removed.is_empty() {
        live.hub.store().retain(prepared.retention);
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
