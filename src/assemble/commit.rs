//! Putting a configuration in force: one swap, and those whom it affects are told in the order of the log.
//!
//! Knows nothing of files and of what led to it: what cannot be put in force does not come here.

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

/// How long publishes wait for appends that began before a commit; a store that hangs does not hold them up for longer.
const PAUSE_AT_MOST: Duration = Duration::from_secs(1);

/// The commit point is the swap. Long work is done beside those who serve, but at no lower priority: they wait for the
/// locks that it holds.
pub(super) async fn commit(
    live: &Arc<Live>,
    logs: Option<&Logs>,
    running: &Arc<Snapshot>,
    next: Arc<Snapshot>,
    plan: Plan,
) {
    let (shared, before, after) = (live.clone(), running.clone(), next.clone());
    let swap = move || {
        let prepared = put_in_force(&shared, &before, &after, &plan);
        (plan, prepared)
    };
    let (plan, (prepared, pause)) = spawn_blocking(swap).await.expect("a commit does not panic");
    let mut pause = Some(pause);
    let mut settled = pin!(live.appending.turn());
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
    background::in_place(|| apply(live, logs, &next.config));
}

/// What is not asked for by each request but kept somewhere.
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

/// What the hub and the log are to know once nothing is judged by the old configuration any more.
struct Prepared {
    topics: Directory<Arc<Topic>>,
    retention: Directory<Retention>,
}

/// New topics are known to the log before the swap, so that nobody's first message is lost; old ones until behind the
/// last message that was judged by them.
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
    // Publishers wait while a store goes through all that it retains.
    if all_retention.iter().any(|kept| retained_before.get(&kept.declared) != Some(kept)) {
        live.hub.store().retain(all_retention);
    }
    live.hub.declare(all_topics);
    let pause = live.commit(next.clone());
    // At once, however long a store takes; by what each is and not by its name, which a new secret may have.
    if !plan.lost_tokens().is_empty() {
        live.hub.revoke(|principal| next.renew(principal).is_none());
    }
    if plan.may_end_registrations() {
        live.registrations.end_lost(next, Time::now());
    }
    (Prepared { topics, retention }, pause)
}

/// Everything that was judged by the old configuration is in the log: marks the place, behind which the new one judges.
fn mark(live: &Live, next: &Snapshot, plan: &Plan, prepared: Prepared) {
    let (generation, anonymous) = (next.generation, plan.anonymous);
    let (removed, changed) = (plan.topics_removed.clone(), plan.schemas_changed.clone().into());
    let tokens = plan.tokens_changed.iter().cloned().chain(plan.lost_tokens()).collect();
    live.hub.mark(|seq| Mark { seq, generation, removed, changed, tokens, anonymous });
    live.hub.declare(prepared.topics);
    if !plan.topics_removed.is_empty() {
        live.hub.store().retain(prepared.retention);
    }
}
