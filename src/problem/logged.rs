//! What a log line says of a refusal: nothing of it comes from a payload.

use crate::principal::Principal;
use crate::problem::Refusal;

impl Refusal {
    /// Who was refused. An anonymous caller has no name where a credential was needed.
    pub fn caller<'p>(&self, principal: Option<&'p Principal>) -> &'p str {
        Principal::name_of(principal.filter(|principal| principal.token.is_some() || self.status() != 401))
    }

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
}
