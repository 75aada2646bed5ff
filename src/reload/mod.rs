//! When to reload: file events, a look at the files now and then, SIGHUP. How, is `assemble`'s business.
//!
//! An event is a hint and the content decides. A file that is being written must not be taken for a finished one: after
//! an event it is quiet for a while before anybody looks, and what would remove a key must have stood still for longer.

#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::debug;

use crate::assemble::reload::{Look, Reloader};
use crate::live::Live;
use crate::reload::watch::Watch;
use crate::reloads::Trigger;

/// How long the files must be quiet before they are looked at.
const QUIET: Duration = Duration::from_millis(250);
/// After how long they are looked at even if they are never quiet.
const LATEST_LOOK: Duration = Duration::from_secs(2);
/// How long a change that removes something must have stood still.
const STABLE: Duration = Duration::from_secs(2);

/// Reloads whenever there is a reason to, SIGHUP among them, until the drain begins.
pub fn run(hangup: Signal, reloader: Arc<Reloader>, live: Arc<Live>) -> impl Future<Output = ()> {
    keep_up(Watch::new(), hangup, reloader, live)
}

async fn keep_up(watch: Watch, hangup: Signal, reloader: Arc<Reloader>, live: Arc<Live>) {
    let mut triggers = Triggers { watch, hangup, hinted: false, suspect: None };
    loop {
        // What happened in a directory between the look at it and the watch over it was not seen.
        triggers.hinted |= triggers.watch.set(reloader.paths().await).await;
        let poll = live.snapshot().config.limits.reload_poll;
        let trigger = tokio::select! {
            () = live.drain.begun() => return,
            // Somebody else has reloaded: other files and another pace may count now.
            () = reloader.reloaded() => continue,
            trigger = triggers.next(poll) => trigger,
        };
        triggers.act(&reloader, trigger).await;
    }
}

struct Triggers {
    watch: Watch,
    hangup: Signal,
    /// Something has happened since the last look, or may have.
    hinted: bool,
    /// Something that looks half written: its hash, and since when it has stood still.
    suspect: Option<(String, Instant)>,
}

impl Triggers {
    async fn next(&mut self, poll: Duration) -> Trigger {
        let stable = self.suspect.as_ref().map(|(_, since)| *since + STABLE);
        if self.hinted {
            return self.quiet().await;
        }
        tokio::select! {
            biased;
            _ = self.hangup.recv() => Trigger::Signal,
            () = self.watch.event() => {
                // Remembered, for whoever waits for this may go on with something else.
                self.hinted = true;
                self.quiet().await
            }
            () = sleep_until(stable.unwrap_or_else(Instant::now)), if stable.is_some() => Trigger::File,
            () = sleep(poll), if !poll.is_zero() => Trigger::Poll,
        }
    }

    /// Waits until nothing happens any more, or somebody does not want to wait.
    async fn quiet(&mut self) -> Trigger {
        let patience = Instant::now() + LATEST_LOOK;
        loop {
            let quiet = (Instant::now() + QUIET).min(patience);
            tokio::select! {
                biased;
                _ = self.hangup.recv() => return Trigger::Signal,
                heard = timeout_at(quiet, self.watch.event()) => {
                    if heard.is_err() {
                        return Trigger::File;
                    }
                }
            }
        }
    }

    async fn act(&mut self, reloader: &Arc<Reloader>, trigger: Trigger) {
        if trigger == Trigger::Signal {
            self.suspect = None;
            reloader.reload(trigger, false).await;
            return;
        }
        if trigger == Trigger::File {
            // A directory may have been replaced by another of its name: what is watched is set anew before the look, so
            // that nothing falls between.
            self.watch.set_anew(reloader.paths().await).await;
        }
        self.hinted = false;
        if self.suspect.is_none() && reloader.are_unchanged().await {
            return;
        }
        if trigger == Trigger::Poll {
            // Nobody told of it, so nobody tells whether it is still being written.
            sleep(QUIET).await;
        }
        let trusted = self.suspect.as_ref().filter(|(_, since)| since.elapsed() >= STABLE).map(|(hash, _)| &**hash);
        self.suspect = match reloader.look(trigger, false, trusted).await {
            Look::Done(_) => None,
            Look::Unstable => {
                debug!("the configuration could not be looked at as a whole; trying again");
                // What has happened is still to be looked at, also where nobody looks now and then.
                self.hinted = true;
                self.suspect.take()
            }
            Look::HalfWritten(hash) => match self.suspect.take() {
                Some((before, since)) if before == hash => Some((hash, since)),
                _ => Some((hash, Instant::now())),
            },
        };
    }
}
