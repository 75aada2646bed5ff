//! Processor time of a thread, by which tests bound what code costs: what else a machine does is not in it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Runs while its thread does.
pub(crate) struct Stopwatch(Duration);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(read())
    }

    /// Since the start. On another thread it means nothing.
    pub(crate) fn elapsed(&self) -> Duration {
        read() - self.0
    }
}

fn read() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("no thread runs for a negative time")
}
