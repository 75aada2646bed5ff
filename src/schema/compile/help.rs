//! What to do about each fault of a schema file.

use std::borrow::Cow;

use crate::schema::compile::dialect;
use crate::schema::compile::fault::{SchemaFaultKind, Void};
use crate::schema::compile::regexes::units;

impl SchemaFaultKind {
    /// A sentence that says what to do about the fault.
    pub fn help(&self) -> Cow<'static, str> {
        match self {
            Self::UnknownType { suggestion: Some(word), .. }
            | Self::UnknownKeyword { suggestion: word, .. }
            | Self::MisspeltFormat { suggestion: word, .. }
            | Self::UnknownFormat { suggestion: Some(word), .. } => format!("did you mean `{word}`?").into(),
            Self::InvalidUri { instead: Some(text), .. } => format!("encode it (RFC 3986): `{text}`").into(),
            Self::RefNowhere { instead: Some(whole), .. } if whole == "#" => "write `#` for the whole schema".into(),
            Self::RefNowhere { instead: Some(text), .. } => {
                format!("`#` begins at the `$id` around it: write `{text}`").into()
            }
            Self::NamedTwice { name, .. } if name.starts_with("#/") => {
                "remove it: a reference to the place works without it".into()
            }
            Self::VoidKeyword { why, .. } => why.help(),
            known => known.advice().into(),
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "check the path, which is relative to the directory of relay.toml, and who may read the file"
            }
            Self::TooLarge { .. } => "split it, or raise `limits.schema_size`",
            Self::Syntax { .. } => "a schema file is one JSON text in UTF-8",
            Self::DuplicateKey { .. } => "keep one of them",
            Self::TooDeep { .. } => "move inner schemas to `$defs`, or raise `limits.json_depth`",
            Self::UnknownDialect { .. } => "leave `$schema` out for 2020-12, or name draft 4, 6, 7, 2019-09 or 2020-12",
            Self::NotASchema { help, .. } => help.unwrap_or("see the keyword in JSON Schema's specification"),
            Self::UnknownType { .. } => {
                "write `array`, `boolean`, `integer`, `null`, `number`, `object` or `string`, or a list of them"
            }
            Self::UnknownKeyword { .. } | Self::VoidKeyword { .. } | Self::MisspeltFormat { .. } => {
                "correct its spelling"
            }
            Self::InvalidUri { .. } => "write a URI reference (RFC 3986)",
            Self::DuplicateId { .. } => "give each file an `$id` of its own, or none",
            Self::BuiltInId { .. } => "give that file an `$id` of its own: within one topic a URI must mean one schema",
            Self::NamedTwice { .. } => "give each a name of its own: a reference may lead to one only",
            Self::RefUnreadable { .. } => {
                "check the path, which is relative to the file with the reference, and who may read it; an `$id` of \
                 another file is known where that file is referred to by its path as well"
            }
            Self::RefOtherId { .. } => "correct the reference or the `$id`: they must be the same",
            Self::RefOutside { .. } => "move the file below the directory of relay.toml",
            Self::RefRemote { .. } => {
                "nothing is fetched: keep a copy beside this file and refer to it by its path; an `$id` of another \
                 file is known where that file is referred to by its path as well"
            }
            Self::RefNowhere { .. } | Self::RefNotASchema { .. } => "check the part after `#`",
            Self::RefCycle { .. } => "remove one of the references: validating a value would never end",
            Self::Exponential { .. } => {
                "do not use one definition in several branches: write `enum` or nested properties"
            }
            Self::RegexLookAround { .. } | Self::RegexBackReference { .. } => {
                "patterns run in linear time: rewrite it as several patterns under `allOf` or `not`"
            }
            Self::RegexTooBig { .. } => "use smaller repetitions with `maxLength`, or raise `limits.regex_size`",
            Self::RegexInvalid { .. } => "patterns are ECMA-262 regular expressions",
            // ECMA-262 may not have it either: who checks the standard does not know the names.
            Self::RegexUntaken { why, .. } if why.starts_with("Unicode property") => {
                "correct the name, or write the characters themselves: the engine does not know every property of \
                 ECMA-262"
            }
            Self::RegexUntaken { pattern, .. } if has_backspace(pattern) => {
                r"`\b` in a class is not supported: write `\x08` for a backspace"
            }
            Self::RegexUntaken { pattern, .. } => advice_on(pattern, &UNTAKEN).unwrap_or(
                "ECMA-262 has it, but the engine, which runs in linear time, does not: write it another way",
            ),
            Self::RegexNotStandard { pattern } => advice_on(pattern, &FOREIGN)
                .unwrap_or("write it as an ECMA-262 regular expression (its flag is `u`), as JSON Schema has them"),
            Self::UnknownFormat { .. } => "say it with `pattern`, `minimum` or `maximum`, or leave it as a description",
            Self::Unsatisfiable { .. } => "every publish would be refused: remove one of the contradictory keywords",
            Self::Uncompilable { .. } => "see the keyword in JSON Schema's specification",
        }
    }
}

