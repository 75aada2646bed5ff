//! Checks regular expressions, and tells what kind of fault each has.

use std::sync::Arc;

use jsonschema::json::SerdeJson;
use jsonschema::{PatternCache, Retrieve, ValidationOptions, Validator};
use serde_json::json;

use crate::schema::borrowed::Borrowed;
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::judge;

/// Compiles patterns with the linear-time engine, each text once.
pub(super) struct RegexChecker {
    limit: usize,
    cache: PatternCache,
    /// Knows which regular expressions ECMA-262 accepts with its flag `u`. The engine accepts more.
    standard: Option<Validator<SerdeJson>>,
}

impl RegexChecker {
    pub(super) fn new(limit: usize) -> Self {
        let standard = judge::options(0).build(&json!({ "format": "regex" })).ok();
        Self { limit, cache: PatternCache::new(), standard }
    }

    /// The options for building validators, sharing the cache of patterns.
    pub(super) fn options<'i>(&self) -> ValidationOptions<'i, Arc<dyn Retrieve>, Borrowed> {
        judge::options(self.limit).with_pattern_cache(self.cache.clone())
    }

    /// What is wrong with a pattern, if anything.
    pub(super) fn fault_of(&self, pattern: &str) -> Option<SchemaFaultKind> {
        let is_standard = self.is_standard(pattern);
        let edge = WORD_EDGES.into_iter().find(|edge| units(pattern).any(|(rest, _)| rest.starts_with(edge)));
        let pattern = pattern.to_owned();
        if is_taken(self.options(), &pattern) {
            return match edge {
                Some(edge) => {
                    let why = format!("`{edge}` would be the edge of a word, not a character");
                    Some(SchemaFaultKind::RegexUntaken { pattern, why })
                }
                None => (!is_standard).then_some(SchemaFaultKind::RegexNotStandard { pattern }),
            };
        }
        Some(match (beyond_linear(&pattern), regex_syntax::parse(&pattern).err()) {
            (Some(Beyond::LookAround), _) => SchemaFaultKind::RegexLookAround { pattern },
            (Some(Beyond::BackReference), _) => SchemaFaultKind::RegexBackReference { pattern },
            (None, fault) if self.is_too_big(&pattern, is_standard, fault.is_none()) => {
                SchemaFaultKind::RegexTooBig { pattern, limit: self.limit }
            }
            (None, fault) => {
                let why = fault.as_ref().map_or("ECMA-262 does not accept it".to_owned(), reason);
                match is_standard {
                    true => SchemaFaultKind::RegexUntaken { pattern, why },
                    false => SchemaFaultKind::RegexInvalid { pattern, why },
                }
            }
        })
    }

    /// Whether a pattern that is not taken needs only more memory. Neither the standard nor the parser decides that
    /// alone: the engine takes no `\a`, which parses, and the parser does not know all of ECMA-262, such as `\cA`.
    fn is_too_big(&self, pattern: &str, is_standard: bool, parses: bool) -> bool {
        match (is_standard, parses) {
            (true, true) => true,
            (false, false) => false,
            (true, false) => is_taken(self.options(), &without_counts(pattern)),
            (false, true) => {
                is_taken(judge::options(MOST), pattern) || is_taken(judge::options(MOST), &without_counts(pattern))
            }
        }
    }

    fn is_standard(&self, pattern: &str) -> bool {
        self.standard.as_ref().is_some_and(|standard| standard.is_valid(&json!(pattern)))
    }
}

/// The most that `limits.regex_size` may be, in bytes.
const MOST: usize = 64 << 20;

fn is_taken(options: ValidationOptions<'_, Arc<dyn Retrieve>, Borrowed>, pattern: &str) -> bool {
    options.build(&json!({ "pattern": pattern })).is_ok()
}

/// Escapes that mean a character in ECMA-262, but the beginning and end of a word to the engine.
const WORD_EDGES: [&str; 2] = [r"\<", r"\>"];

/// The pattern from each of its characters and escapes on, and whether that one is in a class such as `[a-z]`.
pub(super) fn units(pattern: &str) -> impl Iterator<Item = (&str, bool)> {
    let (mut rest, mut in_class) = (pattern, false);
    std::iter::from_fn(move || {
        let unit = (rest, in_class);
        let mut chars = rest.chars();
        match chars.next()? {
            '\\' => _ = chars.next(),
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        rest = chars.as_str();
        Some(unit)
    })
}

/// What the parser objects to, and where.
fn reason(fault: &regex_syntax::Error) -> String {
    let (why, at, pattern) = match fault {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start, error.pattern()),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start, error.pattern()),
        _ => return fault.to_string(),
    };
    let at = pattern[..at.offset].chars().count() + 1;
    format!("{why} (character {at})")
}

