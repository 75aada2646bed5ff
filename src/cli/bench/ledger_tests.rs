use std::collections::{BTreeSet, HashSet};

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, proptest};
use proptest::sample::subsequence;

use super::{Accepted, Account, Delivery, Ledger, Member};
use crate::cli::bench::figures::Figures;
use crate::message::Seq;

fn ledger(members: usize) -> (Ledger, Vec<Member>) {
    let mut ledger = Ledger::new(Figures::new(0));
    let members = (0..members).map(|_| ledger.join(0)).collect();
    (ledger, members)
}

fn told(ledger: &mut Ledger, seq: Seq) {
    ledger.told(Accepted { topic: 0, seq, begun: seq * 100, floor: seq });
}

fn arrived(ledger: &mut Ledger, member: Member, seq: Seq) {
    ledger.arrived(member, Delivery { seq, at: seq * 100 + 7, bytes: 10 });
}

fn settled(ledger: &mut Ledger) -> Vec<Seq> {
    ledger.take_settled().map(|(seq, _)| seq).collect()
}

#[test]
fn a_message_is_settled_when_everybody_has_it_whichever_side_is_heard_first() {
    let (mut ledger, members) = ledger(2);
    arrived(&mut ledger, members[0], 5);
    told(&mut ledger, 5);
    assert!(settled(&mut ledger).is_empty());
    arrived(&mut ledger, members[1], 5);
    assert_eq!(settled(&mut ledger), [5]);
    arrived(&mut ledger, members[0], 6);
    arrived(&mut ledger, members[1], 6);
    assert!(settled(&mut ledger).is_empty());
    told(&mut ledger, 6);
    assert_eq!(settled(&mut ledger), [6]);
    let (account, figures) = ledger.close();
    assert_eq!(account, Account { received: 4, ..Account::default() });
    assert_eq!((figures.deliveries, figures.bytes, figures.last), (4, 40, 607));
    assert_eq!(figures.latencies.longest().as_nanos() / 1_000, 0);
}

#[test]
fn what_a_subscriber_has_passed_is_not_waited_for_and_is_lost() {
    let (mut ledger, members) = ledger(3);
    for seq in [1, 2, 3] {
        told(&mut ledger, seq);
    }
    arrived(&mut ledger, members[0], 1);
    arrived(&mut ledger, members[0], 2);
    arrived(&mut ledger, members[0], 3);
    arrived(&mut ledger, members[1], 3);
    assert!(settled(&mut ledger).is_empty());
    // The third is told of a gap, and then gets the last.
    ledger.pass(members[2], 3);
    assert_eq!(settled(&mut ledger), [1, 2]);
    arrived(&mut ledger, members[2], 3);
    assert_eq!(settled(&mut ledger), [3]);
    assert_eq!(ledger.close().0, Account { received: 5, lost: 4, ..Account::default() });
}

#[test]
fn a_connection_that_has_ended_is_not_waited_for() {
    let (mut ledger, members) = ledger(2);
    told(&mut ledger, 1);
    arrived(&mut ledger, members[0], 1);
    ledger.closed(members[1]);
    assert_eq!(settled(&mut ledger), [1]);
    arrived(&mut ledger, members[0], 2);
    told(&mut ledger, 2);
    assert_eq!(settled(&mut ledger), [2]);
    assert_eq!(ledger.close().0, Account { received: 2, lost: 2, ..Account::default() });
}

#[test]
fn what_others_publish_is_neither_lost_nor_received() {
    let (mut ledger, members) = ledger(2);
    arrived(&mut ledger, members[0], 1);
    arrived(&mut ledger, members[0], 2);
    told(&mut ledger, 2);
    // By now the first is known to be somebody else's.
    arrived(&mut ledger, members[1], 1);
    arrived(&mut ledger, members[1], 2);
    arrived(&mut ledger, members[1], 3);
    assert_eq!(settled(&mut ledger), [2]);
    assert_eq!(ledger.close().0, Account { received: 2, foreign: 3, ..Account::default() });
}

#[test]
fn a_duplicate_is_told_from_what_is_out_of_order() {
    let (mut ledger, members) = ledger(1);
    for seq in 1..=3 {
        told(&mut ledger, seq);
    }
    for seq in [1, 3, 2, 3, 2] {
        arrived(&mut ledger, members[0], seq);
    }
    let expected = Account { received: 3, duplicated: 2, out_of_order: 1, ..Account::default() };
    assert_eq!(ledger.close().0, expected);
}

/// For each subscriber, what it gets, and which of that twice.
type Gets = Vec<(Vec<Seq>, Vec<bool>)>;

/// For some subscribers, what each gets of messages 1 to `last`, and what comes twice.
fn deliveries() -> impl Strategy<Value = (Seq, Gets)> {
    (1..20_u64).prop_flat_map(|last| {
        let all: Vec<Seq> = (1..=last).collect();
        let count = all.len();
        let member = (subsequence(all, 0..=count), proptest::collection::vec(any::<bool>(), count));
        (Just(last), proptest::collection::vec(member, 1..4))
    })
}

proptest! {
    /// However the two sides are interleaved, the accounts equal a plain count, and every message is settled exactly
    /// once by the time that all subscribers have the last one or are gone.
    #[test]
    fn the_accounts_are_those_of_a_plain_count(
        (last, members) in deliveries(),
        ours in proptest::collection::vec(any::<bool>(), 20),
        order in proptest::collection::vec(0..4_usize, 200),
    ) {
        let ours = |seq: Seq| ours[usize::try_from(seq).expect("it is small")];
        let (mut ledger, places) = ledger(members.len());
        let twice = |seq: &Seq, again: &[bool]| again[usize::try_from(seq - 1).expect("it is small")];
        let mut queues: Vec<Vec<Seq>> = members
            .iter()
            .map(|(got, again)| got.iter().flat_map(|seq| [*seq].repeat(1 + usize::from(twice(seq, again)))).collect())
            .map(|mut queue: Vec<Seq>| { queue.reverse(); queue })
            .collect();
        let mut tell: Vec<Seq> = (1..=last).rev().filter(|seq| ours(*seq)).collect();
        let mut done = Vec::new();
        // In random order first, then whatever is left.
        for side in order.into_iter().chain((0..4).flat_map(|side| [side; 50])) {
            if side == 3 {
                if let Some(seq) = tell.pop() {
                    told(&mut ledger, seq);
                }
            } else if let Some(seq) = queues.get_mut(side).and_then(Vec::pop) {
                arrived(&mut ledger, places[side], seq);
            }
            done.extend(settled(&mut ledger));
        }
        for place in &places {
            ledger.closed(*place);
        }
        done.extend(settled(&mut ledger));
        let published: BTreeSet<Seq> = (1..=last).filter(|seq| ours(*seq)).collect();
        let unique: HashSet<Seq> = done.iter().copied().collect();
        prop_assert_eq!(done.len(), unique.len());
        prop_assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), published.clone());
        let got = |wanted: bool| members.iter().flat_map(|(got, _)| got).filter(|seq| ours(**seq) == wanted).count() as u64;
        let doubles = members.iter().flat_map(|(got, again)| got.iter().filter(|seq| twice(seq, again))).count() as u64;
        let (account, figures) = ledger.close();
        let expected = Account {
            received: got(true),
            lost: published.len() as u64 * members.len() as u64 - got(true),
            duplicated: doubles,
            out_of_order: 0,
            foreign: got(false),
        };
        prop_assert_eq!(account, expected);
        prop_assert_eq!(figures.deliveries, got(true));
    }
}
