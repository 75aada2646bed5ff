//! What can be wrong with a schema file, as facts, and the one place that puts them into sentences.

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
    /// The bytes of its text that a caret should point at. Empty, at 0, if there is no text.
    pub bytes: Range<usize>,
    /// The place in its document (RFC 6901); empty for the whole document, and if the text is not JSON.
    pub pointer: String,
    /// What is wrong.
    pub kind: SchemaFaultKind,
}

/// What is wrong; `Display` writes the sentence, [`SchemaFaultKind::help`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum SchemaFaultKind {
    /// A root cannot be read. For a referenced file, see [`Self::RefUnreadable`].
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
    /// It breaks the rules for schemas. `keyword` is the schema's keyword at fault; `detail` is a sentence.
    NotASchema {
        keyword: String,
        detail: String,
        help: Option<&'static str>,
    },
    /// A value of `type` that is not a type.
    UnknownType {
        name: String,
        suggestion: Option<String>,
    },
    /// Allowed, but probably misspelt. `others` counts the other places of the file that have it.
    UnknownKeyword {
        keyword: String,
        suggestion: String,
        others: usize,
    },
    /// Allowed, but without its intended effect.
    VoidKeyword {
        keyword: String,
        why: Void,
    },
    /// `instead` is the same URI percent-encoded, if that makes it valid.
    InvalidUri {
        keyword: &'static str,
        uri: String,
        instead: Option<String>,
    },
    /// Two schemas of one file have the same name.
    NamedTwice {
        keyword: &'static str,
        name: String,
    },
    /// A root reaches two files that claim the same `$id`.
    DuplicateId {
        uri: String,
        files: [Arc<str>; 2],
    },
    /// A root reaches a built-in meta-schema, and a file that claims its `$id`.
    BuiltInId {
        uri: String,
        file: Arc<str>,
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
    /// The file is where it should be, but its `$id` says that it is another one.
    RefOtherId {
        target: String,
        file: Arc<str>,
        id: String,
    },
    /// `part` is the `$id` of the schema that was searched, if that is not the whole file.
    RefNowhere {
        target: String,
        file: Arc<str>,
        part: Option<String>,
        instead: Option<String>,
    },
    RefNotASchema {
        target: String,
        file: Arc<str>,
    },
    /// References lead back to the start without moving to another part of the payload.
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
        why: String,
    },
    /// ECMA-262 accepts it, but the engine does not, or gives it another meaning.
    RegexUntaken {
        pattern: String,
        why: String,
    },
    /// The engine accepts it, but ECMA-262 does not.
    RegexNotStandard {
        pattern: String,
    },
    /// Nearly the name of a format that is checked.
    MisspeltFormat {
        format: String,
        suggestion: String,
    },
    /// Allowed, but not checked.
    UnknownFormat {
        format: String,
        suggestion: Option<String>,
    },
    Unsatisfiable {
        why: String,
    },
    /// The compiler refuses it for a reason that no other variant covers.
    Uncompilable {
        detail: String,
    },
}

