//! The last large step back of the clock, and what it means for the age of what was appended before it.

use std::time::Duration;

use crate::message::Seq;
use crate::time::Time;

/// Where the clock was last set back, and to which time.
///
/// What was appended before has a time that is now in the future, perhaps by years, but it is older than anything after
/// the step. So it counts as appended at the step, at the latest; of several steps at the last, because the others are
/// not remembered.
#[derive(Clone, Copy, Default)]
pub(super) struct StepBack {
    /// The last seq before it.
    pub(super) seq: Seq,
    /// The time after it.
    pub(super) time: Time,
}

impl StepBack {
    /// From when on a message of this seq and time ages.
    pub(super) fn ages_from(self, seq: Seq, time: Time) -> Time {
        if seq <= self.seq { time.min(self.time) } else { time }
    }
}

/// Whether something of this time has reached an age, in milliseconds.
pub(super) fn has_aged(time: Time, now: Time, age: Duration) -> bool {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    now.0.saturating_sub(time.0) >= age
}
