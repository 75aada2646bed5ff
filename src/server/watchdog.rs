//! Tells the supervisor that the process is alive: only if this task runs, and every shard has run since the last time.
//!
//! A process whose workers hang is then killed and restarted by its supervisor.

use std::sync::Arc;

use tracing::error;

use crate::background;
use crate::live::Live;

/// Runs for as long as the process does, if the supervisor has a watchdog.
pub(super) async fn run(live: Arc<Live>) {
    let Some(every) = live.supervisor.watchdog() else { return };
    let mut tick = background::every(every / 3);
    let mut before = None;
    loop {
        tick.tick().await;
        let now = live.hub.beats();
        let stuck = before.as_ref().is_some_and(|before: &Vec<u64>| before.iter().zip(&now).any(|(a, b)| a == b));
        if stuck {
            error!("a fan-out shard is stuck: not telling the supervisor that the server is alive");
        } else {
            live.supervisor.alive();
        }
        before = Some(now);
        // Each shard that runs counts another beat.
        live.hub.wake();
    }
}
