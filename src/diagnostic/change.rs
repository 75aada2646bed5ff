//! Facts about the change from the running configuration to the one in the files, which only a reload can find.

use std::fmt;

use super::About;

/// What is wrong with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum ChangeFact {
    /// Only a restart could apply it.
    RestartOnly { key: String, old: String, new: String },
    /// A topic with `compatibility`, or part of such a family, would be removed.
    Removes { topic: String, in_part: bool },
    /// It would break what `compatibility` protects. `lost` is a schema and `example` a value, both as JSON text; `why`
    /// says what is wrong with the value under the schema that refuses it.
    Breaks {
        topic: String,
        whom: Whom,
        protected: bool,
        lost: Option<String>,
        example: Option<String>,
        why: Option<String>,
    },
    /// It may break something. If the two schemas are comparable, more may be known about parts of the change.
    Unknown { topic: String, whom: Whom, why: String, is_comparable: bool },
}

/// Whom a change of a schema affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whom {
    /// Their messages would be refused.
    Publishers,
    /// They would receive messages that were impossible before.
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
            Self::Breaks { whom, protected, lost, example, why, .. } => {
                let lines = [(whom.of_lost(), lost), ("for example", example), (whom.of_why(), why)];
                let lines = lines.iter().filter_map(|(what, text)| Some(format!("{what}: {}\n", text.as_ref()?)));
                let help = lines.collect::<String>() + advice(*whom, *protected);
                match (protected, whom) {
                    (false, _) => About::warning("breaking-change", help),
                    (true, Whom::Publishers) => About::error("breaks-publishers", help),
                    (true, Whom::Subscribers) => About::error("breaks-subscribers", help),
                }
            }
            Self::Unknown { whom, is_comparable, .. } => About::error(
                "compatibility-unknown",
                format!("what is not known counts as breaking: {}", advice_of_unknown(*whom, *is_comparable)),
            ),
        }
    }
}

impl Whom {
    fn of_lost(self) -> &'static str {
        match self {
            Self::Publishers => "no longer accepted",
            Self::Subscribers => "newly delivered",
        }
    }

    fn of_why(self) -> &'static str {
        match self {
            Self::Publishers => "the new schema says",
            Self::Subscribers => "the old schema said",
        }
    }
}

fn advice(whom: Whom, protected: bool) -> &'static str {
    match (protected, whom) {
        (false, _) => "set `compatibility` on the topic to have such a change refused",
        (true, Whom::Publishers) => {
            "make a compatible change, or first save `compatibility = \"none\"` alone and then this change; \
             docs/reload.md, \"What is refused\", says what each usual change breaks: a new property of an open schema \
             breaks publishers, because it accepted anything under that name"
        }
        (true, Whom::Subscribers) => {
            "make a compatible change, or first save `compatibility = \"none\"` alone and then this change; \
             docs/reload.md, \"What is refused\", says what each usual change breaks"
        }
    }
}

/// Recommends a trial only for publishers: it judges what is published, and shows nothing of what subscribers can read.
fn advice_of_unknown(whom: Whom, is_comparable: bool) -> String {
    if whom == Whom::Publishers {
        return "try it as `schema_next`, which may take its place once it has refused none of 100 messages, or set \
                `compatibility = \"none\"` in a save of its own"
            .to_owned();
    }
    let first = if is_comparable { "if several things change, make one change at a time; else " } else { "" };
    format!(
        "{first}make sure that subscribers can read all that the new schema accepts, save `compatibility` alone without \
         its promise to them (`\"publishers\"` in place of `\"full\"`, else `\"none\"`), and then this change"
    )
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
            Self::Unknown { topic, whom, why, .. } => {
                let whom = match whom {
                    Whom::Publishers => "publishers",
                    Whom::Subscribers => "subscribers",
                };
                write!(f, "whether the new schema of `{topic}` breaks {whom} is not known: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChangeFact, Whom};

    /// Regression: smaller steps were advised for a change of one step, and for schemas that no step makes comparable.
    #[test]
    fn what_is_not_known_has_a_way_out() {
        let help = |whom, is_comparable| {
            let (topic, why) = ("cats".to_owned(), "it has too many alternatives".to_owned());
            ChangeFact::Unknown { topic, whom, why, is_comparable }.about().help.to_string()
        };
        for is_comparable in [true, false] {
            assert!(help(Whom::Publishers, is_comparable).contains("try it as `schema_next`"));
            let help = help(Whom::Subscribers, is_comparable);
            assert!(
                help.contains("`\"publishers\"` in place of `\"full\"`") && !help.contains("schema_next"),
                "{help}"
            );
            assert_eq!(help.contains("if several things change, make one change at a time"), is_comparable, "{help}");
        }
    }
}
