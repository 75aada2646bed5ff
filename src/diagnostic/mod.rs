//! Diagnostics: everything that can be wrong with a configuration, as facts, and how facts are shown to people, to
//! programs and to GitHub.
//!
//! A fact holds what was found. Its sentence, code and help are written here and nowhere else, in one file for each
//! part of the configuration. Knows nothing of how facts are found. Holds no secret: sources are masked before they
//! come here.

pub mod change;
pub mod file;
pub mod render;
pub mod server;
pub mod sources;
pub mod token;
pub mod topic;
pub mod value;

use std::borrow::Borrow;
use std::fmt;

pub use self::change::ChangeFact;
pub use self::file::FileFact;
pub use self::server::{ServerFact, TlsFault};
pub use self::sources::Sources;
pub use self::token::TokenFact;
pub use self::topic::TopicFact;
pub use self::value::ValueFact;
use crate::config::model::Span;
use crate::schema::compile::SchemaFaultKind;

/// One thing that is wrong or suspicious, with its place.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// What was found.
    pub fact: Fact,
    /// Its place; `None` if there is no text to point into.
    pub place: Option<Span>,
    /// Other places that matter to it.
    pub related: Vec<Related>,
}

/// Another place that matters to a diagnostic.
#[derive(Debug, Clone)]
pub struct Related {
    /// Where.
    pub span: Span,
    /// A few words on what is there.
    pub label: &'static str,
}

impl Diagnostic {
    /// A fact and its place.
    pub fn new(fact: impl Into<Fact>, place: impl Into<Option<Span>>) -> Self {
        Self { fact: fact.into(), place: place.into(), related: Vec::new() }
    }

    /// Adds another place.
    #[must_use]
    pub fn related(mut self, span: Span, label: &'static str) -> Self {
        self.related.push(Related { span, label });
        self
    }

    /// Whether it makes the configuration unusable.
    pub fn is_error(&self) -> bool {
        self.fact.about().severity == Severity::Error
    }
}

/// Whether these diagnostics make a configuration unusable.
pub fn any_error(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Sorts diagnostics by file and place.
pub fn sort<D: Borrow<Diagnostic>>(diagnostics: &mut [D]) {
    let place = |diagnostic: &D| diagnostic.borrow().place.as_ref().map(|span| (span.file, span.bytes.start));
    diagnostics.sort_by_key(place);
}

/// How serious a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but probably does not do what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Everything about a fact except its sentence.
pub struct About {
    /// A stable code in kebab-case.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What to do about it.
    pub help: String,
}

impl About {
    fn error(code: &'static str, help: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, help: help.into() }
    }

    fn warning(code: &'static str, help: impl Into<String>) -> Self {
        Self { code, severity: Severity::Warning, help: help.into() }
    }
}

/// What was found, by part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The files themselves and their syntax.
    File(FileFact),
    /// Keys and the form of their values.
    Value(ValueFact),
    /// `[server]`, `[limits]`
    Server(ServerFact),
    /// `[topics.*]`
    Topic(TopicFact),
    /// `[tokens.*]`, `[anonymous]`
    Token(TokenFact),
    /// The schema files.
    Schema(SchemaFaultKind),
    /// The change from the running configuration.
    Change(ChangeFact),
}

impl Fact {
    /// Its code, severity and help.
    pub fn about(&self) -> About {
        match self {
            Self::File(fact) => fact.about(),
            Self::Value(fact) => fact.about(),
            Self::Server(fact) => fact.about(),
            Self::Topic(fact) => fact.about(),
            Self::Token(fact) => fact.about(),
            Self::Schema(fault) => {
                let severity = if fault.is_warning() { Severity::Warning } else { Severity::Error };
                About { code: fault.code(), severity, help: fault.help().into_owned() }
            }
            Self::Change(fact) => fact.about(),
        }
    }

    /// Whether it may be over in a moment, because somebody is replacing several files one after the other.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::File(FileFact::IncludeNowhere { .. }) | Self::Server(ServerFact::BadTls(_)))
    }

    /// Whether it says that something is missing, which in a file with syntax errors may only follow from those.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Value(ValueFact::MissingKey { .. })
                | Self::Topic(TopicFact::BadExample)
                | Self::Token(TokenFact::NoSecret { .. } | TokenFact::NoGrants { .. })
        )
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(fact) => fact.fmt(f),
            Self::Value(fact) => fact.fmt(f),
            Self::Server(fact) => fact.fmt(f),
            Self::Topic(fact) => fact.fmt(f),
            Self::Token(fact) => fact.fmt(f),
            Self::Schema(fault) => fault.fmt(f),
            Self::Change(fact) => fact.fmt(f),
        }
    }
}

fn did_you_mean(suggestion: Option<&String>, otherwise: impl FnOnce() -> String) -> String {
    match suggestion {
        Some(word) => format!("did you mean `{word}`?"),
        None => otherwise(),
    }
}

/// `a`, `b` or `c`
fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

impl From<ChangeFact> for Fact {
    fn from(fact: ChangeFact) -> Self {
        Self::Change(fact)
    }
}

impl From<FileFact> for Fact {
    fn from(fact: FileFact) -> Self {
        Self::File(fact)
    }
}

impl From<ValueFact> for Fact {
    fn from(fact: ValueFact) -> Self {
        Self::Value(fact)
    }
}

impl From<ServerFact> for Fact {
    fn from(fact: ServerFact) -> Self {
        Self::Server(fact)
    }
}

impl From<TlsFault> for Fact {
    fn from(fault: TlsFault) -> Self {
        Self::Server(ServerFact::BadTls(fault))
    }
}

impl From<TopicFact> for Fact {
    fn from(fact: TopicFact) -> Self {
        Self::Topic(fact)
    }
}

impl From<TokenFact> for Fact {
    fn from(fact: TokenFact) -> Self {
        Self::Token(fact)
    }
}

impl From<SchemaFaultKind> for Fact {
    fn from(fault: SchemaFaultKind) -> Self {
        Self::Schema(fault)
    }
}
