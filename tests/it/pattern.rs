//! Compares text that a document shows with text that was received: ids, times and the like differ from run to run.

/// The text with each UUID, epoch and time replaced by a placeholder.
pub fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let free = !out.ends_with(|c: char| c.is_ascii_alphanumeric());
        let kinds = [("UUID", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"), ("EPOCH-9", "xxxxxxxx-9"), ("TIME", TIME)];
        let found = kinds.iter().find(|(_, shape)| free && has_shape(rest, shape));
        match found {
            // The seq is kept.
            Some(("EPOCH-9", _)) => {
                out.push_str("EPOCH-");
                rest = &rest["xxxxxxxx-".len()..];
            }
            Some((name, shape)) => {
                out.push_str(name);
                rest = &rest[shape.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

const TIME: &str = "9999-99-99T99:99:99.999Z";

/// Whether a text begins with this shape: `9` stands for a digit, `x` for a lower-case hex digit, anything else for
/// itself.
fn has_shape(text: &str, shape: &str) -> bool {
    let mut bytes = text.bytes();
    shape.bytes().all(|shape| {
        bytes.next().is_some_and(|byte| match shape {
            b'9' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase(),
            other => byte == other,
        })
    })
}

/// Whether the text matches the pattern, in which `…` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (normal(pattern), normal(text));
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn a_pattern_is_as_strict_as_it_looks() {
    let message = r#"{"id":"c56865be-12","time":"2026-11-24T05:30:39.345Z"}"#;
    for (pattern, expected) in [
        (r#"{"id":"9f3c21aa-12","time":"2026-11-24T10:00:00.000Z"}"#, true),
        (r#"{"id":"9f3c21aa-1","time":"2026-11-24T10:00:00.000Z"}"#, false),
        (r#"{"id":"9f3c21aa-12",…}"#, true),
        (r#"{"id":…"time":"…"}"#, true),
        (r#"{"id":…"data":…}"#, false),
        ("", false),
        ("…", true),
        ("{…", true),
        ("…{", false),
    ] {
        assert_eq!(matches(pattern, message), expected, "{pattern}");
    }
    assert!(matches("a 693b2b14-05b8-4e01-b2ce-64fbb56bb130", "a 97a124c6-e0af-4977-b4bc-220dfca40483"));
}
