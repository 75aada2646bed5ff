use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::prop_assert_eq;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Scratch;
use crate::hub::connection::{Io, NoSocket};
use crate::hub::entry::Mark;
use crate::hub::rig::{DEEP, Member, Number, append, crowd, hub, peer, poll};
use crate::hub::topic::Topic;
use crate::hub::{FEW, Hub};
use crate::name::{Pattern, TopicName};
use crate::notice::After;
use crate::stopwatch::Stopwatch;

fn serve(hub: &Hub, scratch: &mut Scratch) {
    let mut pass = pin!(hub.shards[0].pass(hub, scratch));
    while !poll(pass.as_mut()) {}
}

fn is_listed(hub: &Hub) -> bool {
    hub.shards[0].state().kept.is_some()
}

/// A work list of 19,000 members is made under this lock. The log's lock was held while waiting for it, so all
/// publishers waited too.
#[test]
fn no_publisher_waits_for_a_shard_and_what_it_published_is_served() {
    let hub = hub(1);
    let mut member = Member::new(&hub, &["a"]);
    let state = hub.shards[0].state();
    let (done, is_done) = sync_channel(1);
    let publisher = hub.clone();
    let publisher = thread::spawn(move || {
        append(&publisher, &["a"]);
        done.send(())
    });
    is_done.recv_timeout(Duration::from_secs(10)).expect("the publisher waits for the shard");
    drop(state);
    assert!(publisher.join().is_ok());
    let shard = &hub.shards[0];
    let mut run = pin!(shard.run(&hub));
    assert!(!poll(run.as_mut()));
    member.read();
    assert_eq!(member.got, [1]);
}

/// Not with the last delivery: a subscriber that receives nothing for `limits.write_stall` would be cut off as soon as
/// one message does not fit.
#[test]
fn a_stall_begins_with_the_message_that_does_not_fit() {
    let hub = hub(1);
    let member = Member::with_room(&hub, &["a"], 4);
    thread::sleep(Duration::from_millis(20));
    let now = hub.clock();
    append(&hub, &["a"]);
    serve(&hub, &mut Scratch::default());
    assert!(member.subscriber.connection().has_rest() && member.subscriber.connection().progress() >= now);
}

/// The message whose frame was begun counts too: its rest is written first.
#[test]
fn of_a_batch_that_does_not_fit_what_is_written_counts() {
    let (hub, name) = (hub(1), Pattern::parse("a").expect("a name"));
    let topic = Arc::new(Topic::new(name.clone()));
    hub.declare([(name, topic.clone())].into_iter().collect());
    let _member = Member::with_room(&hub, &["a"], 12);
    append(&hub, &["a"; 3]);
    serve(&hub, &mut Scratch::default());
    assert_eq!(topic.delivered.get(), 2);
}

#[test]
fn every_subscription_is_looked_at_once_wherever_its_member_stands() {
    let hub = hub(1);
    let mut members: Vec<_> = (0..2 * FEW + 1).map(|_| Member::new(&hub, &["a", "b.*"])).collect();
    drop(members.drain(1..FEW));
    let mut seen = Vec::new();
    hub.each_member(|member| seen.extend(member.subscriptions.iter().map(|pattern| pattern.to_string())));
    seen.sort_unstable();
    assert_eq!(seen, [vec!["a"; FEW + 2], vec!["b.*"; FEW + 2]].concat());
}

#[test]
fn handing_over_many_members_yields_as_serving_them_does() {
    let hub = hub(1);
    let mut members = [(); 3].map(|()| Member::new(&hub, &["a"]));
    let removed = vec![Pattern::parse("a").expect("a name")].into();
    let (changed, tokens) = Default::default();
    hub.mark(|seq| Mark { seq, generation: 1, first: 1, removed, changed, tokens, anonymous: false });
    let mut scratch = Scratch::default();
    let mut pass = pin!(hub.shards[0].pass(&hub, &mut scratch));
    for handed_over in 1..=3 {
        assert!(!poll(pass.as_mut()), "it yields");
        assert_eq!(members.iter_mut().map(|m| m.subscriber.is_live()).filter(|live| !live).count(), handed_over);
    }
    assert!(poll(pass.as_mut()));
}

/// A socket where each write triggers another publish, this many times.
struct Busy {
    hub: Arc<OnceLock<Arc<Hub>>>,
    written: Arc<AtomicUsize>,
}

