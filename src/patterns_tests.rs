use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::{Meter, Patterns};
use crate::name::{Pattern, TopicName};

/// Few segments, so that names have many prefixes in common.
fn name(segments: &'static [&'static str], rest: bool) -> impl Strategy<Value = String> {
    let segment = proptest::sample::select(segments);
    (vec(segment, 1..6), any::<bool>()).prop_map(move |(mut segments, last)| {
        if rest && last {
            segments.push("**");
        }
        segments.join(".")
    })
}

fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
    let one = name(&["a", "b", "ab", "*", "{x}", "{y}"], true);
    vec(one.prop_map(|text| Pattern::parse(&text).expect("a pattern")), 0..40)
}

fn topics() -> impl Strategy<Value = Vec<TopicName>> {
    vec(name(&["a", "b", "ab"], false).prop_map(|text| TopicName::parse(&text).expect("a topic")), 1..20)
}

fn tree(patterns: &[Pattern]) -> Patterns<usize> {
    let mut tree = Patterns::default();
    patterns.iter().enumerate().for_each(|(n, pattern)| tree.insert(pattern.clone(), n));
    tree
}

fn containing(tree: &Patterns<usize>, name: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let any = tree.any_containing(name, |n| {
        found.push(*n);
        false
    });
    assert!(!any);
    found.sort_unstable();
    found
}

fn overlapping(tree: &Patterns<usize>, name: &Pattern) -> Vec<usize> {
    let mut found = Vec::new();
    let any = tree.any_overlapping(&name.canonical(), |n| {
        found.push(*n);
        false
    });
    assert!(!any);
    found.sort_unstable();
    found
}

