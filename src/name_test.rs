use super::{NameError, Pattern, TopicName};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}

#[test]
fn names_are_checked() {
    assert!(TopicName::parse("orders.eu-1_x").is_ok());
    assert_eq!(TopicName::parse(""), Err(NameError::Empty));
    assert_eq!(TopicName::parse("a..b"), Err(NameError::Empty));
    assert_eq!(TopicName::parse("a.*"), Err(NameError::BadCharacter('*')));
    assert_eq!(TopicName::parse(&"a".repeat(256)), Err(NameError::TooLong(256)));
    assert_eq!(Pattern::parse("**.a"), Err(NameError::RestNotLast));
    assert_eq!(Pattern::parse("a.{}"), Err(NameError::BadCharacter('{')));
}

#[test]
fn two_patterns_may_have_one_topic_in_common() {
    for (a, b, common) in [
        ("a.b", "a.*", Some("a.b")),
        ("*.b", "a.*", Some("a.b")),
        ("a.b", "**", Some("a.b")),
        ("a", "**", Some("a")),
        ("a.**", "*.b", Some("a.b")),
        ("a.*", "a.{x}", None),
        ("a.b", "a.c", None),
        ("a", "a.**", None),
    ] {
        let topic = common.map(|topic| TopicName::parse(topic).expect(topic));
        assert_eq!(pattern(a).only_common(&pattern(b)), topic, "{a} {b}");
        assert_eq!(pattern(b).only_common(&pattern(a)), topic, "{b} {a}");
    }
}

#[test]
fn patterns_match_contain_and_overlap() {
    // (pattern, topic, matches)
    for (p, t, yes) in [
        ("a", "a", true),
        ("a", "a.b", false),
        ("a.*", "a.b", true),
        ("a.*", "a.b.c", false),
        ("a.*", "a", false),
        ("a.**", "a.b.c", true),
        ("a.**", "a", false),
        ("**", "a", true),
        ("a.{x}", "a.b", true),
    ] {
        assert_eq!(pattern(p).matches(&TopicName::parse(t).expect(t)), yes, "{p} {t}");
    }
    // (outer, inner, contains, overlaps)
    for (a, b, contains, overlaps) in [
        ("a.*", "a.b", true, true),
        ("a.b", "a.*", false, true),
        ("**", "a.*", true, true),
        ("*", "**", false, true),
        ("a.**", "a.*", true, true),
        ("a.*", "a.**", false, true),
        ("a.{x}", "a.*", true, true),
        ("a.*", "b.*", false, false),
        ("a.*.c", "a.b.*", false, true),
        ("a", "a.**", false, false),
    ] {
        assert_eq!(pattern(a).contains(&pattern(b)), contains, "{a} contains {b}");
        assert_eq!(pattern(a).overlaps(&pattern(b)), overlaps, "{a} overlaps {b}");
        assert_eq!(pattern(b).overlaps(&pattern(a)), overlaps, "{b} overlaps {a}");
    }
}