const TIMES: usize = 20;

impl Io for Busy {}

impl AsyncRead for Busy {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Busy {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.written.fetch_add(1, Ordering::Relaxed) < TIMES {
            append(self.hub.get().expect("it was said"), &["a"]);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The count used to start again with each pass: a shard of few members never yielded while a topic was busy, and an
/// event stream that it had woken on its thread got nothing meanwhile.
#[test]
fn a_shard_of_one_member_makes_room_too_while_messages_keep_coming() {
    let hub = hub(4);
    let (busy, written) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
    let mut member = hub.subscriber(Busy { hub: busy.clone(), written: written.clone() }, &Number, peer());
    assert!(busy.set(hub.clone()).is_ok());
    member.subscribe(vec![(Pattern::parse("a").expect("a name"), After::Live)]);
    assert!(member.join());
    append(&hub, &["a"]);
    let mut run = pin!(hub.shards[0].run(&hub));
    for turn in 1..=3 {
        assert!(!poll(run.as_mut()));
        assert_eq!(written.load(Ordering::Relaxed), 4 * turn);
    }
}

/// When a member is far behind, the shard examines every message all the same.
#[test]
fn passes_that_serve_nobody_make_room_too() {
    let (hub, mut scratch) = (hub(4), Scratch::default());
    let mut member = Member::new(&hub, &["a"]);
    member.subscriber.take_back();
    for pass in 1..=8 {
        append(&hub, &["a"]);
        let mut nobodys = pin!(hub.shards[0].pass(&hub, &mut scratch));
        let makes_room = !poll(nobodys.as_mut());
        assert_eq!(makes_room, pass % 4 == 0, "pass {pass}");
        assert!(!makes_room || poll(nobodys));
    }
}

/// With ten thousand members that wanted different halves of a batch, each held its own copy until all had been served.
#[test]
fn of_those_who_want_different_messages_the_bytes_of_one_group_are_held_at_a_time() {
    let hub = hub(1);
    let wants: [&[&str]; 6] = [&["a"], &["b"], &["a", "b"], &["a"], &["b", "c"], &["b"]];
    let mut members = wants.map(|topics| Member::new(&hub, topics));
    append(&hub, &["a", "b", "a", "c"]);
    for served in 1..=members.len() {
        let mut scratch = Scratch::default();
        let mut pass = Box::pin(hub.shards[0].pass(&hub, &mut scratch));
        (0..served).for_each(|_| assert!(!poll(pass.as_mut())));
        drop(pass);
        assert_eq!(scratch.list.groups.iter().filter(|group| group.batch.is_some()).count(), 1);
        if served < members.len() {
            members.iter_mut().for_each(Member::catch_up);
            members.iter_mut().for_each(|member| assert!(member.subscriber.join()));
            append(&hub, &["a", "b", "a", "c"]);
        }
    }
    let expected = |topics: &&[&str]| {
        (1..=24).filter(|seq| topics.contains(&["c", "a", "b", "a"][seq % 4])).map(|seq| seq as u64).collect::<Vec<_>>()
    };
    members.iter_mut().for_each(Member::read);
    assert_eq!(members.map(|member| member.got).to_vec(), wants.iter().map(expected).collect::<Vec<_>>());
}

/// A reader over HTTP leaves and rejoins with each message, and had the list rebuilt for all the others.
#[test]
fn a_list_stays_while_those_who_are_on_it_leave_and_come_again() {
    let (hub, mut scratch) = (hub(1), Scratch::default());
    let [mut first, mut second] = [(); 2].map(|()| Member::new(&hub, &["a"]));
    append(&hub, &["a"]);
    serve(&hub, &mut scratch);
    first.catch_up();
    assert!(is_listed(&hub), "somebody left");
    append(&hub, &["a"]);
    serve(&hub, &mut scratch);
    first.catch_up();
    assert!(first.subscriber.join() && is_listed(&hub), "it came again");
    let mut other = Member::new(&hub, &["b"]);
    other.catch_up();
    assert!(other.subscriber.join() && is_listed(&hub), "another topic's");
    drop(other);
    assert!(is_listed(&hub), "another topic's went");
    append(&hub, &["a"]);
    serve(&hub, &mut scratch);
    first.read();
    second.read();
    assert_eq!([&first.got[..], &second.got], [[1, 2, 3]; 2]);
}

#[test]
fn a_list_goes_when_somebody_else_wants_the_topic_and_when_somebody_on_it_goes_or_subscribes() {
    let (hub, mut scratch) = (hub(1), Scratch::default());
    let (mut first, second) = (Member::new(&hub, &["a"]), Member::new(&hub, &["a"]));
    let mut listed = |what: &str| {
        // The first pass skips members that are ahead of the shard.
        for _ in 0..2 {
            append(&hub, &["a"]);
            serve(&hub, &mut scratch);
        }
        assert!(is_listed(&hub), "{what}");
    };
    listed("both are on it");
    let third = Member::new(&hub, &["*"]);
    assert!(!is_listed(&hub), "a third came");
    listed("all three are on it");
    drop((second, third));
    assert!(!is_listed(&hub), "it would keep their sockets open");
    listed("the first one is on it");
    first.catch_up();
    append(&hub, &["a"]);
    first.catch_up();
    assert!(first.subscriber.join() && !is_listed(&hub), "it has got what the shard has not come to");
    listed("it stands where the shard stands");
    first.subscriber.unsubscribe(&[Pattern::parse("a").expect("a name")]);
    assert!(!is_listed(&hub), "it wants no more of it");
}

/// Nothing can be written to it, so no bytes are encoded for it.
#[test]
fn whoever_has_no_socket_is_handed_over() {
    let (hub, mut scratch) = (hub(1), Scratch::default());
    let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
    subscriber.subscribe(vec![(Pattern::parse("a").expect("a name"), After::Live)]);
    for pass in 0..2 {
        assert!(subscriber.join());
        append(&hub, &["a"]);
        match pass {
            0 => serve(&hub, &mut scratch),
            // In the middle of a pass, with the kept list.
            _ => assert!(!poll(pin!(hub.shards[0].pass(&hub, &mut scratch)))),
        }
        assert!(scratch.list.groups.iter().all(|group| group.batch.is_none()));
        assert!(!subscriber.is_live());
        let Some(Ok(Some(pulled))) = subscriber.pull(usize::MAX).now_or_never() else { panic!("from the window") };
        assert_eq!(pulled.items.len(), 1);
        subscriber.settle(pulled, 1);
    }
    assert_eq!(scratch.list.items.len(), 1);
}

/// All were visited for each message, with the shard locked and without a pause for other tasks.
#[test]
fn where_patterns_are_dear_to_search_those_who_have_some_look_for_themselves() {
    let hub = hub(8);
    let _crowd = crowd(&hub);
    let mut members = [&[DEEP][..], &["d.**"], &[DEEP, "x.*"], &["x.*"]].map(|topics| Member::new(&hub, topics));
    for _ in 0..2 {
        append(&hub, &[DEEP]);
        let mut scratch = Scratch::default();
        let mut pass = pin!(hub.shards[0].pass(&hub, &mut scratch));
        assert!(!poll(pass.as_mut()), "a long search is work");
        assert!(poll(pass.as_mut()));
        assert!(!is_listed(&hub));
        assert_eq!(members.each_mut().map(|member| member.subscriber.is_live()), [true, false, false, false]);
        members[0].read();
        for member in &mut members[1..] {
            member.catch_up();
            assert!(member.subscriber.join());
        }
    }
    assert_eq!(members.map(|member| member.got), [&[1, 2][..], &[1, 2], &[1, 2], &[]]);
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<&'static str>),
    /// The shard serves its next connection.
    Serve,
    /// The member's task takes it back.
    Leave(usize),
    /// The member catches up and goes live.
    Join(usize),
    /// The member catches up, then changes its subscriptions.
    Subscribe(usize, Vec<&'static str>),
    /// Another member replaces it.
    Replace(usize, Vec<&'static str>),
}

const MEMBERS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let topics = || vec(proptest::sample::select(&["a", "a", "a", "b", DEEP][..]), 1..3);
    let names = ["a", "a", "a", "a", "b", "*", "d.**", DEEP];
    let names = move || vec(proptest::sample::select(names.to_vec()), 1..3);
    let member = || 0..MEMBERS;
    prop_oneof![
        4 => topics().prop_map(Step::Append),
        8 => Just(Step::Serve),
        2 => member().prop_map(Step::Leave),
        6 => member().prop_map(Step::Join),
        1 => (member(), names()).prop_map(|(member, topics)| Step::Subscribe(member, topics)),
        1 => (member(), names()).prop_map(|(member, topics)| Step::Replace(member, topics)),
    ]
}

fn matches(patterns: &[&str], topic: &str) -> bool {
    let topic = TopicName::parse(topic).expect("a topic");
    patterns.iter().any(|pattern| Pattern::parse(pattern).expect("a pattern").matches(&topic))
}

/// Bytes that a socket takes: more than enough, or between less than one message and two and a half.
fn room() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1 << 16), 3..=20_usize]
}

proptest! {
    #[test]
    fn everybody_gets_each_message_once_in_order_whoever_comes_and_goes(
        steps in vec(step(), 1..120),
        stride in any::<bool>(),
        rooms in [room(), room(), room(), room()],
        is_crowded in any::<bool>(),
    ) {
        let hub = hub(1 + usize::from(stride));
        let _crowd = is_crowded.then(|| crowd(&hub));
        let mut run = pin!(hub.shards[0].run(&hub));
        let new = |n: usize, topics: &[&'static str]| (Member::with_room(&hub, topics, rooms[n]), topics.to_vec(), Vec::new());
        let mut members: Vec<_> = (0..MEMBERS).map(|n| new(n, &["a"])).collect();
        for step in steps {
            match step {
                Step::Append(topics) => {
                    let next = hub.head().seq + 1;
                    for (_, wants, expected) in &mut members {
                        expected.extend((next..).zip(&topics).filter(|(_, topic)| matches(wants, topic)).map(|(seq, _)| seq));
                    }
                    append(&hub, &topics);
                }
                Step::Serve => _ = poll(run.as_mut()),
                Step::Leave(n) => _ = members[n].0.subscriber.take_back(),
                Step::Join(n) => {
                    members[n].0.catch_up();
                    assert!(members[n].0.subscriber.join());
                }
                Step::Subscribe(n, topics) => {
                    let (member, wants, _) = &mut members[n];
                    member.catch_up();
                    let all: Vec<_> = member.subscriber.subscriptions().cloned().collect();
                    member.subscriber.unsubscribe(&all);
                    member.subscribe(&topics);
                    *wants = topics;
                }
                Step::Replace(n, topics) => members[n] = new(n, &topics),
            }
        }
        for (mut member, _, expected) in members {
            member.catch_up();
            prop_assert_eq!(member.got, expected);
        }
    }
}

/// Each was compared with every other, three times: 8,000 in one command took seconds.
#[test]
fn what_a_command_costs_grows_as_the_list_that_it_names() {
    let hub = hub(1);
    let took = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
        let list = || names.iter().map(|name| Pattern::parse(name).expect("a name"));
        let once = || {
            let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
            let began = Stopwatch::start();
            subscriber.subscribe(list().map(|name| (name, After::Live)).collect());
            subscriber.subscribe(list().map(|name| (name, After::Earliest)).collect());
            subscriber.unsubscribe(&list().collect::<Vec<_>>());
            began.elapsed()
        };
        (0..3).map(|_| once()).min().expect("it was done")
    };
    let (few, many) = (took(300), took(9_000));
    assert!(many < few * 300, "{few:?} for 300, {many:?} for 9,000");
}

/// What a peer reads between the two measurements is missing from the sum only: the rest wrapped, and everybody was
/// dropped.
#[test]
fn who_is_dropped_may_have_held_more_than_is_held_by_now() {
    let hub = hub(1);
    let slow = [(); 2].map(|()| hub.subscriber(NoSocket, &Number, peer()));
    slow.iter().for_each(|slow| slow.connection().set_outside_bytes(100));
    hub.outbound.change(150, 0);
    assert_eq!(hub.shed(10), 1);
}

/// Regression: a pass that takes seconds, because many do not read, had all those on its list that were dropped meanwhile.
#[test]
fn whoever_is_gone_holds_nothing_even_if_a_pass_has_it_on_its_list() {
    let hub = hub(1);
    let (near, _far) = tokio::io::duplex(1);
    let mut slow = hub.subscriber(near, &Number, peer());
    slow.reply(&[b'x'; 1_000]);
    let listed = slow.connection().clone();
    assert!(hub.outbound.held() >= 999 && listed.has_rest());
    drop(slow);
    assert_eq!((hub.outbound.held(), listed.has_rest()), (0, false));
}
