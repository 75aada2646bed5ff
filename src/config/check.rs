//! What no single key shows: names that meet, secrets that are shared, grants that reach nothing.

use std::collections::HashMap;

use super::decode::Names;
use super::model::{Config, Span};
use super::section::Findings;
use crate::diagnostic::{Diagnostic, TokenFact, TopicFact};
use crate::directory::Directory;
use crate::name::Pattern;
use crate::spelling::nearest;

/// Looks at the whole configuration at once.
pub(super) fn across(config: &Config, names: &Names, findings: &Findings) {
    meetings(&names.topics, findings);
    tokens(config, findings);
    if !names.incomplete {
        grants(names, findings);
    }
}

/// Each name once, and no concrete topic in two families.
fn meetings(topics: &[(Pattern, Span)], findings: &Findings) {
    let mut exact: HashMap<&str, &(Pattern, Span)> = HashMap::new();
    // Families of another length cannot meet.
    let mut families: HashMap<usize, Vec<&(Pattern, Span)>> = HashMap::new();
    for topic in topics {
        let (pattern, span) = topic;
        let name = pattern.as_str();
        let earlier = if pattern.is_exact() {
            let first = *exact.entry(name).or_insert(topic);
            (!std::ptr::eq(first, topic)).then_some(first)
        } else {
            let same_length = families.entry(name.split('.').count()).or_default();
            let met = same_length.iter().find(|(other, _)| other.overlaps(pattern)).copied();
            same_length.push(topic);
            met
        };
        let Some((other, first)) = earlier else { continue };
        let fact = if other == pattern {
            TopicFact::Duplicate { name: name.to_owned() }
        } else {
            let (name, other) = (name.to_owned(), other.to_string());
            TopicFact::Overlap { sample: sample(&name, &other), name, other }
        };
        findings.add(Diagnostic::new(fact, span.clone()).related(first.clone(), "first here"));
    }
}

/// A topic of two families of the same length.
fn sample(a: &str, b: &str) -> String {
    let pick = |(a, b): (&str, &str)| {
        let literal = [a, b].into_iter().find(|segment| !segment.starts_with('{')).map(str::to_owned);
        literal.unwrap_or_else(|| a.trim_matches(['{', '}']).to_owned())
    };
    a.split('.').zip(b.split('.')).map(pick).collect::<Vec<_>>().join(".")
}

/// Each token once, and each secret once.
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

/// Every grant reaches a topic, and every topic is reached by a grant.
fn grants(names: &Names, findings: &Findings) {
    let (topics, grants) = (&names.topics, &names.grants);
    let declared: Directory<()> = topics.iter().map(|(topic, _)| (topic.clone(), ())).collect();
    for (pattern, span) in grants.iter().filter(|(pattern, _)| !meets(pattern, topics, &declared)) {
        let suggestion = nearest(pattern.as_str(), topics.iter().map(|(topic, _)| topic.as_str()));
        findings.report(TokenFact::GrantMatchesNothing { pattern: pattern.to_string(), suggestion }, span);
    }
    let granted: Directory<()> = grants.iter().map(|(pattern, _)| (pattern.clone(), ())).collect();
    for (topic, span) in topics.iter().filter(|(topic, _)| !meets(topic, grants, &granted)) {
        findings.report(TopicFact::Unreachable { name: topic.to_string() }, span);
    }
}

/// Whether a pattern shares a topic with any of these, of which `by_name` is the directory.
fn meets(pattern: &Pattern, others: &[(Pattern, Span)], by_name: &Directory<()>) -> bool {
    match pattern.exact() {
        Some(topic) => by_name.resolve(&topic).is_some(),
        None => others.iter().any(|(other, _)| other.overlaps(pattern)),
    }
}
