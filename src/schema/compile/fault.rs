//! What can be wrong with a schema file: facts, and the one place that writes them as sentences.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jsonschema::Draft;

use crate::schema::compile::dialect;

/// Something wrong in a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// The file, relative to relay.toml.
    pub file: Arc<str>,
    /// Where in its text: what a caret should point at. Empty at 0 when there is no text.
    pub bytes: Range<usize>,
    /// Where in its document (RFC 6901); empty for the whole, and where the text is not JSON.
    pub pointer: String,
    /// What is wrong.
    pub kind: SchemaFaultKind,
}

/// What is wrong; `Display` writes the sentence, [`SchemaFaultKind::help`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum SchemaFaultKind {
    /// The root itself cannot be read; of a referenced file, see [`Self::RefUnreadable`].
    Unreadable {
        why: String,
    },
    TooLarge {
        bytes: usize,
        limit: usize,
    },
    Syntax {
        detail: String,
    },
    DuplicateKey {
        key: String,
    },
    TooDeep {
        limit: usize,
    },
    UnknownDialect {
        uri: String,
    },
    /// It breaks the rules for schemas: `keyword` is the rule's, `detail` a sentence.
    NotASchema {
        keyword: String,
        detail: String,
        help: Option<&'static str>,
    },
    /// A value of `type` that is none.
    UnknownType {
        name: String,
        suggestion: Option<String>,
    },
    /// Allowed, and probably not meant.
    UnknownKeyword {
        keyword: String,
        suggestion: String,
    },
    /// Allowed, and without the effect that it was written for.
    VoidKeyword {
        keyword: String,
        why: Void,
    },
    InvalidUri {
        keyword: &'static str,
        uri: String,
    },
    /// Two schemas of one file have one name.
    NamedTwice {
        keyword: &'static str,
        name: String,
    },
    /// Two files say that they are the same thing, and both are meant.
    DuplicateId {
        uri: String,
        files: [Arc<str>; 2],
    },
    RefUnreadable {
        target: String,
        why: String,
    },
    RefOutside {
        target: String,
    },
    RefRemote {
        target: String,
    },
    RefNowhere {
        target: String,
        file: Arc<str>,
    },
    RefNotASchema {
        target: String,
        file: Arc<str>,
    },
    /// Following references leads back without looking at another part of the payload.
    RefCycle {
        through: Vec<String>,
    },
    /// Judging one value would take more than `limit` steps.
    Exponential {
        steps: u64,
        limit: u64,
    },
    RegexLookAround {
        pattern: String,
    },
    RegexBackReference {
        pattern: String,
    },
    RegexTooBig {
        pattern: String,
        limit: usize,
    },
    RegexInvalid {
        pattern: String,
    },
    /// The engine takes it, and ECMA-262 does not.
    RegexNotStandard {
        pattern: String,
    },
    UnknownFormat {
        format: String,
    },
    Unsatisfiable {
        why: String,
    },
    /// Refused by the compiler for a reason that none of the others is.
    Uncompilable {
        detail: String,
    },
}

/// Why a keyword has no effect where it stands. `dialect` is that of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// Dialects have it from a later one on.
    Newer { dialect: Draft, since: Draft },
    /// Later dialects have something else for it.
    Older { dialect: Draft, instead: &'static str },
    /// What is beside a `$ref` counts from 2019-09 on.
    BesideRef { dialect: Draft },
    /// It is half of a condition.
    WithoutIf,
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
            Self::WithoutIf => "add the `if` that it belongs to, or take it out".into(),
        }
    }
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { dialect, .. } | Self::Older { dialect, .. } => {
                write!(f, "has no effect in {}", dialect::name(*dialect))
            }
            Self::BesideRef { dialect } => write!(f, "has no effect beside `$ref` in {}", dialect::name(*dialect)),
            Self::WithoutIf => f.write_str("has no effect without `if`"),
        }
    }
}