/// The pattern without counts such as `{2,9}`, which alone make it compile to much more than its text.
fn without_counts(pattern: &str) -> String {
    let mut left = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            // Braces after an escape are not counts: `\u{41}`, `\p{L}`.
            '\\' => {
                length += rest[1..].chars().next().map_or(0, char::len_utf8);
                let is_braced =
                    matches!(rest.as_bytes().get(1), Some(b'u' | b'p' | b'P')) && rest[2..].starts_with('{');
                length = if is_braced { rest.find('}').map_or(length, |end| end + 1) } else { length };
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '{' if !in_class => {
                let end = rest.find('}').filter(|end| rest[1..*end].chars().all(|c| c.is_ascii_digit() || c == ','));
                if let Some(end) = end {
                    rest = &rest[end + 1..];
                    continue;
                }
            }
            _ => {}
        }
        left.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    left
}

#[derive(Debug, PartialEq, Eq)]
enum Beyond {
    LookAround,
    BackReference,
}

/// The part of a pattern that no linear-time engine supports.
fn beyond_linear(pattern: &str) -> Option<Beyond> {
    units(pattern).filter(|(_, in_class)| !in_class).find_map(|(rest, _)| {
        let is_look_around = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|start| rest.starts_with(start));
        let refers = matches!(rest.as_bytes(), [b'\\', b'1'..=b'9' | b'k', ..]);
        is_look_around.then_some(Beyond::LookAround).or(refers.then_some(Beyond::BackReference))
    })
}

#[cfg(test)]
mod tests {
    use super::{Beyond, RegexChecker, beyond_linear};
    use crate::schema::compile::SchemaFaultKind;

    /// Regression: a pattern with counts that is refused for another reason was reported as too big.
    #[test]
    fn what_is_too_big_is_told_from_what_is_not_taken() {
        let patterns = RegexChecker::new(1 << 16);
        for pattern in [
            r"^(a{1000}){100}$",
            r"^(\p{L}{40}x){40}$",
            r"^[{1}]{9}(\p{L}\u{41}){999,}?$",
            r"^\cA(\p{L}{40}x){40}$",
            // Too big without counts, or in spite of them.
            &r"\p{L}".repeat(40),
            &(r"\p{L}".repeat(40) + "a{2}"),
            &format!("(?i){}", r"\p{L}".repeat(40)),
            "(?i)(a{1000}){1000}(b{1000}){1000}(c{1000}){1000}",
        ] {
            let kind = SchemaFaultKind::RegexTooBig { pattern: pattern.to_owned(), limit: 1 << 16 };
            assert_eq!(patterns.fault_of(pattern), Some(kind));
        }
        let told = |pattern: &str| patterns.fault_of(pattern).expect("a fault").to_string();
        for (pattern, sentence) in [
            (
                "a{2,1}",
                "`a{2,1}` is not a regular expression: invalid repetition count range, the start must be <= the end (character 2)",
            ),
            ("(a{2}", "`(a{2}` is not a regular expression: unclosed group (character 1)"),
            ("é[a-z", "`é[a-z` is not a regular expression: unclosed character class (character 2)"),
            (r"^[^]{0,2}$", "`^[^]{0,2}$` cannot be used: unclosed character class (character 2)"),
            (r"[^\b]", r"`[^\b]` cannot be used: invalid escape sequence found in character class (character 3)"),
            (r"^\<a$", r"`^\<a$` cannot be used: `\<` would be the edge of a word, not a character"),
            // Regression: they were said to need more memory, or to have something else that cannot be used.
            (r"^\<[^[]{1,5}$", r"`^\<[^[]{1,5}$` cannot be used: `\<` would be the edge of a word, not a character"),
            (r"^\<[^[]+$", r"`^\<[^[]+$` cannot be used: `\<` would be the edge of a word, not a character"),
            (r"\cA{2}\>", r"`\cA{2}\>` cannot be used: `\>` would be the edge of a word, not a character"),
            (r"^\a$", r"`^\a$` is not a regular expression: ECMA-262 does not accept it"),
            ("[a--b]", "`[a--b]` is not a regular expression: ECMA-262 does not accept it"),
            (r"[\p{L}--\p{Lu}]", r"`[\p{L}--\p{Lu}]` is not a regular expression: ECMA-262 does not accept it"),
            (r"\p{Foo}", r"`\p{Foo}` cannot be used: Unicode property not found (character 1)"),
        ] {
            assert_eq!(told(pattern), sentence);
        }
        let help = |pattern: &str| patterns.fault_of(pattern).expect("a fault").help().into_owned();
        for (pattern, instead) in [
            ("^[^]$", r"^[\s\S]$"),
            ("^[]$", r"^[^\s\S]$"),
            (r"^[\b]$", r"^\x08$"),
            (r"^\0$", r"^\x00$"),
            (r"^\uD83D\uDE00$", r"^\u{1F600}$"),
            (r"^[^\b]$", r"^[^\x08]$"),
            (r"^[a\b]$", r"^[a\x08]$"),
            (r"^\<[^[]+$", "^<[^[]+$"),
            (r"^\<[a-z]+\>$", "^<[a-z]+>$"),
            (r"^[^\<\>]*$", "^[^<>]*$"),
        ] {
            assert!(patterns.fault_of(pattern).is_some(), "{pattern}");
            let help = help(pattern);
            assert!(help.contains(" supported: write "), "{pattern}");
            assert_eq!(help.starts_with(r"`\<`"), pattern.contains(r"\<"), "{pattern}: {help}");
            assert_eq!(patterns.fault_of(instead), None, "{instead}");
        }
        assert_eq!(help("("), "patterns are ECMA-262 regular expressions");
        assert_eq!(
            help(r"^[\p{L}\p{Foo}]$"),
            "correct the name, or write the characters themselves: the engine does not know every property of ECMA-262"
        );
    }

