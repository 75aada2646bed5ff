//! Keys and strings in a text that may not parse: what they look like, and where in the table of keys a key leads.

use std::ops::Range;

use super::keys::{self, Type};
use crate::spelling::nearest;

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
            '\r' | '\n' => return at,
            _ if c == quote && !escaped => return at + 1,
            // An escaped quote does not end the string, except in one without escapes.
            _ => escaped = c == '\\' && !escaped && quote == '"',
        }
    }
    text.len()
}

/// The length of a string, which may have several lines. If it has no end, all of its line may be part of it.
pub(super) fn quoted_length(text: &str) -> usize {
    let Some(quotes) = QUOTES.iter().find(|quotes| text.starts_with(**quotes)) else { return text_length(text) };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(quotes.len()) {
        if !escaped && text[at..].starts_with(quotes) {
            // It may end in up to two quotes of its own.
            let end = at + quotes.len();
            let own = text[end..].bytes().take(2).take_while(|byte| *byte == quotes.as_bytes()[0]).count();
            return end + own;
        }
        escaped = c == '\\' && !escaped && *quotes == QUOTES[0];
    }
    text.find(['\r', '\n']).unwrap_or(text.len())
}

/// The length of the value of `secret` or `sha256`, of which so much is on its first line; 0 for a table that says where
/// the secret is.
pub(super) fn secret_length(rest: &str, end_of_line: usize) -> usize {
    for quotes in QUOTES {
        if let Some(inner) = rest.strip_prefix(quotes) {
            return inner.find(quotes).map_or(rest.len(), |end| end + 2 * quotes.len());
        }
    }
    match rest.chars().next() {
        Some('{') if ["env", "file", "{}"].iter().any(|key| rest[..end_of_line].contains(key)) => 0,
        Some('"' | '\'') => text_length(rest),
        _ => end_of_line,
    }
}

/// Where a multi-line string that begins in this part of a text has its content, and its quotes.
pub(super) fn block(text: &str, part: Range<usize>) -> Option<(usize, &'static str)> {
    let mut quotes = text.get(part.clone())?.match_indices(['"', '\'']).map(|(at, _)| part.start + at);
    quotes.find_map(|at| QUOTES.iter().find(|quotes| text[at..].starts_with(**quotes)).map(|quotes| (at + 3, *quotes)))
}

/// The part of a text before a line that may begin the table of a token: such a line counts even in what seems to be a
/// string, because the quotes may be wrong.
pub(super) fn before_tokens(text: &str) -> usize {
    let lines = text.match_indices(['\r', '\n']).map(|(at, _)| at + 1);
    let begins = |at: &usize| {
        let line = text[*at..].trim_start_matches(BLANKS).trim_start_matches('[');
        Dotted::read(line).is_some_and(|key| is_tokens(key.first()))
    };
    lines.into_iter().find(begins).unwrap_or(text.len())
}

/// Whether this is `tokens`, or was meant to be.
pub(super) fn is_tokens(name: &str) -> bool {
    name == "tokens" || (keys::find("", name).is_none() && nearest(name, ["tokens"]).is_some())
}

/// Whether a text is almost certainly the name of an environment variable. A secret without small letters is less
/// usual.
pub fn is_variable(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a text is almost certainly a path. A secret with neither `/` nor `.` is more usual than such a file.
pub fn is_path(text: &str) -> bool {
    text.contains(['/', '.'])
}
