//! The order in which a server ends: first publishers, then the log, then the subscribers, which by then have received
//! everything that was acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::close::Close;
use crate::live::Live;
use crate::server::GRACE;

/// Time between two groups of subscribers that are told to go.
const STEP: Duration = Duration::from_millis(50);
/// Least size of a group: fewer subscribers than this are told all at once.
const GROUP: usize = 64;

/// Ends everything within `limits.drain`.
///
/// Requests under way are answered, for which, with the grace before, there is half of that time. Sealing the log may
/// take another eighth. Then subscribers are told to go, spread over half of what is left.
///
/// # Errors
/// The tasks that have not ended by then.
pub(super) async fn end(live: &Live) -> Result<(), BTreeMap<&'static str, usize>> {
    let within = live.snapshot().config.limits.drain;
    let until = Instant::now() + within;
    // A request may be on its way on a connection that was idle.
    sleep(GRACE.min(within / 4)).await;
    live.drain.answered(within / 4).await;
    // A store that does not answer must not hold up the subscribers.
    let _ = timeout(within / 8, live.appending.seal()).await;
    let mut connections = live.hub.connections();
    let group = group(connections.len(), (until - Instant::now()) / 2);
    loop {
        // Dropped one by one: the last reference to a connection closes its socket, which the peer is waiting for.
        connections.drain(..group.min(connections.len())).for_each(|connection| connection.end(Close::Draining));
        if connections.is_empty() {
            break;
        }
        sleep(STEP).await;
    }
    live.drain.ended(until - Instant::now()).await
}

/// Size of a group, so that all groups are told within this time.
fn group(connections: usize, over: Duration) -> usize {
    let steps = usize::try_from(over.as_millis() / STEP.as_millis()).unwrap_or(usize::MAX);
    connections.div_ceil(steps.max(1)).max(GROUP)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::{GRACE, GROUP, STEP, end, group};
    use crate::appending::Entry;
    use crate::assemble::{build, load};
    use crate::config::files::Memory;
    use crate::hub::connection::NoSocket;
    use crate::hub::peer::Peer;
    use crate::live::Live;
    use crate::protocol::sse::Sse;
    use crate::schema::compile::SchemaCache;
    use crate::time::Time;

    #[test]
    fn few_go_at_once_and_many_over_the_time_there_is() {
        let over = Duration::from_secs(10);
        assert_eq!(group(10, over), 64, "all at once");
        assert_eq!(group(60_000, over), 300, "in 200 steps of 50 ms");
        assert_eq!(group(60_000, Duration::ZERO), 60_000);
    }

    fn live() -> Arc<Live> {
        let files = Memory::new("version = 1\n[topics.cats]\nschema = \"any\"\n");
        let mut loaded = load(&files, &SchemaCache::default(), Time::now());
        let config = loaded.config.take().expect("a good configuration");
        build::live(build::snapshot(config, &loaded, None), 1)
    }

    async fn takes_messages(live: &Live) -> bool {
        matches!(live.appending.enter(live.snapshot().generation).await, Entry::In(_))
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_waits_for_requests_that_are_on_their_way_and_for_those_that_were_begun() {
        for (was_begun, within) in [(false, GRACE / 2), (true, 2 * GRACE)] {
            let live = live();
            let held = was_begun.then(|| live.drain.hold());
            live.drain.begin();
            let mut ends = pin!(end(&live));
            assert!(timeout(within, &mut ends).await.is_err() && takes_messages(&live).await, "{was_begun}");
            drop(held);
            assert_eq!(ends.await, Ok(()));
            assert!(!takes_messages(&live).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_that_hangs_does_not_hold_up_the_subscribers() {
        let live = live();
        let hangs = live.appending.enter(live.snapshot().generation).await;
        assert!(matches!(hangs, Entry::In(_)));
        let subscriber = live.hub.subscriber(NoSocket, &Sse, Peer::new("stream", [127, 0, 0, 1].into()));
        live.drain.begin();
        assert_eq!(timeout(live.snapshot().config.limits.drain, end(&live)).await, Ok(Ok(())));
        assert!(subscriber.connection().ending().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn many_are_told_to_go_in_groups() {
        let live = live();
        let peer = Peer::new("stream", [127, 0, 0, 1].into());
        let subscribers = [(); GROUP + 1].map(|()| live.hub.subscriber(NoSocket, &Sse, peer));
        let told = || subscribers.iter().filter(|subscriber| subscriber.connection().ending().is_some()).count();
        live.drain.begin();
        let mut ends = pin!(end(&live));
        assert!(timeout(GRACE + STEP / 2, &mut ends).await.is_err());
        assert_eq!(told(), GROUP);
        assert_eq!((ends.await, told()), (Ok(()), GROUP + 1));
    }
}
