use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::prop_assert_eq;

use super::{Members, SERVING, SlotId, Visits};
use crate::close::Close;
use crate::hub::connection::{Connection, NoSocket};
use crate::hub::entry::{Cursor, Mark, Message};
use crate::hub::rig::{DEEP, deep, peer};
use crate::message::{Epoch, Record, Seq};
use crate::name::{Pattern, TopicName, UserId};
use crate::notice::Notice;
use crate::plugin::Encoder;
use crate::principal::{Grants, Principal};
use crate::schema::Payload;
use crate::stopwatch::Stopwatch;
use crate::time::Time;

struct Mute;

impl Encoder for Mute {
    fn slot(&self) -> usize {
        0
    }

    fn message(&self, _: Epoch, _: &Record) -> Bytes {
        Bytes::new()
    }

    fn notice(&self, _: &Notice) -> Result<Option<Bytes>, Close> {
        Ok(None)
    }
}

fn names(names: &[String]) -> Vec<Pattern> {
    names.iter().map(|name| Pattern::parse(name).expect("a name")).collect()
}

fn mark(removed: &[String], changed: &[String], tokens: &[&str]) -> Mark {
    let (removed, changed) = (names(removed).into(), names(changed).into());
    let tokens = tokens.iter().map(|name| (*name).into()).collect();
    Mark { seq: 0, generation: 1, first: 1, removed, changed, tokens, anonymous: false }
}

fn member(members: &mut Members, token: Option<&str>, subscriptions: Vec<Pattern>) -> SlotId {
    let id = members.insert(Connection::new(NoSocket, Arc::default()), peer().into(), false, &Mute);
    let (token, grants) = (token.map(Arc::from), Grants::default());
    let principal = Principal { token, user: None, grants, not_after: None, fingerprint: 0 };
    members.identify(id, Some(Arc::new(principal)));
    members.subscribe(id, subscriptions);
    members.slot(id).live = true;
    id
}

fn message(seq: Seq, topic: &str, user: Option<&str>) -> Arc<Message> {
    let user = user.map(|user| UserId::parse(user).expect("a user"));
    let topic = TopicName::parse(topic).expect("a topic");
    let record = Record { seq, time: Time(0), topic, user, payload: Payload::from_log("1".into()) };
    Arc::new(Message::new(Arc::new(record), None))
}

fn messages(topics: &[&str]) -> Vec<Arc<Message>> {
    (1..).zip(topics).map(|(seq, topic)| message(seq, topic, None)).collect()
}

fn texts(longest: usize) -> impl Strategy<Value = Vec<String>> {
    let segment = proptest::sample::select(&["a", "b", "c", "*", "{x}", "**"][..]);
    let name = vec(segment, 1..4).prop_map(|segments| {
        let last = segments.len() - 1;
        let inner = segments.iter().enumerate().map(|(n, s)| if *s == "**" && n < last { "*" } else { s });
        inner.collect::<Vec<_>>().join(".")
    });
    vec(name, 0..longest)
}

proptest! {
    #[test]
    fn a_reload_affects_whoever_shares_a_topic_with_it(
        subscribed in vec(texts(4), 1..12),
        removed in texts(3),
        changed in texts(3),
        again in any::<bool>(),
    ) {
        let mut members = Members::default();
        let mut expected = Vec::new();
        let named = names(&[&removed[..], &changed].concat());
        for texts in &subscribed {
            let mine: Vec<Pattern> = crate::name::distinct(names(texts));
            let affected = mine.iter().any(|mine| named.iter().any(|name| name.overlaps(mine)));
            let id = member(&mut members, None, mine.clone());
            if again {
                members.subscribe(id, mine.iter().rev().cloned().collect());
            }
            expected.extend(affected.then_some(id));
        }
        prop_assert_eq!(members.affected(&mark(&removed, &changed, &[])), expected);
        (0..).take(subscribed.len()).for_each(|id| members.remove(id));
        prop_assert_eq!((members.index.exact.len(), members.index.patterns.is_empty()), (0, true));
        prop_assert_eq!(members.index.with_wildcards.len(), 0);
    }
}

#[test]
fn a_mark_concerns_whoever_shares_a_topic_or_a_token_with_it() {
    let mut members = Members::default();
    let mark = mark(&["cats".into(), "orders.{region}".into()], &[], &["shop"]);
    let mut affected = |token: Option<&str>, topic: &str| {
        let id = member(&mut members, token, names(&[topic.into()]));
        let is_affected = members.affected(&mark).contains(&id);
        members.remove(id);
        is_affected
    };
    assert!(affected(Some("shop"), "dogs") && !affected(Some("other"), "dogs") && !affected(None, "dogs"));
    for (topic, yes) in [("cats", true), ("orders.eu", true), ("orders.*", true), ("**", true), ("cats.x", false)] {
        assert_eq!(affected(None, topic), yes, "{topic}");
    }
}

