//! Runs long work so that it does not hold up the threads that serve.
//!
//! Part of a request runs in its place ([`in_place`]). Work that no request waits for, such as a reload, gets a thread
//! of its own ([`on_own_thread`]).

use std::time::Duration;
use std::{fmt, io};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};

#[cfg(test)]
use crate::drain::Drain;

/// The niceness of background work (nice(2)): enough for deliveries to have precedence, but not so much that the work
/// takes for ever on a busy machine.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// Runs possibly long work on the calling thread, which first hands its other tasks to another thread; a runtime with a
/// single thread has no other.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Why work on a thread of its own gave no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The system did not give a thread, so the work has not begun.
    NoThread(io::Error),
    /// The work panicked.
    Panicked,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThread(error) => {
                write!(f, "cannot start a thread ({error}): raise `TasksMax=`, `pids.max` or `ulimit -u`")
            }
            Self::Panicked => f.write_str("the work panicked"),
        }
    }
}

/// Runs long work on a new thread with a lower priority. The thread ends with the work, because it could not raise its
/// priority again.
///
/// # Errors
/// [`NoAnswer`].
pub async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NoAnswer> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // Only Linux has a niceness for each thread; elsewhere it is the process's. If it is refused, serving is slower
        // for a while.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(NICE);
        let _ = answer.send(work());
    });
    match thread {
        Ok(_) => answered.await.map_err(|_| NoAnswer::Panicked),
        Err(error) => Err(NoAnswer::NoThread(error)),
    }
}

/// Drops thousands of small things on another thread.
pub fn drop_elsewhere(things: impl Send + 'static) {
    drop(spawn_blocking(move || drop(things)));
}

/// Ticks at once and then after each period.
///
/// Ticks missed while the process was suspended are skipped: when it resumes, everybody reconnects at once.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tests whether other tasks run while `work` waits for that, on a runtime with one worker thread.
#[cfg(test)]
pub fn others_have_a_turn(work: impl FnOnce(&dyn Fn() -> bool) -> bool + Send + 'static) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let (had, is_had) = std::sync::mpsc::sync_channel(1);
    let (answer, answered) = oneshot::channel();
    runtime.expect("a runtime").block_on(async {
        let drain = Drain::default();
        drain.clone().spawn("work", async move {
            drain.spawn("others", async move { _ = had.send(()) });
            let _ = answer.send(work(&|| is_had.recv_timeout(Duration::from_secs(10)).is_ok()));
        });
        answered.await.expect("no panic")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::{NoAnswer, every, on_own_thread};

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        assert_eq!(on_own_thread(|| 7).await.expect("an answer"), 7);
        assert!(matches!(on_own_thread(|| -> u8 { panic!("on purpose") }).await, Err(NoAnswer::Panicked)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_one_tick() {
        let mut ticks = every(Duration::from_secs(1));
        ticks.tick().await;
        tokio::time::advance(Duration::from_secs(30)).await;
        let due = (0..30).filter(|_| ticks.tick().now_or_never().is_some()).count();
        assert_eq!(due, 1);
    }
}