impl SchemaFaultKind {
    /// The diagnostic's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "schema-unreadable",
            Self::TooLarge { .. } => "schema-too-large",
            Self::Syntax { .. } => "schema-syntax",
            Self::DuplicateKey { .. } => "schema-duplicate-key",
            Self::TooDeep { .. } => "schema-too-deep",
            Self::UnknownDialect { .. } => "schema-unknown-dialect",
            Self::NotASchema { .. } | Self::UnknownType { .. } => "schema-invalid",
            Self::UnknownKeyword { .. } => "schema-unknown-keyword",
            Self::VoidKeyword { .. } => "schema-void-keyword",
            Self::InvalidUri { .. } => "schema-invalid-uri",
            Self::DuplicateId { .. } | Self::NamedTwice { .. } => "schema-duplicate-id",
            Self::RefUnreadable { .. } => "schema-ref-unreadable",
            Self::RefOutside { .. } => "schema-ref-outside",
            Self::RefRemote { .. } => "schema-ref-remote",
            Self::RefNowhere { .. } => "schema-ref-nowhere",
            Self::RefNotASchema { .. } => "schema-ref-not-a-schema",
            Self::RefCycle { .. } => "schema-ref-cycle",
            Self::Exponential { .. } => "schema-exponential",
            Self::RegexLookAround { .. } => "schema-regex-look-around",
            Self::RegexBackReference { .. } => "schema-regex-back-reference",
            Self::RegexTooBig { .. } => "schema-regex-too-big",
            Self::RegexInvalid { .. } => "schema-regex-invalid",
            Self::RegexNotStandard { .. } => "schema-regex-not-standard",
            Self::UnknownFormat { .. } => "schema-unknown-format",
            Self::Unsatisfiable { .. } => "schema-unsatisfiable",
            Self::Uncompilable { .. } => "schema-uncompilable",
        }
    }

    /// Whether the schema can be used all the same.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::UnknownKeyword { .. } | Self::VoidKeyword { .. } | Self::RegexNotStandard { .. })
    }

    /// What to do about it.
    pub fn help(&self) -> Cow<'static, str> {
        match self {
            Self::UnknownType { suggestion: Some(word), .. } | Self::UnknownKeyword { suggestion: word, .. } => {
                format!("did you mean `{word}`?").into()
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
            Self::UnknownKeyword { .. } | Self::VoidKeyword { .. } => "correct its spelling",
            Self::InvalidUri { .. } => "write a URI reference (RFC 3986)",
            Self::DuplicateId { .. } => "give each file an `$id` of its own, or none",
            Self::NamedTwice { .. } => "give each a name of its own: a reference may lead to one only",
            Self::RefUnreadable { .. } => {
                "check the path, which is relative to the file with the reference, and who may read it"
            }
            Self::RefOutside { .. } => "move the file below the directory of relay.toml",
            Self::RefRemote { .. } => "nothing is fetched: keep a copy beside this file and refer to it by its path",
            Self::RefNowhere { .. } | Self::RefNotASchema { .. } => "check the part after `#`",
            Self::RefCycle { .. } => "remove one of the references: validating a value would never end",
            Self::Exponential { .. } => {
                "do not use one definition in several branches: write `enum` or nested properties"
            }
            Self::RegexLookAround { .. } | Self::RegexBackReference { .. } => {
                "patterns run in linear time: rewrite it as several patterns under `allOf` or `not`"
            }
            Self::RegexTooBig { .. } => "use smaller repetitions with `maxLength`, or raise `limits.regex_size`",
            Self::RegexInvalid { pattern } => {
                advice_on(pattern, &UNTAKEN).unwrap_or("patterns are ECMA-262 regular expressions")
            }
            Self::RegexNotStandard { pattern } => advice_on(pattern, &FOREIGN)
                .unwrap_or("write it as an ECMA-262 regular expression (its flag is `u`), as JSON Schema has them"),
            Self::UnknownFormat { .. } => {
                "correct its spelling, say it with `pattern`, or name a newer dialect in `$schema`"
            }
            Self::Unsatisfiable { .. } => "every publish would be refused: remove one of the contradictory keywords",
            Self::Uncompilable { .. } => "see the keyword in JSON Schema's specification",
        }
    }
}

/// So many references of a cycle are named.
const MAX_THROUGH: usize = 8;

/// What ECMA-262 has and the engine does not take, with what to write instead.
const UNTAKEN: [(&str, &str); 6] = [
    ("[^]", r"`[^]` is not taken: write `[\s\S]` for any character"),
    ("[]", r"`[]` is not taken: write `[^\s\S]` for no character"),
    (r"[\b]", r"`[\b]` is not taken: write `\x08` for a backspace"),
    (r"\0", r"`\0` is not taken: write `\x00`"),
    (r"\ud", r"surrogates are not taken: write the character itself, or `\u{1F600}`"),
    (r"\uD", r"surrogates are not taken: write the character itself, or `\u{1F600}`"),
];

