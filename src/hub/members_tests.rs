use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::prop_assert_eq;

use super::{Members, SEARCH, SlotId};
use crate::close::Close;
use crate::hub::connection::{Connection, NoSocket};
use crate::hub::entry::Mark;
use crate::hub::rig::peer;
use crate::message::{Epoch, Record};
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
    let (removed, changed) = (names(removed), names(changed).into());
    let tokens = tokens.iter().map(|name| (*name).into()).collect();
    Mark { seq: 0, generation: 1, removed, changed, tokens, anonymous: false }
}

fn member(members: &mut Members, token: Option<&str>, subscriptions: Vec<Pattern>) -> SlotId {
    let id = members.insert(Connection::new(NoSocket, Arc::default()), peer().into(), false, &Mute);
    let (token, grants) = (token.map(Arc::from), Grants::default());
    let principal = Principal { token, user: None, grants, not_after: None, fingerprint: 0 };
    members.identify(id, Some(Arc::new(principal)));
    members.index(id, subscriptions);
    members.slot(id).live = true;
    id
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
                members.index(id, mine.iter().rev().cloned().collect());
            }
            expected.extend(affected.then_some(id));
        }
        prop_assert_eq!(members.affected(&mark(&removed, &changed, &[])), expected);
        (0..).take(subscribed.len()).for_each(|id| members.remove(id));
        prop_assert_eq!((members.exact.len(), members.patterns.is_empty()), (0, true));
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
    let families: Vec<String> = (0..SEARCH / (20 * 128) + 1).map(|n| format!("a.{{x}}.t{n}.{{y}}")).collect();
    assert_eq!(members.affected(&mark(&[], &families[..3], &[])), Vec::<SlotId>::new());
    assert_eq!(members.affected(&mark(&[], &families, &[])), ids);
}

/// A message for one user used to be compared with every subscription of all that user's connections, under the shard's
/// lock.
#[test]
fn what_a_message_for_one_user_costs_does_not_grow_as_the_subscriptions_of_that_user() {
    let message = |topic: &str| {
        let (topic, user) = (TopicName::parse(topic).expect("a topic"), UserId::parse("u").ok());
        Record { seq: 1, time: Time(0), topic, user, payload: Payload::from_log("1".into()) }
    };
    let took = |subscriptions: usize| {
        let mut members = Members::default();
        let topics: Vec<_> = (0..subscriptions).map(|n| format!("t{n}")).collect();
        let id = member(&mut members, None, names(&topics));
        let (grants, user) = (Grants::default(), UserId::parse("u").ok());
        let principal = Principal { token: None, user, grants, not_after: None, fingerprint: 0 };
        members.identify(id, Some(Arc::new(principal)));
        let (last, other) = (message(&topics[subscriptions - 1]), message("other"));
        let mut once = || {
            let (began, mut touched) = (Stopwatch::start(), Vec::new());
            (0..64).for_each(|_| assert!(members.note(&other, 0, &mut touched)));
            assert!(touched.is_empty());
            (0..64).for_each(|bit| assert!(members.note(&last, bit, &mut touched)));
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
    let principal = Principal { token: None, user: user.clone(), grants, not_after: None, fingerprint: 0 };
    members.identify(id, Some(Arc::new(principal)));
    for (topic, expected) in [("p.x", vec![id]), ("t7", vec![id]), ("q.x", vec![])] {
        let (topic, user) = (TopicName::parse(topic).expect("a topic"), user.clone());
        let record = Record { seq: 1, time: Time(0), topic, user, payload: Payload::from_log("1".into()) };
        let mut touched = Vec::new();
        assert!(members.note(&record, 0, &mut touched));
        assert_eq!(touched, expected, "{}", record.topic.as_str());
        members.slot(id).wants = 0;
    }
}

/// A place is used again: what is for the user who had it before would go to whoever has it now.
#[test]
fn who_comes_into_the_place_of_another_gets_nothing_that_was_for_its_user() {
    let mut members = Members::default();
    let (grants, user) = (Grants::default(), UserId::parse("u").ok());
    let principal = Principal { token: None, user: user.clone(), grants, not_after: None, fingerprint: 0 };
    let before = member(&mut members, None, names(&["t".to_owned()]));
    members.identify(before, Some(Arc::new(principal)));
    let topic = TopicName::parse("t").expect("a topic");
    let record = Record { seq: 1, time: Time(0), topic, user, payload: Payload::from_log("1".into()) };
    assert!(members.concern(&record));
    members.remove(before);
    assert!(!members.concern(&record));
    assert_eq!(member(&mut members, None, names(&["t".to_owned()])), before);
    let mut touched = Vec::new();
    members.note(&record, 0, &mut touched);
    assert_eq!(touched, [0; 0]);
}
