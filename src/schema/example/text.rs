//! Makes texts that a schema may accept.

use std::borrow::Cow;
use std::sync::LazyLock;

use jsonschema::json::SerdeJson;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use crate::schema::judge::options;

/// The longest text made for a pattern, in bytes, or when nothing asks for a longer one.
const LONGEST: u32 = 1_024;
/// The source of plain texts, also for schemas that demand longer ones.
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

/// The largest compiled pattern, in bytes, against which the texts for several patterns are checked.
const REGEX_SIZE: usize = 1 << 20;

/// The most patterns considered for one text.
const PATTERNS: usize = 8;

/// Characters that few patterns expect.
const ODD: &str = "<\n\"&'/\\, é\u{1F600}";

/// Guesses for a schema of strings, including those made for its patterns. Texts of the right length come first.
pub(super) fn strings(schema: &Map<String, Value>, made: Vec<String>) -> impl Iterator<Item = Cow<'static, str>> {
    let length = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let least = length("minLength").unwrap_or(0);
    let lengths = [least, least.max(1), length("maxLength").unwrap_or(least + 1), LONGEST as usize - 1];
    let plain = lengths.into_iter().flat_map(|n| [n, n.saturating_add(1)]).filter_map(|n| LONG.get(..n));
    let known = plain.chain(FORMATS.iter().map(|(_, text)| *text)).chain(["A", "0", "a-1", ODD]);
    // If there are patterns, the texts made for them have the format too.
    let meant = of_format(schema).filter(|_| made.is_empty());
    let guesses = meant.map(Cow::from).into_iter().chain(made.into_iter().map(Cow::from)).chain(known.map(Cow::from));
    let most = length("maxLength").unwrap_or(usize::MAX);
    let (fitting, others): (Vec<_>, Vec<_>) = guesses.partition(|text| (least..=most).contains(&text.chars().count()));
    fitting.into_iter().chain(others)
}

/// A text of the format that the schema demands.
fn of_format(schema: &Map<String, Value>) -> Option<&'static str> {
    let format = schema.get("format")?.as_str()?;
    FORMATS.iter().find(|(name, _)| *name == format).map(|(_, text)| *text)
}

/// Texts for the patterns and the format of a schema: made for one of them, or for all and concatenated. Those that fit
/// all come first. `matching` makes the texts for one pattern.
pub(super) fn texts(schema: &Map<String, Value>, matching: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let patterns = match schema.get("pattern") {
        Some(Value::Array(several)) => several,
        Some(one) => std::slice::from_ref(one),
        None => return Vec::new(),
    };
    let patterns = &patterns[..patterns.len().min(PATTERNS)];
    let mut parts: Vec<Vec<String>> = patterns.iter().filter_map(Value::as_str).map(matching).collect();
    if let Some(text) = of_format(schema) {
        parts.push(vec![text.to_owned(), "a".to_owned()]);
    }
    if let [one] = parts.as_mut_slice() {
        return std::mem::take(one);
    }
    parts.retain(|part| !part.is_empty());
    let row = |way: usize| parts.iter().map(move |part| part[way % part.len()].as_str());
    let rows = (0..WAYS).flat_map(|way| [row(way).collect(), row(way).rev().collect::<String>()]);
    let mut texts: Vec<String> = parts.iter().flatten().cloned().chain(rows).collect();
    let demands = patterns.iter().map(|pattern| json!({"pattern": pattern}));
    let demands = demands.chain(schema.get("format").map(|format| json!({"format": format})));
    if let Ok(validator) = options::<SerdeJson>(REGEX_SIZE).build(&json!({"allOf": demands.collect::<Value>()})) {
        texts.sort_by_cached_key(|text| !validator.is_valid(&Value::from(text.as_str())));
    }
    texts
}

/// How many ways through the alternatives of a pattern are tried.
const WAYS: usize = 8;

/// Texts that match a pattern: of several lengths, and through its other alternatives.
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

/// Writes a text that matches a pattern, with `more` repetitions than it demands. `way` chooses among alternatives.
/// `None` if the text gets too long or nothing matches.
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
