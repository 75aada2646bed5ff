//! Tells the supervisor that the process is alive, only when it is: this task runs, and since the last time every shard
//! has as well. A process whose workers hang is then ended and started again by whoever supervises it.

use std::sync::Arc;

use tracing::error;

use crate::background;
use crate::live::Live;

/// Runs for as long as the process, if the supervisor wants it.
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
        // Each counts another beat, if it runs.
        live.hub.wake();
    }
}
