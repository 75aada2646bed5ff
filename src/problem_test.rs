use std::time::Duration;

use super::batch::TOLD_IN_FULL;
use super::{Rate, Refusal, SLUGS, Violation};
use crate::name::Pattern;
use crate::principal::Action;

const RETRY: Duration = Duration::from_millis(1);

/// One of each; the match in [`each_problem_has_a_row`] does not compile if a new one is forgotten.
fn one_of_each() -> Vec<Refusal> {
    vec![
        Refusal::MalformedJson { line: 1, column: 2, detail: "x".into() },
        Refusal::DuplicateKey { pointer: "/a".into() },
        Refusal::BadRequest("x".into()),
        Refusal::BrokenBody,
        Refusal::Unauthenticated { wrong: true },
        Refusal::TokenExpired,
        Refusal::UnknownRegistration,
        Refusal::Forbidden { action: Action::Publish, topics: Pattern::everything() },
        Refusal::ForbiddenUser { user: "u".into() },
        Refusal::OriginDenied { origin: "o".into(), listed: true },
        Refusal::UnknownTopic { topic: "t".into(), near: None },
        Refusal::UnknownTopic { topic: "t".into(), near: Some("s".into()) },
        Refusal::NotFound,
        Refusal::OtherListener { path: "/p".into(), admin: true },
        Refusal::NoRegistration,
        Refusal::Anonymous { topics: Pattern::everything(), open: true },
        Refusal::NotBearer,
        Refusal::MethodNotAllowed { allow: "GET" },
        Refusal::Timeout { limit: "body_timeout" },
        Refusal::UpgradeRequired,
        Refusal::IdempotencyInFlight,
        Refusal::IdempotencyKeyReused,
        Refusal::TooLarge { what: "the body", limit: "body", bytes: 1 },
        Refusal::TooMany { what: "the list", limit: "batch", most: 1 },
        Refusal::TooManyUnsynced { most: 16 },
        Refusal::UriTooLong { bytes: 1 },
        Refusal::UnsupportedMediaType { found: None, expected: &["application/json"] },
        Refusal::UnsupportedCoding { found: "gzip".into() },
        Refusal::UnknownHost { host: "h".into(), listed: true },
        Refusal::ValidationFailed { topic: "t".into(), violations: vec![], more: false },
        Refusal::Batch(vec![(0, Refusal::TokenExpired)]),
        Refusal::RateLimited(Rate::Publishes),
        Refusal::Overloaded { what: "x", retry_after: RETRY },
        Refusal::Draining,
        Refusal::Internal { id: "i".into() },
    ]
}

#[test]
fn each_problem_has_a_row() {
    let mut slugs: Vec<&str> = one_of_each().iter().map(Refusal::slug).collect();
    for refusal in one_of_each() {
        match refusal {
            Refusal::RateLimited(_) | Refusal::Overloaded { .. } | Refusal::Draining => {
                assert_eq!(refusal.retry_after(), Some(1), "{refusal:?} says when, and never at once");
            }
            Refusal::IdempotencyInFlight => assert_eq!(refusal.retry_after(), Some(1)),
            Refusal::MalformedJson { .. }
            | Refusal::DuplicateKey { .. }
            | Refusal::BadRequest(_)
            | Refusal::BrokenBody
            | Refusal::Unauthenticated { .. }
            | Refusal::TokenExpired
            | Refusal::UnknownRegistration
            | Refusal::Forbidden { .. }
            | Refusal::ForbiddenUser { .. }
            | Refusal::OriginDenied { .. }
            | Refusal::UnknownTopic { .. }
            | Refusal::NotFound
            | Refusal::OtherListener { .. }
            | Refusal::NoRegistration
            | Refusal::Anonymous { .. }
            | Refusal::NotBearer
            | Refusal::MethodNotAllowed { .. }
            | Refusal::Timeout { .. }
            | Refusal::UpgradeRequired
            | Refusal::IdempotencyKeyReused
            | Refusal::TooLarge { .. }
            | Refusal::TooMany { .. }
            | Refusal::TooManyUnsynced { .. }
            | Refusal::UriTooLong { .. }
            | Refusal::UnsupportedMediaType { .. }
            | Refusal::UnsupportedCoding { .. }
            | Refusal::UnknownHost { .. }
            | Refusal::ValidationFailed { .. }
            | Refusal::Batch(_)
            | Refusal::Internal { .. } => assert_eq!(refusal.retry_after(), None, "{refusal:?}"),
        }
        let json = refusal.to_json();
        assert_eq!(json["type"], format!("urn:relay:problem:{}", refusal.slug()));
        assert!((400..600).contains(&refusal.status()), "{refusal:?}");
    }
    slugs.sort_unstable();
    slugs.dedup();
    let mut expected = SLUGS.to_vec();
    expected.sort_unstable();
    assert_eq!(slugs, expected);
}

