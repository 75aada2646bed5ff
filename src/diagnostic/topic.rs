//! Facts about `[topics.*]`.

use std::fmt;

use super::About;

/// What is wrong with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum TopicFact {
    None,
    BadName {
        name: String,
        why: String,
    },
    Duplicate {
        name: String,
    },
    /// `sample` is a topic that would belong to both.
    Overlap {
        name: String,
        other: String,
        sample: String,
    },
    Unreachable {
        name: String,
    },
    BadSchemaPath {
        path: String,
    },
    SchemaOutside {
        path: String,
    },
    HistoryBelowBody {
        topic: String,
        bytes: String,
        body: String,
    },
    BadExample,
    NotJson {
        what: String,
    },
    /// `why` has a sentence for each of the first violations, with its pointer.
    ExampleRefused {
        topic: String,
        why: Vec<String>,
    },
    ExampleAccepted {
        topic: String,
    },
}

impl TopicFact {
    pub(super) fn about(&self) -> About {
        match self {
            Self::None => {
                About::warning("no-topics", "declare one: `[topics.cats]` with `schema = \"schemas/cat.json\"`")
            }
            Self::BadName { .. } => About::error(
                "bad-topic-name",
                "a name is segments of A-Z, a-z, 0-9, _ and - joined by dots; `{region}` as a segment makes it a family",
            ),
            Self::Duplicate { .. } => About::error("duplicate-topic", "keep one of them"),
            Self::Overlap { sample, .. } => About::error(
                "overlapping-topics",
                format!(
                    "`{sample}` would belong to both: give the two families different fixed segments in the same place"
                ),
            ),
            Self::Unreachable { .. } => About::warning(
                "unreachable-topic",
                "grant `publish` or `subscribe` on it to a token, or to `[anonymous]`",
            ),
            Self::BadSchemaPath { .. } => About::error(
                "bad-schema-path",
                "write a path relative to relay.toml, such as `schemas/cat.json`, or `any` to accept all JSON",
            ),
            Self::SchemaOutside { .. } => {
                About::error("schema-outside", "move the schema into relay.toml's directory or below it")
            }
            Self::HistoryBelowBody { .. } => About::error(
                "history-below-body",
                "the history must be able to hold any single message: raise `history.bytes` or lower `limits.body`",
            ),
            Self::BadExample => About::error("bad-example", "write `valid = …` or `invalid = …`, one for each example"),
            Self::NotJson { .. } => About::error("not-json", "write another value"),
            Self::ExampleRefused { why, .. } => {
                About::error("example-refused", format!("fix the example or the schema: {}", why.join("; ")))
            }
            Self::ExampleAccepted { .. } => {
                About::error("example-accepted", "make the schema stricter, or make the example a `valid` one")
            }
        }
    }
}

impl fmt::Display for TopicFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no topic is declared: nothing can be published"),
            Self::BadName { name, why } => write!(f, "`{name}` is not a topic name: {why}"),
            Self::Duplicate { name } => write!(f, "topic `{name}` is declared twice"),
            Self::Overlap { name, other, .. } => write!(f, "the families `{name}` and `{other}` overlap"),
            Self::Unreachable { name } => write!(f, "nobody may publish or subscribe to `{name}`"),
            Self::BadSchemaPath { path } => write!(f, "`{path}` is not a path of a schema file"),
            Self::SchemaOutside { path } => write!(f, "the schema `{path}` leads out of relay.toml's directory"),
            Self::HistoryBelowBody { topic, bytes, body } => {
                write!(f, "`history.bytes` of `{topic}` ({bytes}) is below `limits.body` ({body})")
            }
            Self::BadExample => f.write_str("an example is either `valid` or `invalid`"),
            Self::NotJson { what } => f.write_str(what),
            Self::ExampleRefused { topic, .. } => {
                write!(f, "the schema of `{topic}` refuses an example marked `valid`")
            }
            Self::ExampleAccepted { topic } => {
                write!(f, "the schema of `{topic}` accepts an example marked `invalid`")
            }
        }
    }
}
