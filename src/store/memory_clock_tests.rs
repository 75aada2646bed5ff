use std::time::Duration;

use super::tests::{append, append_all, draft, retained, store, store_of, sweep};
use crate::plugin::Store;
use crate::stopwatch::Stopwatch;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

#[test]
fn a_clock_that_steps_back_a_little_is_waited_for_and_one_that_was_ahead_is_followed() {
    let store = store();
    let mut log = store.log();
    let times = [10 * HOUR, 9 * HOUR + 59 * MINUTE, 10 * HOUR + 1, 8 * HOUR, 8 * HOUR + 1];
    let got = times.map(|now| append(&mut log, &now.to_string(), now).time.0);
    assert_eq!(got, [10 * HOUR, 10 * HOUR, 10 * HOUR + 1, 8 * HOUR, 8 * HOUR + 1]);
}

#[test]
fn what_was_appended_by_a_clock_that_was_ahead_ages_no_later_than_what_follows() {
    let store = store();
    let mut log = store.log();
    for (key, now) in [("one", 10 * HOUR), ("ahead", 90 * HOUR), ("two", 10 * HOUR + 1), ("three", 10 * HOUR + 2)] {
        append(&mut log, key, now);
    }
    sweep(&mut log, 11 * HOUR - 1);
    assert_eq!(retained(&log), [1, 2, 3, 4]);
    sweep(&mut log, 11 * HOUR);
    assert_eq!(retained(&log), [2, 3, 4]);
    sweep(&mut log, 11 * HOUR + 1);
    assert_eq!(retained(&log), [4]);
    assert!(!append(&mut log, "ahead", 11 * HOUR + 2).duplicate, "a key is not remembered beyond its window");
}

/// It used to be kept until its wrong time had aged.
#[test]
fn what_was_appended_before_a_step_back_ages_from_the_step_even_if_nothing_follows_it() {
    let store = store();
    let mut log = store.log();
    append_all(&mut log, vec![draft("f.ahead")], 90 * HOUR);
    append_all(&mut log, vec![draft("f.other")], 10 * HOUR);
    sweep(&mut log, 11 * HOUR - 1);
    assert_eq!(retained(&log), [1, 2]);
    sweep(&mut log, 11 * HOUR);
    assert!(retained(&log).is_empty());
}

/// After a step back, every sweep used to search all messages of each topic, and the step itself all keys, while nobody
/// could publish.
#[test]
fn a_step_back_of_the_clock_costs_no_visit_of_all_messages_or_keys() {
    let store = store_of(100_000);
    store.remember(20_000, Duration::from_secs(300));
    let mut log = store.log();
    (0..20_000).for_each(|n| _ = append(&mut log, &n.to_string(), 90 * HOUR));
    append_all(&mut log, (0..80_000).map(|_| draft("a")).collect(), 90 * HOUR);
    let timed = |act: &mut dyn FnMut()| {
        let began = Stopwatch::start();
        act();
        began.elapsed()
    };
    let all = timed(&mut || assert_eq!(log.rings.order.after(0).count(), 100_000));
    let step = timed(&mut || _ = append(&mut log, "step", 10 * HOUR));
    let swept = timed(&mut || sweep(&mut log, 10 * HOUR));
    assert!(step * 3 < all && swept * 3 < all, "{step:?} the step, {swept:?} a sweep, {all:?} to look at all");
    assert!(append(&mut log, "7", 10 * HOUR).duplicate, "no key is forgotten for that");
}
