//! Checks that need the whole configuration: names that overlap, secrets that are shared, grants that reach nothing.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::model::{Config, Span};
use super::section::Findings;
use crate::diagnostic::{Diagnostic, TokenFact, TopicFact};
use crate::name::Pattern;
use crate::patterns::{Meter, Patterns};
use crate::spelling::nearest;

/// How many grants get a "did you mean": each of these is compared with every topic's name.
const HINTS: usize = 20;

/// All declared and granted names, for the checks across the whole configuration.
#[derive(Default)]
pub(super) struct Names {
    /// Topics and families, even those with other errors.
    pub topics: Vec<(Pattern, Span)>,
    /// Patterns in `publish` and `subscribe`.
    pub grants: Vec<(Pattern, Span)>,
}

/// Runs all these checks. `is_whole` says that nothing was wrong before; otherwise a grant may be for something that
/// could not be read, and is not reported.
pub(super) fn cross_checks(
    config: &Config,
    names: &Names,
    top: &Span,
    is_whole: bool,
    findings: &Findings,
    meter: &mut Meter,
) {
    duplicates_and_overlaps(&names.topics, findings, meter);
    tokens(config, findings);
    if is_whole && names.topics.is_empty() {
        findings.report(TopicFact::None, top);
    }
    if is_whole {
        grants(names, findings, meter);
    }
}

/// Reports names that are declared twice, and concrete topics that would belong to two families.
fn duplicates_and_overlaps(topics: &[(Pattern, Span)], findings: &Findings, meter: &mut Meter) {
    let mut exact: HashMap<&str, usize> = HashMap::new();
    let mut families: Patterns<usize> = Patterns::default();
    for (index, (pattern, span)) in topics.iter().enumerate() {
        let name = pattern.as_str();
        let earlier = if pattern.is_exact() {
            let first = *exact.entry(name).or_insert(index);
            (first != index).then_some(first)
        } else {
            let met = first_that_meets(&families, pattern, meter);
            if families.get(pattern).is_none() {
                families.insert(pattern.clone(), index);
            }
            met
        };
        let Some((other, first)) = earlier.map(|earlier| &topics[earlier]) else { continue };
        let fact = if other == pattern {
            TopicFact::Duplicate { name: name.to_owned() }
        } else {
            let (name, other) = (name.to_owned(), other.to_string());
            TopicFact::Overlap { sample: sample(&name, &other), name, other }
        };
        findings.add(Diagnostic::new(fact, span.clone()).related(first.clone(), "first here"));
    }
}

fn first_that_meets(families: &Patterns<usize>, pattern: &Pattern, meter: &mut Meter) -> Option<usize> {
    let mut first: Option<usize> = None;
    _ = families.overlapping(&pattern.canonical(), meter, |index| {
        first = Some(first.map_or(*index, |first| first.min(*index)));
        ControlFlow::Continue(())
    });
    first
}

/// A topic that belongs to both of two families of the same length.
fn sample(a: &str, b: &str) -> String {
    let pick = |(a, b): (&str, &str)| {
        let literal = [a, b].into_iter().find(|segment| !segment.starts_with('{')).map(str::to_owned);
        literal.unwrap_or_else(|| a.trim_matches(['{', '}']).to_owned())
    };
    a.split('.').zip(b.split('.')).map(pick).collect::<Vec<_>>().join(".")
}

/// Reports tokens and secrets that appear twice.
fn tokens(config: &Config, findings: &Findings) {
    let (mut by_name, mut by_digest) = (HashMap::new(), HashMap::new());
    for token in &config.tokens {
        let name = token.name.to_string();
        let first = *by_name.entry(&token.name).or_insert(token);
        let owner = *by_digest.entry(token.digest).or_insert(token);
        if !std::ptr::eq(first, token) {
            let fact = TokenFact::Duplicate { name };
            findings.add(Diagnostic::new(fact, token.span.clone()).related(first.span.clone(), "first here"));
        } else if !std::ptr::eq(owner, token) {
            let fact = TokenFact::SameSecret { name, other: owner.name.to_string() };
            findings.add(Diagnostic::new(fact, token.span.clone()).related(owner.span.clone(), "the other token"));
        }
    }
}

/// Reports grants that reach no topic, and topics that no grant reaches.
fn grants(names: &Names, findings: &Findings, meter: &mut Meter) {
    let (topics, grants) = (&names.topics, &names.grants);
    // As grants write them: with `*` for a segment that varies.
    let written: Vec<_> = topics.iter().map(|(topic, _)| topic.canonical()).collect();
    for (n, (pattern, span)) in unmet(grants, topics, meter).into_iter().enumerate() {
        let meant = || nearest(pattern.as_str(), written.iter().map(|topic| &**topic));
        let suggestion = if n < HINTS { meant() } else { None };
        findings.report(TokenFact::GrantMatchesNothing { pattern: pattern.to_string(), suggestion }, span);
    }
    for (topic, span) in unmet(topics, grants, meter) {
        findings.report(TopicFact::Unreachable { name: topic.to_string() }, span);
    }
}

/// Those that share no topic with any of the others.
fn unmet<'a>(these: &'a [(Pattern, Span)], others: &[(Pattern, Span)], meter: &mut Meter) -> Vec<&'a (Pattern, Span)> {
    let mut tree: Patterns<()> = Patterns::default();
    others.iter().for_each(|(other, _)| tree.insert(other.clone(), ()));
    let mut meets = |pattern: &Pattern| {
        let found = |(): &()| ControlFlow::Break(());
        tree.overlapping(&pattern.canonical(), meter, found).is_break()
    };
    these.iter().filter(|(pattern, _)| !meets(pattern)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Names, cross_checks};
    use crate::config::model::{Config, Span};
    use crate::config::section::Findings;
    use crate::name::Pattern;
    use crate::patterns::Meter;

    /// Regression: names were compared pair by pair, and each grant got a hint. 3,000 renamed topics took a minute, in
    /// which no other reload could run.
    #[test]
    fn names_that_nothing_meets_cost_no_look_at_each_other() {
        const NAMES: usize = 4_000;
        let named = |name: &dyn Fn(usize) -> String| -> Vec<_> {
            let pattern = |n| Pattern::parse(&name(n)).expect("a pattern");
            (0..NAMES).map(|n| (pattern(n), Span { file: 0, bytes: n..n })).collect()
        };
        let names =
            Names { topics: named(&|n| format!("t-{n}-new.{{x}}")), grants: named(&|n| format!("t-{n}-old.*")) };
        let (findings, mut meter) = (Findings::default(), Meter(usize::MAX));
        cross_checks(&Config::default(), &names, &Span { file: 0, bytes: 0..0 }, true, &findings, &mut meter);
        assert_eq!(findings.into_inner().len(), 2 * NAMES);
        let looks = usize::MAX - meter.0;
        assert!(looks < 10 * NAMES, "{looks} looks at {NAMES} names");
    }
}
