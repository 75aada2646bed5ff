//! The rates of `[limits]` by which requests, commands and connections are refused.

/// What is limited to a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it")]
pub enum Rate {
    AuthFailures,
    Commands,
    Connects,
    Publishes,
}

impl Rate {
    /// Its name in `[limits]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthFailures => "auth_failures",
            Self::Commands => "commands",
            Self::Connects => "connect_rate",
            Self::Publishes => "publish_rate",
        }
    }
}