/// Why a keyword has no effect here. `dialect` is that of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// Only a later dialect introduces it.
    Newer { dialect: Draft, since: Draft },
    /// Later dialects have replaced it.
    Older { dialect: Draft, instead: &'static str },
    /// Before 2019-09 a `$ref` disables all keywords beside it.
    BesideRef { dialect: Draft },
    /// It is one half of a condition, without its `if`.
    WithoutIf,
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
            Self::DuplicateId { .. } | Self::BuiltInId { .. } | Self::NamedTwice { .. } => "schema-duplicate-id",
            Self::RefUnreadable { .. } => "schema-ref-unreadable",
            Self::RefOutside { .. } => "schema-ref-outside",
            Self::RefRemote { .. } | Self::RefOtherId { .. } => "schema-ref-remote",
            Self::RefNowhere { .. } => "schema-ref-nowhere",
            Self::RefNotASchema { .. } => "schema-ref-not-a-schema",
            Self::RefCycle { .. } => "schema-ref-cycle",
            Self::Exponential { .. } => "schema-exponential",
            Self::RegexLookAround { .. } => "schema-regex-look-around",
            Self::RegexBackReference { .. } => "schema-regex-back-reference",
            Self::RegexTooBig { .. } => "schema-regex-too-big",
            Self::RegexInvalid { .. } | Self::RegexUntaken { .. } => "schema-regex-invalid",
            Self::RegexNotStandard { .. } => "schema-regex-not-standard",
            Self::MisspeltFormat { .. } | Self::UnknownFormat { .. } => "schema-unknown-format",
            Self::Unsatisfiable { .. } => "schema-unsatisfiable",
            Self::Uncompilable { .. } => "schema-uncompilable",
        }
    }

    /// Whether the schema can be used in spite of the fault.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::UnknownKeyword { .. }
                | Self::VoidKeyword { .. }
                | Self::RegexNotStandard { .. }
                | Self::UnknownFormat { .. }
        )
    }
}

/// The most references of a cycle that are named.
const MAX_THROUGH: usize = 8;

impl fmt::Display for SchemaFaultKind {
    #[expect(clippy::too_many_lines, reason = "one sentence for each kind")]
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
            Self::UnknownKeyword { keyword, others, .. } => {
                write!(f, "the keyword `{keyword}` is unknown and has no effect")?;
                match others {
                    0 => Ok(()),
                    1 => f.write_str(", here and at one other place of this file"),
                    _ => write!(f, ", here and at {others} other places of this file"),
                }
            }
            Self::VoidKeyword { keyword, why } => write!(f, "the keyword `{keyword}` {why}"),
            Self::InvalidUri { keyword, uri, .. } => write!(f, "`{keyword}` is not a URI reference: `{uri}`"),
            Self::DuplicateId { uri, files: [one, other] } => {
                write!(f, "both `{one}` and `{other}` have the `$id` `{uri}`")
            }
            Self::BuiltInId { uri, file } => write!(f, "`{uri}` is built in, but is also the `$id` of `{file}`"),
            Self::NamedTwice { keyword, name } => {
                write!(f, "another schema of this file also has the `{keyword}` `{name}`")
            }
            Self::RefUnreadable { target, why } => write!(f, "`{target}` cannot be read: {why}"),
            Self::RefOutside { target } => write!(f, "`{target}` leaves the directory of relay.toml"),
            Self::RefRemote { target } => write!(f, "`{target}` is not one of the schema files"),
            Self::RefOtherId { target, file, id } => {
                write!(f, "`{target}` would be the file `{file}`, which has the `$id` `{id}`")
            }
            Self::RefNowhere { target, file, part: None, .. } => write!(f, "`{target}` names nothing in `{file}`"),
            Self::RefNowhere { target, file, part: Some(id), .. } if target.starts_with('#') => {
                write!(f, "`{target}` names nothing in the enclosing schema of `{file}`, whose `$id` is `{id}`")
            }
            Self::RefNowhere { target, file, part: Some(id), .. } => {
                write!(f, "`{target}` names nothing in the schema of `{file}` with the `$id` `{id}`")
            }
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
            Self::RegexInvalid { pattern, why } => write!(f, "`{pattern}` is not a regular expression: {why}"),
            Self::RegexUntaken { pattern, why } => write!(f, "`{pattern}` cannot be used: {why}"),
            Self::RegexNotStandard { pattern } => {
                write!(f, "`{pattern}` is not an ECMA-262 pattern: other tools may refuse it or read it differently")
            }
            Self::MisspeltFormat { format, .. } => write!(f, "the format `{format}` is unknown"),
            Self::UnknownFormat { format, .. } => write!(f, "the format `{format}` is unknown and is not checked"),
            Self::Unsatisfiable { why } => write!(f, "no value can match this schema: {why}"),
            Self::Uncompilable { detail } => f.write_str(detail),
        }
    }
}