/// A reload of thousands of topics used to compare each with tens of thousands of patterns, while every publisher
/// waited.
#[test]
fn whoever_could_take_too_long_to_find_looks_for_itself() {
    let mut members = Members::default();
    let every =
        |n: usize| names(&(0..128).map(|k| format!("a.{}.b", n * 128 + k)).map(|t| t + ".*").collect::<Vec<_>>());
    let ids: Vec<_> = (0..20).map(|n| member(&mut members, None, every(n))).collect();
    let families: Vec<String> =
        (0..Visits::default().reload / (20 * 128) + 1).map(|n| format!("a.{{x}}.t{n}.{{y}}")).collect();
    assert_eq!(members.affected(&mark(&[], &families[..3], &[])), Vec::<SlotId>::new());
    assert_eq!(members.affected(&mark(&[], &families, &[])), ids);
}

/// A changed family used to be compared with each topic that anybody subscribes to, with all shards locked.
#[test]
fn whoever_subscribes_to_one_of_very_many_topics_looks_for_itself() {
    let mut members = Members::default();
    let every = |n: usize, count: usize| names(&(0..count).map(|k| format!("t{n}.{k}")).collect::<Vec<_>>());
    let ids: Vec<_> = (0..8).map(|n| member(&mut members, None, every(n, Visits::default().reload / 16))).collect();
    let (family, topic) = (mark(&[], &["t3.{x}".into()], &[]), mark(&[], &["t3.0".into()], &[]));
    assert_eq!(members.affected(&family), [ids[3]]);
    let other = member(&mut members, None, every(8, Visits::default().reload / 2 + 1));
    assert_eq!(members.affected(&family), [&ids[..], &[other]].concat());
    assert_eq!(members.affected(&topic), [ids[3]], "one topic is found at once");
}

/// Everything behind the first subscription was taken out and put in again, and each time the whole list of a topic was
/// searched: 10,000 connections that gave up one topic of many took seconds.
#[test]
fn subscriptions_that_stay_are_left_alone() {
    let mut members = Members::default();
    let all = names(&["a", "b", "c.*", "d"].map(String::from));
    let ids = [(); 3].map(|()| member(&mut members, None, all.clone()));
    for left in [&all[1..], &all[2..], &[all[3].clone(), all[2].clone(), all[0].clone()]] {
        ids.iter().for_each(|id| members.subscribe(*id, left.to_vec()));
        for pattern in left.iter().filter(|pattern| **pattern != all[0]) {
            let listed = match pattern.exact() {
                Some(topic) => &members.index.exact[&topic],
                None => members.index.patterns.get(pattern).expect("it stays"),
            };
            assert_eq!(listed[..], ids, "{pattern}");
        }
    }
    assert_eq!(members.index.exact.len(), 2);
    assert_eq!(members.index.with_wildcards, ids);
}

/// Patterns that match how a topic begins, and never all of it, were all visited for each message while every publisher
/// waited.
#[test]
fn a_publish_does_not_wait_for_a_search_through_patterns() {
    let (mut members, most) = (Members::default(), Visits::default().append);
    member(&mut members, None, names(&deep(2)));
    assert!(!members.concern(&messages(&vec![DEEP; most + 1])), "one topic is looked up once");
    assert!(!members.concern(&messages(&[DEEP, "other", DEEP, "d.a"])));
    member(&mut members, None, names(&deep(most)));
    assert!(members.concern(&messages(&[DEEP])), "nobody knows");
    assert!(!members.concern(&messages(&["other"])));
}

#[test]
fn a_search_through_patterns_for_a_batch_is_bounded_and_then_each_looks_for_itself() {
    let (mut members, mut touched) = (Members::default(), Vec::new());
    member(&mut members, None, names(&deep(64)));
    let (exact, wild) = (names(&[DEEP.into()]), names(&["x.*".into()]));
    let [exact, wild, both] =
        [exact.clone(), wild.clone(), [exact, wild].concat()].map(|s| member(&mut members, None, s));
    let once = members.note(&messages(&[DEEP]), &mut touched);
    let again = members.note(&messages(&[DEEP; 64]), &mut Vec::new());
    assert!(once.is_exact && once.cost > 0 && once.cost == again.cost, "one topic is looked up once");
    assert_eq!(touched, [exact, both]);
    assert_eq!([exact, wild, both].map(|id| std::mem::take(&mut members.slot(id).wants)), [u64::MAX, 0, u64::MAX]);

    touched.clear();
    let crowd = member(&mut members, None, names(&deep(512)));
    let noted = members.note(&messages(&[DEEP, DEEP, "x.1", "other"]), &mut touched);
    assert!(noted.is_exact, "a batch may take longer than one message");
    assert_eq!([exact, wild, both].map(|id| std::mem::take(&mut members.slot(id).wants)), [0b11, 0b100, 0b111]);
    touched.clear();
    let noted = members.note(&messages(&[DEEP]), &mut touched);
    assert!(!noted.is_exact && noted.cost == Visits::default().message / SERVING + members.index.with_wildcards.len());
    touched.sort_unstable();
    assert_eq!(touched, [0, exact, wild, both, crowd]);
    assert_eq!([exact, wild, both].map(|id| members.slot(id).wants), [1, 0, 0]);
}