    /// Regression: these were accepted silently, with the engine's meaning, although other tools refuse the schema or
    /// read it differently.
    #[test]
    fn what_the_engine_alone_takes_is_told() {
        let patterns = RegexChecker::new(1 << 20);
        for (pattern, instead) in [
            ("(?i)^a$", "`[aA]`"),
            ("(?s).", r"`[\s\S]`"),
            ("(?m)^a", "flags"),
            ("(?x)a b", "flags"),
            ("(?U)a+", "flags"),
            ("(?P<n>a)", "`(?<name>…)`"),
            (r"\Aa", "`^`"),
            (r"a\z", "`$`"),
            ("a++", "one of"),
            ("a**", "one of"),
            ("a{1}{2}", "one of"),
            ("[[:alpha:]]", "`[A-Za-z]`"),
            (r"\pL", r"`\p{L}`"),
            (r"\x{41}", r"`\u{41}`"),
            (r"\U0001F600", r"`\u{41}`"),
            (r"\b{start}a", r"`\b`"),
            (r"^\p{L}+\b{start}x", r"`\b`"),
            (r"a\b{end}\P{L}", r"`\b`"),
            (r"\\A\z", "`$`"),
        ] {
            let kind = SchemaFaultKind::RegexNotStandard { pattern: pattern.to_owned() };
            assert_eq!(patterns.fault_of(pattern), Some(kind.clone()));
            assert!(kind.is_warning() && kind.help().contains(instead), "{pattern}: {}", kind.help());
        }
        for pattern in USUAL {
            assert_eq!(patterns.fault_of(pattern), None, "{pattern}");
        }
    }

    const USUAL: &[&str] = &[
        "",
        "^$",
        "^a|b$",
        "^[a-z0-9-]+$",
        r"^[\w.+-]+@[\w-]+\.[\w.-]+$",
        r"^\+?[1-9]\d{1,14}$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$",
        r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9A-Za-z-][0-9A-Za-z-]*)(?:\.[0-9A-Za-z-]+)*))?$",
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        r"^https?://[^\s/$.?#].[^\s]*$",
        r"^\/v1\/[^/]+\/?$",
        r"^[A-Z]{3}$",
        r"^#([0-9a-fA-F]{3}){1,2}$",
        r"^(?:[a-z]+)(?<rest>_[a-z]+)*?$",
        r"^\p{L}[\p{L}\p{N} .'’-]*$",
        r"^\p{Script=Greek}+\P{Lu}$",
        r"^[^\x00-\x1f\u0080-\u009f]+$",
        r"^\u{1F600}\cA\t\n\f\v\r$",
        r"^[\]\[\-\^\\]{2,}$",
        r"^\^\$\\\.\*\+\?\(\)\[\]\{\}\|\/$",
        r"\bword\b|\Bx",
        r"^[\s\S]*$",
        r"^é{1,}日?$",
        "^[a-z&]+$",
        "^[~!@#%&*_=:;\"'<>,? ]+$",
        r"^\-?\d+$",
    ];

    #[test]
    fn what_no_linear_engine_can_do_is_told_from_what_looks_like_it() {
        for pattern in ["^(?=a)b", "(?!x)", "(?<=a)b", "a(?<!b)"] {
            assert_eq!(beyond_linear(pattern), Some(Beyond::LookAround), "{pattern}");
        }
        for pattern in [r"(a)\1", r"(?<n>a)\k<n>"] {
            assert_eq!(beyond_linear(pattern), Some(Beyond::BackReference), "{pattern}");
        }
        for pattern in [r"\(?=", "[(?=]", r"[\1]", r"\\1", "(?:a)", "(?<n>a)", ""] {
            assert_eq!(beyond_linear(pattern), None, "{pattern}");
        }
    }
}
