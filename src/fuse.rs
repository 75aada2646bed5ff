//! The fuse of one topic, a circuit breaker: it refuses publishes for a while if the schema is too slow again and
//! again.
//!
//! A validation cannot be interrupted, so each is timed. [`STRIKES`] validations over the budget, each less than
//! [`FORGET`] after the one before, blow the fuse (open the circuit): publishes are refused. After [`REST`] one is let
//! through as a trial (half-open), and decides about the others. All of it is a state machine under one small lock,
//! which a topic that has not been slow does not touch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::counter::Counter;
use crate::lock::lock;

/// Number of validations over the budget that blow it.
pub const STRIKES: u32 = 5;
/// How long a validation over the budget counts.
pub const FORGET: Duration = Duration::from_secs(60);
/// How long a blown fuse lets nobody through. A failed trial starts it anew; so does one that never ends.
pub const REST: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Fuse {
    /// Whether the state is anything but sound; read without the lock.
    suspect: AtomicBool,
    state: Mutex<State>,
    /// Counters, shared with the fuses that this one replaced.
    pub counts: Arc<Counts>,
}

/// Counters that live as long as the topic, whatever its schema.
#[derive(Debug, Default)]
pub struct Counts {
    /// Validations over the budget.
    pub slow: Counter,
    /// How often it has blown.
    pub blown: Counter,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Sound,
    /// This many validations were over the budget, the last one at this time.
    Struck(u32, Instant),
    /// Lets nobody through before this time.
    Blown(Instant),
}

/// How a payload may be validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// As usual.
    Freely,
    /// As the trial that decides whether others may be validated.
    Trial,
}

impl Fuse {
    /// A sound fuse for another schema of the topic; the counters go on.
    pub fn renewed(&self) -> Self {
        Self { counts: self.counts.clone(), ..Self::default() }
    }

    /// Whether a validation that began now may take long: one did lately, or it would be the trial.
    pub fn may_be_slow(&self, now: impl FnOnce() -> Instant) -> bool {
        self.suspect.load(Ordering::Acquire)
            && match *lock(&self.state) {
                State::Sound => false,
                State::Struck(_, last) => now().duration_since(last) < FORGET,
                State::Blown(until) => until <= now(),
            }
    }

