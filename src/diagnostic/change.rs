//! Facts about the change from the configuration in force to the one in the files: only a reload can find them.

use std::fmt;

use super::About;

/// What is wrong with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum ChangeFact {
    /// The server would have to be started again.
    RestartOnly { key: String, old: String, new: String },
    /// A topic with `compatibility`, or some of such a family, would be gone.
    Removes { topic: String, in_part: bool },
    /// What `compatibility` protects would break. `lost` is a schema, `example` a value, as JSON text.
    Breaks { topic: String, whom: Whom, protected: bool, lost: Option<String>, example: Option<String> },
    /// Whether it would break could not be found out.
    Unknown { topic: String, whom: Whom, why: String },
}

/// For whom a change of a schema is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whom {
    /// They would be refused.
    Publishers,
    /// They would get what they have never got.
    Subscribers,
}

impl ChangeFact {
    pub(super) fn about(&self) -> About {
        match self {
            Self::RestartOnly { key, .. } => {
                About::error("restart-only", format!("undo the change of `{key}`, or restart relay to apply it"))
            }
            Self::Removes { .. } => About::warning(
                "removes-protected-topic",
                "`compatibility` is about schemas and ends with its topic: make sure that nobody publishes or subscribes \
                 there any more",
            ),
            Self::Breaks { whom, protected, lost, example, .. } => {
                let help = breaks_help(*whom, *protected, lost.as_deref(), example.as_deref());
                match (protected, whom) {
                    (false, _) => About::warning("breaking-change", help),
                    (true, Whom::Publishers) => About::error("breaks-publishers", help),
                    (true, Whom::Subscribers) => About::error("breaks-subscribers", help),
                }
            }
            Self::Unknown { whom: Whom::Publishers, .. } => About::error(
                "compatibility-unknown",
                "what cannot be proved counts as breaking: try it as `schema_next`, which may take its place once it has \
                 refused none of 100 messages, or set `compatibility = \"none\"` in a save of its own",
            ),
            Self::Unknown { whom: Whom::Subscribers, .. } => About::error(
                "compatibility-unknown",
                "what cannot be proved counts as breaking: change less at once, or first save `compatibility = \"none\"` \
                 alone",
            ),
        }
    }
}

fn breaks_help(whom: Whom, protected: bool, lost: Option<&str>, example: Option<&str>) -> String {
    let mut help = String::new();
    if let Some(lost) = lost {
        let what = match whom {
            Whom::Publishers => "no longer accepted",
            Whom::Subscribers => "newly delivered",
        };
        help.push_str(&format!("{what}: {lost}\n"));
    }
    if let Some(example) = example {
        help.push_str(&format!("for example: {example}\n"));
    }
    help.push_str(match protected {
        true => "make a compatible change, or first save `compatibility = \"none\"` alone and then this change",
        false => "set `compatibility` on the topic to have such a change refused",
    });
    help
}

impl fmt::Display for ChangeFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RestartOnly { key, old, new } => {
                write!(f, "`{key}` cannot change while relay runs: it is `{old}` and would be `{new}`")
            }
            Self::Removes { topic, in_part } => {
                let what = if *in_part { ["some topics of ", "are"] } else { ["", "is"] };
                write!(f, "{}`{topic}` {} removed, although `compatibility` is set", what[0], what[1])
            }
            Self::Breaks { topic, whom: Whom::Publishers, .. } => {
                write!(f, "the new schema of `{topic}` refuses messages that the old one accepts")
            }
            Self::Breaks { topic, whom: Whom::Subscribers, .. } => {
                write!(f, "the new schema of `{topic}` accepts messages that the old one refuses")
            }
            Self::Unknown { topic, whom, why } => {
                let whom = match whom {
                    Whom::Publishers => "publishers",
                    Whom::Subscribers => "subscribers",
                };
                write!(f, "whether the new schema of `{topic}` breaks {whom} could not be proved: {why}")
            }
        }
    }
}