/// What the engine takes and ECMA-262 has not, with what to write instead.
const FOREIGN: [(&str, &str); 16] = [
    ("(?i", "patterns have no flags: write `[aA]` for a letter of either case"),
    ("(?s", r"patterns have no flags: write `[\s\S]` for any character"),
    ("(?m", "patterns have no flags: leave them out"),
    ("(?x", "patterns have no flags: leave them out, and the white space"),
    ("(?U", "patterns have no flags: leave them out"),
    ("(?P<", "write `(?<name>…)`"),
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
const ONE_QUANTIFIER: &str = "write one of `?`, `*`, `+` and `{2,9}`, and a group around what another is to repeat";

fn advice_on(pattern: &str, known: &[(&str, &'static str)]) -> Option<&'static str> {
    known.iter().find(|(text, _)| pattern.contains(text)).map(|(_, help)| *help)
}

impl fmt::Display for SchemaFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { why } => f.write_str(why),
            Self::TooLarge { bytes, limit } => {
                write!(f, "the file has {bytes} bytes; `limits.schema_size` allows {limit}")
            }
            Self::Syntax { detail } => write!(f, "not JSON: {detail}"),
            Self::DuplicateKey { key } => write!(f, "the key `{key}` appears twice in this object"),
            Self::TooDeep { limit } => write!(f, "nested deeper than `limits.json_depth` allows ({limit})"),
            Self::UnknownDialect { uri } => write!(f, "`$schema` names no known dialect: `{uri}`"),
            Self::NotASchema { keyword, detail, .. } if keyword.is_empty() => write!(f, "not a valid schema: {detail}"),
            Self::NotASchema { keyword, detail, .. } => write!(f, "not a valid schema: {detail} (`{keyword}`)"),
            Self::UnknownType { name, .. } => write!(f, "`{name}` is not a type of JSON Schema (`type`)"),
            Self::UnknownKeyword { keyword, .. } => write!(f, "the keyword `{keyword}` is unknown and has no effect"),
            Self::VoidKeyword { keyword, why } => write!(f, "the keyword `{keyword}` {why}"),
            Self::InvalidUri { keyword, uri } => write!(f, "`{keyword}` is not a URI reference: `{uri}`"),
            Self::DuplicateId { uri, files: [one, other] } => {
                write!(f, "both `{one}` and `{other}` have the `$id` `{uri}`")
            }
            Self::NamedTwice { keyword, name } => {
                write!(f, "another schema of this file has the `{keyword}` `{name}`, too")
            }
            Self::RefUnreadable { target, why } => write!(f, "`{target}` cannot be read: {why}"),
            Self::RefOutside { target } => write!(f, "`{target}` leaves the directory of relay.toml"),
            Self::RefRemote { target } => write!(f, "`{target}` is not one of the schema files"),
            Self::RefNowhere { target, file } => write!(f, "`{target}` names nothing in `{file}`"),
            Self::RefNotASchema { target, file } => write!(f, "`{target}` is in `{file}` but is not a schema"),
            Self::RefCycle { through } => {
                let (shown, more) = through.split_at(through.len().min(MAX_THROUGH));
                write!(f, "the reference leads back to itself, through `{}`", shown.join("`, `"))?;
                if more.is_empty() { Ok(()) } else { write!(f, " and {} more", more.len()) }
            }
            Self::Exponential { steps, limit } if *steps == u64::MAX => {
                write!(f, "validating one value would never end; {limit} steps are allowed")
            }
            Self::Exponential { steps, limit } => {
                write!(f, "validating one value would take {steps} steps; {limit} are allowed")
            }
            Self::RegexLookAround { pattern } => {
                write!(f, "`{pattern}` uses look-ahead or look-behind, which is not supported")
            }
            Self::RegexBackReference { pattern } => {
                write!(f, "`{pattern}` uses a back-reference, which is not supported")
            }
            Self::RegexTooBig { pattern, limit } => {
                write!(f, "`{pattern}` needs more memory than `limits.regex_size` allows ({limit} bytes)")
            }
            Self::RegexInvalid { pattern } => write!(f, "`{pattern}` is not a regular expression"),
            Self::RegexNotStandard { pattern } => {
                write!(f, "`{pattern}` is no ECMA-262 regular expression: other tools refuse it or take it otherwise")
            }
            Self::UnknownFormat { format } => write!(f, "the format `{format}` is not known in this dialect"),
            Self::Unsatisfiable { why } => write!(f, "no value can match this schema: {why}"),
            Self::Uncompilable { detail } => f.write_str(detail),
        }
    }
}
