use std::sync::Arc;

use super::WorstCase;
use crate::config::model::{Config, Limits};
use crate::footprint::{allocated, text};
use crate::hub::entry::{COST_HALVES, Message};
use crate::message::{Epoch, Record, Seq};
use crate::name::{MAX_NAME, MAX_USER, TopicName, UserId};
use crate::plugin::{ENCODERS, Encoder};
use crate::protocol::relay_raw::RelayRaw;
use crate::protocol::relay_v1::RelayV1;
use crate::protocol::sse::Sse;
use crate::schema::Payload;
use crate::time::Time;

/// What a `Bytes` of its own takes beside its text, once it has been shared.
const SHARED: usize = allocated(24);

/// It was said to take half of what it did: one encoding was reckoned, and no names.
#[test]
fn the_window_takes_no_more_than_is_reckoned() {
    let encoders: [&dyn Encoder; ENCODERS] = [&RelayV1, &RelayRaw, &Sse];
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

#[test]
fn everything_that_has_a_limit_is_reckoned() {
    let of = |change: fn(&mut Limits)| {
        let mut config = Config::default();
        change(&mut config.limits);
        WorstCase::of(&config)
    };
    let before = of(|_| {});
    assert!(of(|limits| limits.subscriptions *= 2).connections > before.connections);
    assert_eq!(of(|limits| limits.outbound += 5).total(), before.total() + 5);
    assert_eq!(of(|limits| limits.window += 1 << 20).window, before.window + (5 << 19));
    let batch = of(|limits| (limits.batch, limits.window) = (1_000_000, 1)).window;
    assert!(batch > 1_000_000 * 2_000, "what was appended together stays whole: {batch}");
}
