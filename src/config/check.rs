//! What no single key shows: names that meet, secrets that are shared, grants that reach nothing.

use std::collections::HashMap;

use super::decode::Granted;
use super::model::{Config, Span, TopicConfig};
use super::section::Findings;
use crate::diagnostic::{Diagnostic, TokenFact, TopicFact, nearest};
use crate::directory::Directory;
use crate::name::Pattern;

/// Looks at the whole configuration at once.
pub(super) fn across(config: &Config, granted: &[Granted], file: usize, findings: &Findings) {
    names(&config.topics, findings);
    tokens(config, findings);
    grants(&config.topics, granted, findings);
    if config.topics.is_empty() {
        findings.add(Diagnostic::new(TopicFact::None, Span { file, bytes: 0..0 }));
    }
}

/// Each name once, and no concrete topic in two families.
fn names(topics: &[TopicConfig], findings: &Findings) {
    let mut exact: HashMap<&str, &TopicConfig> = HashMap::new();
    // Families of another length cannot meet.
    let mut families: HashMap<usize, Vec<&TopicConfig>> = HashMap::new();
    for topic in topics {
        let name = topic.name.as_str();
        let earlier = if topic.name.is_exact() {
            let first = *exact.entry(name).or_insert(topic);
            (!std::ptr::eq(first, topic)).then_some(first)
        } else {
            let same_length = families.entry(name.split('.').count()).or_default();
            let met = same_length.iter().find(|other| other.name.overlaps(&topic.name)).copied();
            same_length.push(topic);
            met
        };
        let Some(earlier) = earlier else { continue };
        let fact = if earlier.name == topic.name {
            TopicFact::Duplicate { name: name.to_owned() }
        } else {
            let (name, other) = (name.to_owned(), earlier.name.as_str().to_owned());
            TopicFact::Overlap { sample: sample(&name, &other), name, other }
        };
        findings.add(Diagnostic::new(fact, topic.span.clone()).related(earlier.span.clone(), "first here"));
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
fn grants(topics: &[TopicConfig], granted: &[Granted], findings: &Findings) {
    let declared: Directory<()> = topics.iter().map(|topic| (topic.name.clone(), ())).collect();
    let reaches = |pattern: &Pattern| match pattern.exact() {
        Some(topic) => declared.resolve(&topic).is_some(),
        None => topics.iter().any(|topic| topic.name.overlaps(pattern)),
    };
    for Granted { pattern, span } in granted {
        if !reaches(pattern) {
            let suggestion = nearest(pattern.as_str(), topics.iter().map(|topic| topic.name.as_str()));
            findings.report(TokenFact::GrantMatchesNothing { pattern: pattern.to_string(), suggestion }, span);
        }
    }
    let by_name: Directory<()> = granted.iter().map(|grant| (grant.pattern.clone(), ())).collect();
    for topic in topics {
        let reached = match topic.name.exact() {
            Some(name) => by_name.resolve(&name).is_some(),
            None => granted.iter().any(|grant| grant.pattern.overlaps(&topic.name)),
        };
        if !reached {
            findings.report(TopicFact::Unreachable { name: topic.name.to_string() }, &topic.span);
        }
    }
}
