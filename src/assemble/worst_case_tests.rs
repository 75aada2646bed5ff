use std::sync::Arc;

use super::WorstCase;
use crate::config::model::{Config, Limits};
use crate::footprint::{allocated, text};
use crate::hub::entry::{COST_HALVES, Message};
use crate::hub::subscriber::SUBSCRIPTION_BYTES;
use crate::message::{Epoch, Record, Seq};
use crate::name::{MAX_NAME, MAX_USER, TopicName, UserId};
use crate::plugin::{ENCODERS, Encoder};
use crate::protocol::relay_raw::RelayRaw;
use crate::protocol::relay_v1::RelayV1;
use crate::protocol::sse::Sse;
use crate::schema::Payload;
use crate::time::Time;
use crate::{registrations, store};

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

/// Each was reached with names of 255 bytes, users of as many, and payloads of one byte.
#[test]
fn nothing_takes_more_than_was_measured() {
    for (what, reckoned, reached, most) in [
        ("a retained record", store::RECORD_BYTES, 445, 640),
        ("a topic of a family that retains nothing", store::TOPIC_BYTES, 412, 640),
        // Two texts, and a place in the table and in the order.
        ("an idempotency key", store::KEY_BYTES, 2 * 320 + 105 * 8 / 7 + 56, 1_200),
        // A pattern is its text alone, however many segments it has.
        ("a topic of a registration", registrations::REGISTERED_TOPIC_BYTES, 320 + 16, 400),
        ("a subscription", SUBSCRIPTION_BYTES, 3 * 320 + 2 * size_of::<usize>() * 8, 2_560),
    ] {
        assert!((reached..=most).contains(&reckoned), "{what}: {reckoned}");
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
