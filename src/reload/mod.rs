//! Decides when to reload: on file events, on a regular poll, on SIGHUP. How to reload is the business of `assemble`.
//!
//! An event is only a hint; the content decides. A file must not be read while it is being written. So after an event
//! the files must be quiet for a while before the look, and a change that removes something, or an error that may
//! pass, must stand still for longer.

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

/// How long the files must be quiet before a look.
const QUIET: Duration = Duration::from_millis(250);
/// The longest delay before a look, even if the files are never quiet.
const LATEST_LOOK: Duration = Duration::from_secs(2);
/// How long a change that removes something, or an error that may pass, must have stood still.
const STABLE: Duration = Duration::from_secs(2);

/// Reloads whenever there is a reason to, including SIGHUP, until the drain begins.
pub fn run(hangup: Signal, reloader: Arc<Reloader>, live: Arc<Live>) -> impl Future<Output = ()> {
    keep_up(Watch::new(), hangup, reloader, live)
}

async fn keep_up(watch: Watch, hangup: Signal, reloader: Arc<Reloader>, live: Arc<Live>) {
    let mut triggers = Triggers { watch, hangup, hinted: false, suspect: None };
    loop {
        // Changes between the last look at a directory and the start of its watch went unseen.
        triggers.hinted |= triggers.watch.set(reloader.paths().await).await;
        let poll = live.snapshot().config.limits.reload_poll;
        let trigger = tokio::select! {
            () = live.drain.begun() => return,
            // Somebody else has reloaded: the set of files and the polling interval may be different now.
            () = reloader.reloaded() => continue,
            trigger = triggers.next(poll) => trigger,
        };
        triggers.act(&reloader, trigger).await;
    }
}

struct Triggers {
    watch: Watch,
    hangup: Signal,
    /// Something has happened since the last look, or may have happened unseen.
    hinted: bool,
    /// The hash of files that look half written, and since when they have stood still.
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
                // Set before the wait, because the caller may drop this future and must still know.
                self.hinted = true;
                self.quiet().await
            }
            () = sleep_until(stable.unwrap_or_else(Instant::now)), if stable.is_some() => Trigger::File,
            () = sleep(poll), if !poll.is_zero() => Trigger::Poll,
        }
    }

    /// Waits until the files are quiet or `LATEST_LOOK` has passed. A SIGHUP ends the wait at once.
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
            // A directory may have been replaced by another of the same name. Watch the new one before the look, so
            // that no change falls between the two.
            self.watch.set_anew(reloader.paths().await).await;
        }
        self.hinted = false;
        if self.suspect.is_none() && reloader.are_unchanged().await {
            return;
        }
        if trigger == Trigger::Poll {
            // No event announced the change, so none will tell whether it is still being written.
            sleep(QUIET).await;
        }
        let trusted = self.suspect.as_ref().filter(|(_, since)| since.elapsed() >= STABLE).map(|(hash, _)| &**hash);
        self.suspect = match reloader.look(trigger, trusted).await {
            Look::Done(_) | Look::Unchanged => None,
            Look::Unstable => {
                debug!("the configuration could not be looked at as a whole; trying again");
                // The change still has to be looked at, even if polling is off.
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
