//! Facts about keys and the form of their values.

use std::fmt;

use super::{About, did_you_mean, one_of};

/// What is wrong with a key or the form of its value. `key` is the full path, such as `topics.cats.schema`, unless the
/// key is unknown or missing: then `table` names its table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum ValueFact {
    /// `elsewhere` is a table that has such a key. `quoted` is the header that was probably meant, if the key is the
    /// part of a topic's name after a dot.
    UnknownKey {
        key: String,
        table: String,
        suggestion: Option<String>,
        elsewhere: Option<String>,
        quoted: Option<String>,
        known: Vec<&'static str>,
    },
    MissingKey {
        key: &'static str,
        table: String,
        hint: &'static str,
    },
    WrongType {
        key: String,
        expected: &'static str,
        found: &'static str,
        doc: &'static str,
    },
    BadChoice {
        key: String,
        value: String,
        choices: &'static [&'static str],
        suggestion: Option<String>,
    },
    BadSize {
        key: String,
        value: String,
    },
    BadDuration {
        key: String,
        value: String,
    },
    OutOfRange {
        key: String,
        value: String,
        min: String,
        max: String,
        /// Whether `"off"` is allowed, too.
        or_off: bool,
    },
    UnsupportedVersion {
        found: u64,
    },
}

const VERSION: &str = "this relay reads `version = 1`";

impl ValueFact {
    pub(super) fn about(&self) -> About {
        match self {
            Self::UnknownKey { suggestion, elsewhere, quoted, known, .. } => About::error(
                "unknown-key",
                did_you_mean(suggestion.as_ref(), || match (quoted, elsewhere) {
                    (Some(header), _) => format!("a name with dots must be quoted: write `{header}`"),
                    (None, Some(table)) => format!("it belongs to {table}"),
                    (None, None) if known.is_empty() => "remove it".to_owned(),
                    (None, None) => format!("known here: {}", known.join(", ")),
                }),
            ),
            Self::MissingKey { hint, .. } => About::error("missing-key", *hint),
            Self::WrongType { key, doc, .. } => About::error("wrong-type", format!("`{key}`: {doc}")),
            Self::BadChoice { choices, suggestion, .. } => {
                About::error("bad-choice", did_you_mean(suggestion.as_ref(), || format!("write {}", one_of(choices))))
            }
            Self::BadSize { .. } => About::error(
                "bad-size",
                "write a number of bytes, or text with a unit, B, KiB, MiB or GiB: `65536` or `\"64 KiB\"`",
            ),
            Self::BadDuration { .. } => About::error(
                "bad-duration",
                "write text with a unit, ms, s, min, h or d: `\"250 ms\"`, `\"10 s\"` or `\"1 h\"`",
            ),
            Self::OutOfRange { key, .. } if key == "version" => About::error("out-of-range", VERSION),
            Self::OutOfRange { min, max, or_off, .. } => {
                let off = if *or_off { ", or `\"off\"`" } else { "" };
                About::error("out-of-range", format!("write a value from {min} to {max}{off}"))
            }
            Self::UnsupportedVersion { .. } => About::error("unsupported-version", VERSION),
        }
    }
}

impl fmt::Display for ValueFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, table, .. } => write!(f, "unknown key `{key}` in {table}"),
            Self::MissingKey { key, table, .. } => write!(f, "`{key}` is missing in {table}"),
            Self::WrongType { key, expected, found, .. } => write!(f, "`{key}` is {found}, expected {expected}"),
            Self::BadChoice { key, value, .. } => write!(f, "`{value}` is not a value of `{key}`"),
            Self::BadSize { key, value } => write!(f, "`{value}` is not a size for `{key}`"),
            Self::BadDuration { key, value } => write!(f, "`{value}` is not a duration for `{key}`"),
            Self::OutOfRange { key, value, .. } => write!(f, "`{value}` is out of the range of `{key}`"),
            Self::UnsupportedVersion { found } => {
                write!(f, "`version = {found}` is not a version that this relay knows")
            }
        }
    }
}
