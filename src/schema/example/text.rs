//! Texts that a schema may accept.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value};

/// The longest text that is made.
const LONGEST: u32 = 1_024;

/// Texts of the usual formats.
const FORMATS: [(&str, &str); 13] = [
    ("date-time", "2026-01-01T00:00:00Z"),
    ("date", "2026-01-01"),
    ("time", "00:00:00Z"),
    ("duration", "P1D"),
    ("email", "a@example.org"),
    ("idn-email", "a@example.org"),
    ("hostname", "example.org"),
    ("idn-hostname", "example.org"),
    ("ipv4", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("uri", "https://example.org/"),
    ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
    ("json-pointer", "/a"),
];

/// Guesses for a schema of strings.
pub(super) fn strings(schema: &Map<String, Value>) -> Vec<String> {
    let text = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
    let length = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let mut guesses = Vec::new();
    if let Some(format) = text("format") {
        guesses.extend(FORMATS.iter().filter(|(name, _)| *name == format).map(|(_, text)| (*text).to_owned()));
    }
    if let Some(pattern) = text("pattern") {
        guesses.extend(matching(pattern));
    }
    let least = length("minLength").unwrap_or(0).min(LONGEST as usize);
    let most = length("maxLength").unwrap_or(least + 1).min(LONGEST as usize);
    guesses.extend([least, least.max(1), most, most + 1].map(|n| "a".repeat(n)));
    guesses.extend(FORMATS.iter().map(|(_, text)| (*text).to_owned()));
    guesses.extend(["A", "0", "a-1"].map(str::to_owned));
    guesses
}

/// Texts that a pattern matches, shorter and longer.
pub(super) fn matching(pattern: &str) -> Vec<String> {
    let Ok(pattern) = regex_syntax::parse(pattern) else { return Vec::new() };
    let text = |more: u32| {
        let mut text = String::new();
        write(&pattern, more, &mut text).map(|()| text)
    };
    let mut texts: Vec<String> = [0, 1, 8].into_iter().filter_map(text).collect();
    texts.dedup();
    texts
}

/// Writes what a pattern matches, with so many more repetitions than it asks for. `None`: too long, or nothing does.
fn write(pattern: &Hir, more: u32, text: &mut String) -> Option<()> {
    if text.len() > LONGEST as usize {
        return None;
    }
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            let holds = |c: &char| class.iter().any(|range| (range.start()..=range.end()).contains(c));
            let usual = ['a', '0', 'A', '-', ' '].into_iter().find(holds);
            text.push(usual.or_else(|| class.iter().map(|range| range.start()).find(|c| !c.is_control()))?);
        }
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Repetition(repetition) => {
            let times = repetition.min.saturating_add(more).min(repetition.max.unwrap_or(u32::MAX));
            if times > LONGEST {
                return None;
            }
            for _ in 0..times {
                write(&repetition.sub, more, text)?;
            }
        }
        HirKind::Capture(group) => write(&group.sub, more, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, more, text))?,
        HirKind::Alternation(branches) => write(branches.first()?, more, text)?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::matching;

    #[test]
    fn a_text_matches_the_pattern_that_it_was_made_for() {
        assert_eq!(matching("^o-[0-9a-f]{8,32}$"), ["o-aaaaaaaa", "o-aaaaaaaaa", "o-aaaaaaaaaaaaaaaa"]);
        assert_eq!(matching(r"^(eu|us)-\d+(\.x)?$"), ["eu-0", "eu-00.x", "eu-000000000.x"]);
        assert_eq!(matching("^[A-Z][^a]*$"), ["A", "A0", "A00000000"]);
        assert_eq!(matching("("), [""; 0]);
        assert_eq!(matching("a{5000}"), [""; 0]);
    }
}