/// The last of equal patterns counts, as in a map.
fn expected(patterns: &[Pattern], is_found: impl Fn(&Pattern) -> bool) -> Vec<usize> {
    let map: HashMap<&Pattern, usize> = patterns.iter().enumerate().map(|(n, pattern)| (pattern, n)).collect();
    map.into_iter()
        .filter(|(pattern, _)| is_found(pattern))
        .map(|(_, n)| n)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Checks that every node but the root ends a pattern or branches, and that none is lost.
fn assert_tight(tree: &Patterns<usize>) {
    if tree.is_empty() {
        return assert_eq!((tree.nodes.len(), tree.free.len()), (0, 0));
    }
    let (mut seen, mut open) = (0, vec![super::ROOT]);
    while let Some(id) = open.pop() {
        let node = &tree.nodes[id as usize];
        let below: Vec<_> = node.below.iter().flat_map(|below| below.all()).collect();
        assert!(id == super::ROOT || node.here.is_some() || below.len() > 1, "a node for nothing");
        assert!(node.below.is_none() || !below.is_empty());
        seen += 1;
        open.extend(below);
    }
    assert_eq!(seen, tree.nodes.len() - tree.free.len());
    assert!(seen <= 2 * tree.iter().count() + 1);
}

proptest! {
    #[test]
    fn it_finds_what_a_look_at_each_finds(patterns in patterns(), topics in topics(), names in patterns()) {
        let tree = tree(&patterns);
        assert_tight(&tree);
        for topic in &topics {
            prop_assert_eq!(containing(&tree, topic.as_str()), expected(&patterns, |p| p.matches(topic)));
        }
        for name in names.iter().chain(&topics.iter().map(Pattern::from).collect::<Vec<_>>()) {
            prop_assert_eq!(containing(&tree, &name.canonical()), expected(&patterns, |p| p.contains(name)));
            prop_assert_eq!(overlapping(&tree, name), expected(&patterns, |p| p.overlaps(name)));
        }
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind(patterns in patterns(), keep in vec(any::<bool>(), 40), topics in topics()) {
        let mut tree = tree(&patterns);
        let mut map: HashMap<Pattern, usize> = patterns.iter().cloned().zip(0..).collect();
        for (pattern, keep) in patterns.iter().zip(&keep) {
            prop_assert_eq!(tree.get(pattern), map.get(pattern));
            if !keep {
                prop_assert_eq!(tree.remove(pattern), map.remove(pattern));
                prop_assert!(tree.get(pattern).is_none());
                assert_tight(&tree);
            }
        }
        for topic in &topics {
            let mut left: Vec<_> = map.iter().filter(|(p, _)| p.matches(topic)).map(|(_, n)| *n).collect();
            left.sort_unstable();
            prop_assert_eq!(containing(&tree, topic.as_str()), left);
        }
        for (pattern, n) in map {
            prop_assert_eq!(tree.remove(&pattern), Some(n));
            assert_tight(&tree);
        }
        prop_assert!(tree.is_empty());
    }
}

/// Patterns of a family used to be examined one by one for every publish, inside the log's critical section: a few
/// hundred idle connections with patterns of their own stalled everybody.
#[test]
fn how_many_there_are_does_not_matter_to_a_topic_of_few_segments() {
    let many: Vec<_> = (0..20_000).map(|n| Pattern::parse(&format!("orders.*.p{n}")).expect("a pattern")).collect();
    let tree = tree(&many);
    let came_past = |name: &str| {
        let mut meter = Meter(usize::MAX);
        _ = tree.overlapping(name, &mut meter, |_| ControlFlow::Continue(()));
        usize::MAX - meter.0
    };
    assert_eq!((came_past("orders.eu.p7"), came_past("orders.eu.none"), came_past("other")), (2, 1, 0));
    let mut meter = Meter(100);
    assert!(tree.overlapping("orders.**", &mut meter, |_| ControlFlow::Continue(())).is_break());
    assert_eq!(meter.0, 0, "it stops where the meter has run out");
}

#[test]
fn a_long_pattern_takes_one_node() {
    let long = Pattern::parse(&["*"; 128].join(".")).expect("a pattern");
    assert_eq!(tree(&[long]).nodes.len(), 2);
}

/// Subscribers come and go for as long as the server runs.
#[test]
fn what_comes_and_goes_takes_no_more_room() {
    let pattern = |n: usize| Pattern::parse(&format!("t{n}.*")).expect("a pattern");
    let mut tree = tree(&[Pattern::parse("kept.*").expect("a pattern")]);
    for n in 0..1_000 {
        tree.insert(pattern(n), n);
        tree.remove(&pattern(n));
    }
    assert!(tree.nodes.len() < 10, "{} nodes", tree.nodes.len());
    (0..5_000).for_each(|n| tree.insert(pattern(n), n));
    (0..5_000).for_each(|n| _ = tree.remove(&pattern(n)));
    let room = tree.nodes[super::ROOT as usize].below.as_ref().map_or(0, |below| below.literals.capacity());
    assert!(room < 100, "room for {room}");
}

#[test]
fn a_topic_of_six_segments_visits_few_whatever_there_is() {
    let mut many: Vec<String> = vec![String::new()];
    let mut all = Vec::new();
    for _ in 0..6 {
        all.extend(many.iter().map(|above| format!("{above}**")));
        many = many.iter().flat_map(|above| ["a", "b", "*"].map(|segment| format!("{above}{segment}."))).collect();
        all.extend(many.iter().flat_map(|above| [above.trim_end_matches('.').to_owned(), format!("{above}z.z")]));
    }
    let all: Vec<_> = all.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect();
    let (tree, mut meter) = (tree(&all), Meter(256));
    assert!(tree.containing_metered("a.b.a.b.a.b", &mut meter, |_| ControlFlow::Continue(())).is_continue());
    let mut found = 0;
    let looked = tree.containing_metered("a.b.a.b.a.b.a.b", &mut Meter(10), |_| {
        found += 1;
        ControlFlow::Continue(())
    });
    assert!(looked.is_break() && found <= 10);
}