#[test]
fn of_a_batch_a_member_wants_what_comes_after_it_joined() {
    let mut members = Members::default();
    let ids = [0, 1, 2, 3].map(|seq| {
        let id = member(&mut members, None, names(&["a".into()]));
        members.slot(id).joined_at = Cursor { seq, generation: 0 };
        id
    });
    let noted = members.note(&messages(&["a", "a", "b", "a"]), &mut Vec::new());
    assert!(!noted.is_exact);
    assert_eq!(ids.map(|id| members.slot(id).wants), [0b1011, 0b1010, 0b1000, 0b1000]);
}

/// A message for one user used to be compared with every subscription of all that user's connections, under the shard's
/// lock.
#[test]
fn what_a_message_for_one_user_costs_does_not_grow_as_the_subscriptions_of_that_user() {
    let took = |subscriptions: usize| {
        let mut members = Members::default();
        let topics: Vec<_> = (0..subscriptions).map(|n| format!("t{n}")).collect();
        let id = member(&mut members, None, names(&topics));
        let (grants, user) = (Grants::default(), UserId::parse("u").ok());
        let principal = Principal { token: None, user, grants, not_after: None, fingerprint: 0 };
        members.identify(id, Some(Arc::new(principal)));
        let of = |topic: &str| [message(1, topic, Some("u"))];
        let (last, other) = (of(&topics[subscriptions - 1]), of("other"));
        let mut once = || {
            let (began, mut touched) = (Stopwatch::start(), Vec::new());
            (0..64).for_each(|_| assert!(members.note(&other, &mut touched).is_exact));
            assert!(touched.is_empty());
            (0..64).for_each(|_| assert!(members.note(&last, &mut touched).is_exact));
            assert_eq!(touched, [id]);
            members.slot(id).wants = 0;
            began.elapsed()
        };
        (0..3).map(|_| once()).min().expect("it was done")
    };
    let (few, many) = (took(100), took(9_000));
    assert!(many < few * 10, "{few:?} with 100, {many:?} with 9,000");
}

#[test]
fn who_has_many_subscriptions_gets_what_is_for_its_user_by_a_pattern_too() {
    let mut members = Members::default();
    let mut topics: Vec<_> = (0..200).map(|n| format!("t{n}")).collect();
    topics.push("p.*".to_owned());
    let id = member(&mut members, None, names(&topics));
    let (grants, user) = (Grants::default(), UserId::parse("u").ok());
    let principal = Principal { token: None, user, grants, not_after: None, fingerprint: 0 };
    members.identify(id, Some(Arc::new(principal)));
    for (topic, expected) in [("p.x", vec![id]), ("t7", vec![id]), ("q.x", vec![])] {
        let mut touched = Vec::new();
        assert!(members.note(&[message(1, topic, Some("u"))], &mut touched).is_exact);
        assert_eq!(touched, expected, "{topic}");
        members.slot(id).wants = 0;
    }
}

/// A place is used again: what is for the user who had it before would go to whoever has it now.
#[test]
fn who_comes_into_the_place_of_another_gets_nothing_that_was_for_its_user() {
    let mut members = Members::default();
    let (grants, user) = (Grants::default(), UserId::parse("u").ok());
    let principal = Principal { token: None, user, grants, not_after: None, fingerprint: 0 };
    let before = member(&mut members, None, names(&["t".to_owned()]));
    members.identify(before, Some(Arc::new(principal)));
    let addressed = [message(1, "t", Some("u"))];
    assert!(members.concern(&addressed));
    members.remove(before);
    assert!(!members.concern(&addressed));
    assert_eq!(member(&mut members, None, names(&["t".to_owned()])), before);
    let mut touched = Vec::new();
    members.note(&addressed, &mut touched);
    assert_eq!(touched, [0; 0]);
}
