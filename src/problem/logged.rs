//! What a log line says of a refusal: nothing of it comes from a payload.

use crate::problem::{Refusal, Violation};

impl Refusal {
    /// The topics that may not be used; empty if they were not the reason.
    pub fn topics(&self) -> &str {
        match self {
            Self::Anonymous { topics, .. } | Self::Forbidden { topics, .. } => topics.as_str(),
            Self::UnknownTopic { topic, .. } => topic,
            _ => "",
        }
    }

    /// Which limit is reached: many have the same problem.
    pub fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Overloaded { what, .. } => Some(what),
            Self::Batch(items) => items.first().and_then(|(_, first)| first.cause()),
            _ => None,
        }
    }

    /// The keyword that refused the payload first, and where it stands in the schema.
    pub fn rule(&self) -> Option<(&str, &str)> {
        let violation = self.first_violation()?;
        Some((&violation.keyword, &violation.schema_pointer))
    }

    /// Where in the payload it is must not be logged: that path contains names from the payload.
    fn first_violation(&self) -> Option<&Violation> {
        match self {
            Self::ValidationFailed { violations, .. } => violations.first(),
            Self::Batch(items) => items.first().and_then(|(_, first)| first.first_violation()),
            _ => None,
        }
    }
}
