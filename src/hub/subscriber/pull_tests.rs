use futures::FutureExt;

use crate::hub::connection::NoSocket;
use crate::hub::rig::{Number, append, hub, peer};
use crate::hub::subscriber::Item;
use crate::name::Pattern;
use crate::notice::After;
use crate::stopwatch::Stopwatch;

/// Each message of a page used to be compared with each subscription at once: with a hundred thousand, for a third of a
/// second.
#[test]
fn a_page_for_many_subscriptions_does_not_cost_as_many_comparisons_for_each_message() {
    let took = |messages: usize| {
        let hub = hub(1);
        let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
        let pattern = |n: usize| Pattern::parse(&format!("t{n}")).expect("a name");
        subscriber.subscribe((0..9_000).map(|n| (pattern(n), After::Live)).collect());
        let topics: Vec<_> = (0..messages).map(|n| if n % 2 == 0 { "t8999" } else { "other" }).collect();
        append(&hub, &topics);
        let mut once = || {
            let began = Stopwatch::start();
            let Some(Ok(Some(pulled))) = subscriber.pull().now_or_never() else { panic!("from the window") };
            assert_eq!(pulled.items.len(), messages.div_ceil(2));
            began.elapsed()
        };
        (0..3).map(|_| once()).min().expect("it was done")
    };
    let (one, many) = (took(1), took(256));
    assert!(many < one * 100, "{one:?} for one message, {many:?} for 256");
}

/// However many they are, and so in whichever way they are looked for.
#[test]
fn of_many_subscriptions_none_begins_with_the_message_before_it() {
    for subscriptions in [1, 1_000] {
        let hub = hub(1);
        let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
        append(&hub, &["t0"; 40]);
        let pattern = |n: usize| Pattern::parse(&format!("t{n}")).expect("a name");
        subscriber.subscribe((0..subscriptions).map(|n| (pattern(n), After::Live)).collect());
        append(&hub, &["t0"; 40]);
        let pulled = subscriber.pull().now_or_never().expect("from the window").expect("it can be read");
        let items = pulled.expect("there is something").items;
        let seqs = items.iter().filter_map(|(item, _)| match item {
            Item::Message(message) => Some(message.record.seq),
            _ => None,
        });
        assert_eq!(seqs.collect::<Vec<_>>(), (41..=80).collect::<Vec<_>>(), "{subscriptions}");
    }
}
