//! Keys and strings in a text that may not parse, and where in the table of keys a key leads.

use super::keys::{self, Type};

/// A place in a file, as the table of keys has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// In this table.
    Table(&'static str),
    /// In a table whose keys are names of the user's choice, each of a table of this path.
    Names(&'static str),
    /// In the value of a key.
    Value(Type),
    /// Below a key that does not exist.
    Nowhere,
}

/// A dotted key, with the white space after it.
pub(super) struct Dotted<'t> {
    /// Its names, without their quotes. The last one is empty if nothing follows the last dot.
    pub names: Vec<&'t str>,
    pub length: usize,
}

pub(super) const BLANKS: [char; 2] = [' ', '\t'];
pub(super) const QUOTES: [&str; 2] = ["\"\"\"", "'''"];

impl Place {
    /// The place of what a key holds. The key is looked up here; of a key that does not exist, the rest is looked up
    /// where it was not found, because a name with dots may lack its quotes. Returns also whether its last name exists.
    pub fn of(self, key: &Dotted<'_>) -> (Self, bool) {
        key.names.iter().fold((self, true), |(place, _), name| match place.step(name) {
            Some(next) => (next, true),
            None => (place, false),
        })
    }

    fn step(self, name: &str) -> Option<Self> {
        match self {
            Self::Table(path) => keys::find(path, name).map(|key| match (key.below(), key.value) {
                (Some(table), Type::Named) => Self::Names(table),
                (Some(table), _) => Self::Table(table),
                (None, value) => Self::Value(value),
            }),
            Self::Names(table) => Some(Self::Table(table)),
            Self::Value(Type::Json) => Some(self),
            Self::Value(_) | Self::Nowhere => None,
        }
    }
}

impl<'t> Dotted<'t> {
    /// The key at the start of a text.
    pub fn read(text: &'t str) -> Option<Self> {
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(BLANKS);
            let is_quoted = rest.starts_with(['"', '\'']);
            let length = match is_quoted {
                true => text_length(rest),
                false => rest.find(|c: char| !c.is_alphanumeric() && !"_-".contains(c)).unwrap_or(rest.len()),
            };
            let (name, behind) = rest.split_at(length);
            if length == 0 && !names.is_empty() {
                // The names before its last dot still show what was meant.
                names.push("");
                return Some(Self { names, length: text.len() - rest.len() });
            }
            if length == 0 || (is_quoted && !(length > 1 && name.ends_with(&name[..1]))) {
                return None;
            }
            names.push(if is_quoted { &name[1..length - 1] } else { name });
            rest = behind.trim_start_matches(BLANKS);
            match rest.strip_prefix('.') {
                Some(next) => rest = next,
                None => return Some(Self { names, length: text.len() - rest.len() }),
            }
        }
    }

    pub fn first(&self) -> &'t str {
        self.names.first().copied().unwrap_or_default()
    }

    pub fn last(&self) -> &'t str {
        self.names.last().copied().unwrap_or_default()
    }
}

/// The length of a string on one line, quotes included. If it has no end, the rest of the line may be part of it.
pub(super) fn text_length(text: &str) -> usize {
    let Some(quote) = text.chars().next() else { return 0 };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if c == quote && !escaped => return at + 1,
            // An escaped quote does not end the string, except in one without escapes.
            _ => escaped = c == '\\' && !escaped && quote == '"',
        }
    }
    text.len()
}

/// The length of a string, which may have several lines. If it has no end, all of its line may be part of it.
pub(super) fn quoted_length(text: &str) -> usize {
    for quotes in QUOTES {
        if let Some(inner) = text.strip_prefix(quotes) {
            let end = inner.find(quotes).map(|end| end + 2 * quotes.len());
            return end.unwrap_or_else(|| text.find('\n').unwrap_or(text.len()));
        }
    }
    text_length(text)
}