impl Void {
    fn help(self) -> Cow<'static, str> {
        match self {
            Self::Newer { since, .. } => {
                let since = dialect::name(since);
                format!("it is known from {since} on: name that in `$schema`, or leave `$schema` out for 2020-12")
                    .into()
            }
            Self::Older { instead, .. } => {
                format!("{instead} took its place: write that, or name the draft that it is meant for in `$schema`")
                    .into()
            }
            Self::BesideRef { .. } => "move the `$ref` into an `allOf`, or name 2019-09 or 2020-12 in `$schema`".into(),
            Self::WithoutIf => "add the `if` that it belongs to, or remove it".into(),
        }
    }
}

/// What ECMA-262 has and the engine does not accept, with the alternative to write.
const UNTAKEN: [(&str, &str); 7] = [
    ("[^]", r"`[^]` is not supported: write `[\s\S]` for any character"),
    ("[]", r"`[]` is not supported: write `[^\s\S]` for no character"),
    (r"\<", r"`\<` is not supported: write `<`"),
    (r"\>", r"`\>` is not supported: write `>`"),
    (r"\0", r"`\0` is not supported: write `\x00`"),
    (r"\ud", r"surrogates are not supported: write the character itself, or `\u{1F600}`"),
    (r"\uD", r"surrogates are not supported: write the character itself, or `\u{1F600}`"),
];

/// What the engine accepts and ECMA-262 does not have, with the alternative to write.
const FOREIGN: [(&str, &str); 17] = [
    ("(?i", "patterns have no flags: write `[aA]` for a letter of either case"),
    ("(?s", r"patterns have no flags: write `[\s\S]` for any character"),
    ("(?m", "patterns have no flags: leave them out"),
    ("(?x", "patterns have no flags: leave them out, and the white space"),
    ("(?U", "patterns have no flags: leave them out"),
    ("(?P<", "write `(?<name>…)`"),
    (r"\b{", r"write `\b` for the edge of a word"),
    (r"\A", "write `^` for the beginning"),
    (r"\z", "write `$` for the end"),
    ("[[:", "write the characters themselves, such as `[A-Za-z]`"),
    (r"\x{", r"write `\x41` or `\u{41}`"),
    (r"\U", r"write `\u0041` or `\u{41}`"),
    ("++", ONE_QUANTIFIER),
    ("**", ONE_QUANTIFIER),
    ("}{", ONE_QUANTIFIER),
    (r"\p", r"write it in braces: `\p{L}`"),
    (r"\P", r"write it in braces: `\P{L}`"),
];
const ONE_QUANTIFIER: &str = "write only one of `?`, `*`, `+` and `{2,9}`; to repeat the result, put it in a group";

fn advice_on(pattern: &str, known: &[(&str, &'static str)]) -> Option<&'static str> {
    // In a class only escapes mean something.
    let has = |text: &str| {
        let counts = |in_class: bool| !in_class || text.starts_with('\\');
        units(pattern).any(|(rest, in_class)| rest.starts_with(text) && counts(in_class) && !is_class(rest))
    };
    known.iter().find(|(text, _)| has(text)).map(|(_, help)| *help)
}

/// Whether a pattern has a `\b` that is not the edge of a word.
fn has_backspace(pattern: &str) -> bool {
    units(pattern).any(|(rest, in_class)| in_class && rest.starts_with(r"\b"))
}

/// Whether a pattern begins with a class of Unicode, such as `\p{L}`, which both sides know.
fn is_class(pattern: &str) -> bool {
    pattern.starts_with(r"\p{") || pattern.starts_with(r"\P{")
}
