//! Texts that a schema may accept.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value};

/// The longest text that is made for a pattern, and where nothing asks for a longer one.
const LONGEST: u32 = 1_024;
/// For what bounds the length of texts by more.
static LONG: LazyLock<String> = LazyLock::new(|| "a".repeat(64 << 10));

/// Texts of the usual formats.
const FORMATS: [(&str, &str); 18] = [
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
    ("relative-json-pointer", "0"),
    ("iri", "https://example.org/"),
    ("uri-reference", "/a"),
    ("iri-reference", "/a"),
    ("uri-template", "/a"),
];

/// What few patterns expect.
const ODD: &str = "<\n\"&'/\\, é\u{1F600}";

/// Guesses for a schema of strings, with those that its pattern matches: those of its length first.
pub(super) fn strings(schema: &Map<String, Value>, matching: Vec<String>) -> impl Iterator<Item = Cow<'static, str>> {
    let length = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let least = length("minLength").unwrap_or(0);
    let lengths = [least, least.max(1), length("maxLength").unwrap_or(least + 1), LONGEST as usize - 1];
    let plain = lengths.into_iter().flat_map(|n| [n, n.saturating_add(1)]).filter_map(|n| LONG.get(..n));
    let format = schema.get("format").and_then(Value::as_str);
    let meant = FORMATS.iter().filter(|(name, _)| Some(*name) == format).map(|(_, text)| *text);
    let known = plain.chain(FORMATS.iter().map(|(_, text)| *text)).chain(["A", "0", "a-1", ODD]);
    let guesses = meant.map(Cow::from).chain(matching.into_iter().map(Cow::from)).chain(known.map(Cow::from));
    let most = length("maxLength").unwrap_or(usize::MAX);
    let (fitting, others): (Vec<_>, Vec<_>) = guesses.partition(|text| (least..=most).contains(&text.chars().count()));
    fitting.into_iter().chain(others)
}

/// How often a pattern is followed another way.
const WAYS: usize = 8;

/// Texts that a pattern matches: shorter and longer, and by its other ways.
pub(super) fn matching(pattern: &str) -> Vec<String> {
    let Ok(pattern) = regex_syntax::parse(pattern) else { return Vec::new() };
    let text = |way: usize, more: u32| {
        let mut text = String::new();
        write(&pattern, way, more, &mut text).map(|()| text)
    };
    let lengths = [0, 1, 8, 16, 32, 64].map(|more| (0, more));
    let ways = (1..WAYS).flat_map(|way| [(way, 0), (way, 1)]);
    let mut texts: Vec<String> = Vec::new();
    for text in lengths.into_iter().chain(ways).filter_map(|(way, more)| text(way, more)) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// Writes what a pattern matches, with so many more repetitions than it asks for. The way decides between alternatives.
/// `None`: too long, or nothing does.
fn write(pattern: &Hir, way: usize, more: u32, text: &mut String) -> Option<()> {
    if text.len() > LONGEST as usize {
        return None;
    }
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            let holds = |c: &char| class.iter().any(|range| (range.start()..=range.end()).contains(c));
            let usual = ['a', '0', 'A', '-', ' '].into_iter().find(|c| way == 0 && holds(c));
            let ends = || class.ranges().iter().flat_map(|range| [range.start(), range.end()]);
            let shown = ends().filter(char::is_ascii_graphic).cycle().nth(way);
            text.push(usual.or(shown).or_else(|| ends().find(|c| !c.is_control()))?);
        }
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Repetition(repetition) => {
            let times = repetition.min.saturating_add(more).min(repetition.max.unwrap_or(u32::MAX));
            let mut once = String::new();
            write(&repetition.sub, way, more, &mut once)?;
            if once.len().saturating_mul(times as usize) > LONGEST as usize {
                return None;
            }
            text.push_str(&once.repeat(times as usize));
        }
        HirKind::Capture(group) => write(&group.sub, way, more, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, way, more, text))?,
        HirKind::Alternation(branches) => write(branches.get(way % branches.len().max(1))?, way, more, text)?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::matching;

    #[test]
    fn a_text_matches_the_pattern_that_it_was_made_for() {
        for (pattern, shortest, others) in [
            ("^o-[0-9a-f]{8,32}$", "o-aaaaaaaa", ["o-aaaaaaaaaaaaaaaa", "o-00000000"]),
            (r"^(eu|us)-\d+(\.x)?$", "eu-0", ["us-9", "eu-00.x"]),
            ("^[A-Z][^a]*$", "A", ["A0", "A00000000"]),
        ] {
            let texts = matching(pattern);
            assert_eq!(texts[0], shortest);
            assert!(others.iter().all(|text| texts.iter().any(|one| one == text)), "{texts:?}");
        }
        assert_eq!(matching("("), [""; 0]);
        assert_eq!(matching("a{5000}"), [""; 0]);
    }
}
