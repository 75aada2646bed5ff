use std::sync::Arc;
use std::time::Duration;

use super::tests::{append_all, draft, family, patterns, retained, store, store_of, sweep};
use super::{Digests, MemoryStore, Rules};
use crate::directory::Directory;
use crate::name::Pattern;
use crate::plugin::{Retention, Store, StoreError};
use crate::stopwatch::Stopwatch;
use crate::store::log::SWEEP;
use crate::time::Time;

const HOUR: i64 = 3_600_000;

/// The rules of a log, each changed.
fn changed_rules(store: &MemoryStore, change: impl Fn(Retention) -> Retention) -> Directory<Retention> {
    let rules = store.log().rules.clone();
    let rules = rules.iter().map(|rules| change(rules.retention.clone()));
    rules.map(|rules| (rules.declared.clone(), rules)).collect()
}

/// A reload that lowered a history, or took away a topic, used to evict all of it at once.
#[test]
fn what_new_rules_do_not_allow_goes_in_turns() {
    let many = SWEEP + 2;
    for is_declared in [true, false] {
        let store = store_of(many);
        let mut log = store.log();
        append_all(&mut log, (0..many).map(|_| draft("f.t")).collect(), HOUR);
        let rules = log.rules.iter().filter(|rules| is_declared == (rules.retention.declared.as_str() != "a"));
        let lower = rules.map(|rules| Retention { count: 2, ..rules.retention.clone() });
        let lower: Directory<_> =
            lower.map(|rules| (rules.declared.clone(), Arc::new(Rules::new(rules, None)))).collect();
        log.retain(Arc::new(lower));
        assert_eq!(retained(&log).len(), many, "none goes with the rules themselves");
        append_all(&mut log, vec![draft("f.t")], HOUR);
        assert_eq!(retained(&log).len(), many, "a message replaces one");
        assert_eq!(log.sweep(0, Time(HOUR)), Some(0));
        assert_eq!(retained(&log), [many as u64, many as u64 + 1]);
        assert_eq!(log.sweep(0, Time(HOUR)), None);
        let left = if is_declared { vec![many as u64, many as u64 + 1] } else { vec![] };
        assert_eq!(retained(&log), left);
        assert_eq!(log.rings.place("f.t").is_some(), is_declared);
    }
}

/// A reload that changed a history gave each topic its new rules at once, while publishers waited.
#[test]
fn new_rules_are_set_without_a_look_at_each_topic() {
    let took = |topics: usize| {
        let store = store();
        append_all(&mut store.log(), family(topics), HOUR);
        let rules = changed_rules(&store, |rules| Retention { count: 50, ..rules });
        let once = |_| {
            let rules = rules.clone();
            let began = Stopwatch::start();
            store.retain(rules);
            began.elapsed()
        };
        (0..5).map(once).min().expect("they were set")
    };
    let (few, many) = (took(10), took(50_000));
    assert!(many < few * 100, "{few:?} with ten topics, {many:?} with 50,000");
}

#[test]
fn what_a_name_takes_is_known_while_its_topics_have_yet_to_take_their_new_rules() {
    let store = store();
    append_all(&mut store.log(), family(3), HOUR);
    store.retain(changed_rules(&store, |rules| {
        let declared = Pattern::parse(&rules.declared.as_str().replace('x', "renamed")).expect("a name");
        Retention { topics: 3, declared, ..rules }
    }));
    let retained = || store.retained().into_iter().find(|(name, _)| name.as_str() == "f.{renamed}");
    for _ in 0..2 {
        assert_eq!(retained().map(|(_, bytes)| bytes), Some(3));
        let drafts = vec![draft("f.another")];
        let refused = store.log().append(drafts, &Digests::default(), Time(HOUR));
        assert!(matches!(refused, Err(StoreError::FamilyFull(0))));
        sweep(&mut store.log(), HOUR);
    }
    sweep(&mut store.log(), 2 * HOUR);
    assert_eq!(retained().map(|(_, bytes)| bytes), Some(0));
    append_all(&mut store.log(), family(3), 2 * HOUR);
}

#[test]
fn a_topic_takes_the_rules_of_the_name_that_it_now_belongs_to() {
    let store = store();
    append_all(&mut store.log(), family(2), HOUR);
    let mut rules = changed_rules(&store, |rules| rules);
    let beside = rules.clone();
    let [own, family] = patterns(["f.1", "f.*"]);
    let age = Duration::from_secs(1);
    let retention = beside.get(&family).cloned().expect("it is declared");
    rules.insert(own.clone(), Retention { age, declared: own.clone(), ..retention });
    store.retain(rules);
    sweep(&mut store.log(), HOUR + 1_000);
    assert_eq!(retained(&store.log()), [1]);
    append_all(&mut store.log(), vec![draft("f.1")], HOUR + 2_000);
    store.retain(beside);
    sweep(&mut store.log(), HOUR + 3_000);
    assert_eq!(retained(&store.log()), [1, 3], "it has fallen back to its family");
}
