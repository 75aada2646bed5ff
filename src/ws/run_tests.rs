use std::sync::Arc;

use crate::assemble::{PROTOCOLS, build, load};
use crate::close::Close;
use crate::config::files::Memory;
use crate::hub::connection::NoSocket;
use crate::hub::peer::Peer;
use crate::live::Live;
use crate::name::Pattern;
use crate::notice::After;
use crate::principal::Principal;
use crate::schema::compile::SchemaCache;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::ws::ending::Ending;
use crate::ws::task::{Incoming, Task};

fn size<F: Future>(_: impl FnOnce(Box<Task>) -> F) -> usize {
    size_of::<F>()
}

/// There may be tens of thousands of idle connections, so the cost of each matters to users.
#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Task>() <= 384, "{}", size_of::<Task>());
    assert!(size(Task::run) <= 352, "{}", size(Task::run));
}

/// A configuration in which anybody may subscribe to `topics`.
fn snapshot(topics: &str, generation: u64) -> Snapshot {
    let text = format!(
        "version = 1\n[topics.cats]\nschema = \"any\"\n[topics.dogs]\nschema = \"any\"\n\
         [anonymous]\nsubscribe = [\"{topics}\"]\n"
    );
    let mut loaded = load(&Memory::new(&text), &SchemaCache::default(), Time::now());
    let config = loaded.config.take().expect("a good configuration");
    Snapshot { generation, ..build::snapshot(config, &loaded, None) }
}

/// A connection by which anybody may subscribe to `cats`.
async fn connected() -> (Arc<Live>, Task) {
    let live = build::live(snapshot("cats", 1), 1);
    let subscriber = live.hub.subscriber(NoSocket, PROTOCOLS[0], Peer::new("websocket", [127, 0, 0, 1].into()));
    let permit = live.connections.enter(|| 1).await;
    let mut task = Task::new(live.clone(), subscriber, PROTOCOLS[0], permit);
    let anonymous = live.snapshot().anonymous.clone();
    assert!(task.become_principal(anonymous).is_ok());
    (live, task)
}

/// The timer of an expiry runs on another clock, which may be behind.
#[tokio::test]
async fn a_token_that_has_expired_carries_out_no_command() {
    let (_live, mut task) = connected().await;
    let ping = || Incoming::Text(r#"{"type":"ping"}"#.into());
    assert!(task.command(ping()).await.is_ok());
    let nobody = task.principal.take().expect("somebody");
    let not_after = Some(Time::now());
    let Principal { user, grants, fingerprint, .. } = &*nobody;
    let expired =
        Principal { token: None, user: user.clone(), grants: grants.clone(), not_after, fingerprint: *fingerprint };
    task.principal = Some(Arc::new(expired));
    assert!(matches!(task.command(ping()).await, Err(Ending::Close(Close::TokenExpired))));
}

/// The reload's mark went by before the subscription was made, so nothing else would end it.
#[tokio::test]
async fn a_subscription_that_was_judged_before_a_reload_and_made_after_it_does_not_outlive_its_grant() {
    let (live, mut task) = connected().await;
    let (before, principal) = (live.snapshot(), task.principal.clone().expect("somebody"));
    drop(live.commit(Arc::new(snapshot("dogs", 2))));
    let cats = Pattern::parse("cats").expect("a pattern");
    assert!(task.subscribe(&before, &principal, None, vec![(cats, After::Live)]).is_ok());
    assert_eq!(task.subscriber.subscriptions().count(), 0);
}
