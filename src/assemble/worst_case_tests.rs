use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::WorstCase;
use crate::config::model::{Config, Limits};
use crate::footprint::{allocated, text};
use crate::hub::entry::{COST_HALVES, Message};
use crate::judging::COST;
use crate::message::{Epoch, Record, Seq};
use crate::name::{MAX_NAME, MAX_USER, TopicName, UserId};
use crate::plugin::Encoder;
use crate::protocol::KINDS;
use crate::protocol::sse::Sse;
use crate::schema::Payload;
use crate::schema::json::{self, Tree};
use crate::time::Time;

/// What a separate `Bytes` takes beside its text, once it has been shared.
const SHARED: usize = allocated(24);

/// Regression: half of the real size was reported, because one encoding was counted instead of all, and no names.
#[test]
fn the_window_takes_no_more_than_is_reckoned() {
    let protocols = KINDS.iter().map(|protocol| *protocol as &dyn Encoder);
    let encoders: Vec<&dyn Encoder> = protocols.chain([&Sse as &dyn Encoder]).collect();
    for (payload, name, user) in [(1, 1, 0), (1, MAX_NAME, 0), (1, MAX_NAME, MAX_USER), (260_000, 1, 0), (900, 40, 10)]
    {
        let record = Arc::new(Record {
            seq: Seq::MAX,
            time: Time(0),
            topic: TopicName::parse(&"t".repeat(name)).expect("a topic"),
            user: (user > 0).then(|| UserId::parse(&"u".repeat(user)).expect("a user")),
            payload: Payload::from_log("1".repeat(payload).into()),
        });
        let message = Message::new(record, None);
        let encoded =
            encoders.iter().map(|encoder| allocated(encoder.message(Epoch(0), &message.record).len()) + SHARED);
        let taken = encoded.sum::<usize>()
            + allocated(16 + size_of::<Message>())
            + allocated(16 + size_of::<Record>())
            + 2 * size_of::<Arc<Message>>()
            + allocated(payload)
            + text(name)
            + if user > 0 { text(user) } else { 0 };
        assert!(taken <= message.cost() * COST_HALVES / 2, "{taken} for {payload}, {name}, {user}: {}", message.cost());
    }
}

/// An entry of a hash table from which nothing is removed.
fn in_filled_table(entry: usize) -> usize {
    ((entry + 1) * 16).div_ceil(7)
}

/// The allocations of a tree.
fn of_tree(tree: &Tree<'_>) -> usize {
    let list = |len: usize, each: usize| if len == 0 { 0 } else { allocated(len.next_power_of_two().max(4) * each) };
    match tree {
        Tree::Array(items) => list(items.len(), size_of::<Tree<'_>>()) + items.iter().map(of_tree).sum::<usize>(),
        Tree::Object(members) => {
            // Each member has its name; objects with many also have an index.
            let each = size_of::<Tree<'_>>() + 24 + if members.len() > 16 { in_filled_table(32) } else { 0 };
            list(members.len(), each) + members.iter().map(|(_, value)| of_tree(value)).sum::<usize>()
        }
        _ => 0,
    }
}

/// The allocations of the `Value` that explains a refusal. Its lists have no spare capacity.
fn of_value(value: &Value) -> usize {
    match value {
        Value::Array(items) => allocated(items.len() * size_of::<Value>()) + items.iter().map(of_value).sum::<usize>(),
        Value::Object(map) => {
            // Beside each member: a hash, a name and a slot in a table.
            let each = 8 + 24 + size_of::<Value>() + in_filled_table(8);
            let names = map.iter().map(|(name, value)| allocated(name.len()) + of_value(value));
            allocated(map.len() * each) + names.sum::<usize>()
        }
        Value::String(text) => allocated(text.len()),
        _ => 0,
    }
}

/// Regression: a body was counted as its text only, and its tree takes tens of times as much.
#[test]
fn to_judge_takes_no_more_than_is_reckoned() {
    let array = |item: &str| format!("[{}]", vec![item; 1_000].join(","));
    let members = (0..1_000).map(|n| format!("\"{n}\":[]")).collect::<Vec<_>>().join(",");
    let nested = |open: &str, close: &str| format!("{}0{}", open.repeat(100), close.repeat(100));
    for text in [
        array("[]"),
        array("[[]]"),
        array("[[[\"a\"]]]"),
        array("{}"),
        array("{\"\":0}"),
        array("0"),
        format!("{{{members}}}"),
        array(&nested("[", "]")),
        array(&nested("{\"\":", "}")),
    ] {
        let body = Bytes::from(text);
        let json = json::parse(&body, json::MAX_DEPTH).expect("JSON");
        let (taken, most) = (of_tree(&json.tree) + of_value(&json.tree.to_value()), body.len() * COST);
        assert!(taken <= most, "{taken} for {} bytes: {:?}", body.len(), &body[..40]);
    }
}

#[test]
fn everything_that_has_a_limit_is_reckoned() {
    let of = |change: fn(&mut Limits)| {
        let mut config = Config::default();
        change(&mut config.limits);
        WorstCase::of(&config)
    };
    let before = of(|_| {});
    assert!(of(|limits| limits.subscriptions *= 2).connections > before.connections);
    assert_eq!(of(|limits| limits.body *= 2).judging, before.judging * 2);
    assert_eq!(of(|limits| limits.outbound += 5).total(), before.total() + 5);
    assert_eq!(of(|limits| limits.window += 1 << 20).window, before.window + ((COST_HALVES as u64) << 19));
    let batch = of(|limits| (limits.batch, limits.window) = (1_000_000, 1)).window;
    assert!(batch > 1_000_000 * 2_000, "what was appended together stays whole: {batch}");
    let [one, two] = [1 << 30, 2 << 30].map(|body| {
        let mut config = Config::default();
        (config.limits.body, config.limits.window) = (body, 1);
        WorstCase::of(&config).window
    });
    assert_eq!(two - one, ((COST_HALVES as u64) << 29) * 2, "twice each byte of it: as it was appended, and as JSON");
}