    /// Asks whether a payload may be validated now.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn admit(&self, now: Instant) -> Result<Admitted, Duration> {
        if !self.suspect.load(Ordering::Acquire) {
            return Ok(Admitted::Freely);
        }
        let mut state = lock(&self.state);
        match *state {
            State::Struck(_, last) if now.duration_since(last) >= FORGET => {
                self.set(&mut state, State::Sound);
                Ok(Admitted::Freely)
            }
            State::Sound | State::Struck(..) => Ok(Admitted::Freely),
            State::Blown(until) if now < until => Err(until - now),
            State::Blown(_) => {
                // This is the trial; others are refused until it has ended.
                self.set(&mut state, State::Blown(now + REST));
                Ok(Admitted::Trial)
            }
        }
    }

    /// Notes how long a validation took, and how it was admitted; returns whether that has blown the fuse.
    pub fn note(&self, how: Admitted, took: Duration, budget: Duration, now: Instant) -> bool {
        if took <= budget {
            // Strikes stay until they are forgotten; only a trial within the budget makes the fuse sound.
            if how == Admitted::Trial {
                self.set(&mut lock(&self.state), State::Sound);
            }
            return false;
        }
        self.counts.slow.add(1);
        let mut state = lock(&self.state);
        let strikes = match *state {
            State::Sound => 1,
            State::Struck(_, last) if now.duration_since(last) >= FORGET => 1,
            State::Struck(strikes, _) => strikes + 1,
            State::Blown(_) => STRIKES,
        };
        if strikes < STRIKES {
            self.set(&mut state, State::Struck(strikes, now));
            return false;
        }
        let anew = !matches!(*state, State::Blown(_));
        self.set(&mut state, State::Blown(now + REST));
        if anew {
            self.counts.blown.add(1);
        }
        anew
    }

    /// Whether it has blown and no trial has succeeded since.
    pub fn is_blown(&self) -> bool {
        self.suspect.load(Ordering::Acquire) && matches!(*lock(&self.state), State::Blown(_))
    }

    fn set(&self, state: &mut State, to: State) {
        *state = to;
        self.suspect.store(!matches!(to, State::Sound), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Admitted::{Freely, Trial};
    use super::{FORGET, Fuse, REST, STRIKES};

    const BUDGET: Duration = Duration::from_millis(100);
    const SLOW: Duration = Duration::from_millis(101);
    const QUICK: Duration = Duration::from_millis(1);

    fn blown(fuse: &Fuse, now: Instant) {
        for strike in 1..=STRIKES {
            assert!(fuse.admit(now).is_ok(), "{strike}");
            assert_eq!(fuse.note(Freely, SLOW, BUDGET, now), strike == STRIKES, "{strike}");
        }
    }

    #[test]
    fn it_blows_when_a_validation_is_slow_again_and_again() {
        let (fuse, now) = (Fuse::default(), Instant::now());
        assert!(!fuse.note(Freely, BUDGET, BUDGET, now), "the budget itself is within it");
        assert_eq!(fuse.admit(now), Ok(Freely));
        blown(&fuse, now);
        assert!(fuse.is_blown());
        assert!(!fuse.may_be_slow(|| now + Duration::from_secs(4)), "it is not begun at all");
        assert_eq!(fuse.admit(now + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        assert!(fuse.may_be_slow(|| now + REST), "the trial");
        assert_eq!((fuse.counts.slow.get(), fuse.counts.blown.get()), (u64::from(STRIKES), 1));
    }

    #[test]
    fn what_was_slow_long_ago_is_forgotten() {
        let (fuse, mut now) = (Fuse::default(), Instant::now());
        for _ in 0..3 * STRIKES {
            assert!(!fuse.note(Freely, SLOW, BUDGET, now));
            assert!(fuse.may_be_slow(|| now));
            assert_eq!(fuse.admit(now), Ok(Freely), "the next may be slow too");
            now += FORGET;
            assert!(!fuse.may_be_slow(|| now));
            assert_eq!(fuse.admit(now), Ok(Freely));
        }
        assert_eq!(fuse.counts.blown.get(), 0);
    }

    #[test]
    fn after_a_rest_one_trial_decides_for_all() {
        let (fuse, mut now) = (Fuse::default(), Instant::now());
        blown(&fuse, now);
        now += REST;
        assert_eq!(fuse.admit(now), Ok(Trial));
        assert!(fuse.admit(now).is_err(), "one at a time");
        assert!(!fuse.note(Trial, SLOW, BUDGET, now), "it had blown before");
        assert!(fuse.admit(now).is_err(), "the trial failed");
        now += REST;
        assert_eq!(fuse.admit(now), Ok(Trial));
        fuse.note(Freely, QUICK, BUDGET, now);
        assert!(fuse.is_blown(), "one that had begun before is no trial");
        fuse.note(Trial, QUICK, BUDGET, now);
        assert!(!fuse.is_blown());
        assert_eq!(fuse.admit(now), Ok(Freely));
        assert_eq!(fuse.counts.blown.get(), 1);
    }

    #[test]
    fn one_for_another_schema_is_sound_and_counts_on() {
        let (fuse, now) = (Fuse::default(), Instant::now());
        blown(&fuse, now);
        let renewed = fuse.renewed();
        assert_eq!((renewed.is_blown(), renewed.admit(now)), (false, Ok(Freely)));
        blown(&renewed, now);
        assert_eq!((renewed.counts.slow.get(), renewed.counts.blown.get()), (2 * u64::from(STRIKES), 2));
        assert!(fuse.is_blown());
    }

    #[test]
    fn a_trial_that_never_ends_is_not_waited_for_for_ever() {
        let (fuse, now) = (Fuse::default(), Instant::now());
        blown(&fuse, now);
        assert!(fuse.admit(now + REST).is_ok());
        assert!(fuse.admit(now + REST).is_err());
        assert!(fuse.admit(now + REST + REST).is_ok());
    }
}
