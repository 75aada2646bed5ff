//! Measures a thread's processor time, by which tests bound what code costs whatever else the machine does.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Counts only while its thread runs.
pub(crate) struct Stopwatch(Duration);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(read())
    }

    /// Processor time since the start; meaningless on another thread.
    pub(crate) fn elapsed(&self) -> Duration {
        read() - self.0
    }
}

fn read() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("no thread runs for a negative time")
}