/// A subscribe is refused as a whole: unless the refusal names the topic, the sender cannot ask again for the others.
#[test]
fn a_refusal_that_is_for_one_topic_names_it() {
    let topics = Pattern::everything();
    for refusal in [
        Refusal::Anonymous { topics: topics.clone(), open: false },
        Refusal::Forbidden { action: Action::Subscribe, topics },
        Refusal::UnknownTopic { topic: "**".into(), near: None },
        Refusal::UnknownTopic { topic: "**".into(), near: Some("*".into()) },
    ] {
        assert_eq!(refusal.to_json()["topic"], "**", "{refusal:?}");
        assert!(refusal.to_string().contains("`**`"), "{refusal}");
    }
}

#[test]
fn how_many_violations_there_are_is_said() {
    let violation =
        Violation { pointer: "/a".into(), keyword: "type".into(), schema_pointer: "/type".into(), detail: "x".into() };
    for (count, more, said) in [
        (1, false, "1 violation of the schema of `t`"),
        (1, true, "at least 1 violation of the schema of `t`"),
        (2, false, "2 violations of the schema of `t`"),
        (2, true, "at least 2 violations of the schema of `t`"),
    ] {
        let violations = vec![violation.clone(); count];
        assert_eq!(Refusal::ValidationFailed { topic: "t".into(), violations, more }.to_string(), said);
    }
}

/// A refused list used to get a 429 or 503 that did not say when to come back.
#[test]
fn a_batch_says_when_to_try_again_as_its_first_item_does() {
    let full = Refusal::Overloaded { what: "x", retry_after: Duration::from_secs(60) };
    let batch = Refusal::Batch(vec![(0, full), (1, Refusal::TokenExpired)]);
    assert_eq!((batch.status(), batch.retry_after()), (503, Some(60)));
    assert_eq!(batch.to_json()["retry_after"], 60);
}

/// A batch of a thousand items of 40 bytes, each with 16 violations, used to be answered with 2 MB.
#[test]
fn the_errors_of_a_batch_are_in_proportion() {
    let violation =
        Violation { pointer: "/a".into(), keyword: "type".into(), schema_pointer: "/type".into(), detail: "x".into() };
    let refused = Refusal::ValidationFailed { topic: "t".into(), violations: vec![violation; 16], more: true };
    let batch = Refusal::Batch((0..1_000).map(|index| (index, refused.clone())).collect());
    let json = batch.to_json();
    let errors = json["errors"].as_array().expect("a list");
    let of = |index: usize| errors.iter().filter(|error| error["index"] == index).count();
    assert_eq!([of(0), of(15), of(16), of(999)], [16, 16, 1, 1]);
    assert_eq!(errors.len(), TOLD_IN_FULL + 1_000 - TOLD_IN_FULL / 16);
}

/// Rounded down, it would be tried too early and refused once more.
#[test]
fn when_to_try_again_is_in_whole_seconds_rounded_up() {
    for (millis, seconds) in [(1, 1), (1_000, 1), (1_001, 2), (9_500, 10)] {
        let refusal = Refusal::Overloaded { what: "x", retry_after: Duration::from_millis(millis) };
        assert_eq!(refusal.retry_after(), Some(seconds), "{millis}");
    }
}
