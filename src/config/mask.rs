//! Texts without their secrets, for diagnostics to show.
//!
//! A secret is as easily under a mistyped key, behind a `:` or in a comment as where it belongs. So in a token's table, or
//! one that may be a misspelt one, everything is masked that is not known to be harmless. Works on text that does not
//! parse.

use std::ops::Range;

use super::keys;
use crate::spelling::nearest;

/// The text with every character of a secret or digest replaced by `*`, or by another one that is as long, so that no
/// diagnostic can show it and every place stays where it is.
pub fn mask(text: &str) -> String {
    let start = text.len() - text.strip_prefix(MARK).unwrap_or(text).len();
    let mut scanner = Scanner { text, at: start, is_token: false, hidden: Vec::new() };
    scanner.named();
    scanner.pem();
    scanner.run(start);
    let mut is_hidden = vec![false; text.len()];
    // Ranges overlap, in a text of thousands of secrets each to the end: each byte is filled once.
    scanner.hidden.sort_by_key(|range| range.start);
    let mut filled = 0;
    for range in scanner.hidden {
        let start = range.start.max(filled).min(range.end);
        is_hidden[start..range.end].fill(true);
        filled = filled.max(range.end);
    }
    let shown = |(at, c): (usize, char)| match c.len_utf8() {
        _ if !is_hidden[at] || "\"'\r\n".contains(c) => c,
        length => MASKS[length - 1],
    };
    text.char_indices().map(shown).collect()
}

/// What stands for a character of one byte, of two, three and four.
pub(super) const MASKS: [char; 4] = ['*', '\u{b7}', '\u{2022}', '\u{1f784}'];
/// The byte order mark that some editors put in front of a file: TOML takes it, and it is no part of the first key.
const MARK: char = '\u{feff}';
/// What a private key begins with, and a certificate (RFC 7468).
pub const PEM: &str = "-----BEGIN ";
/// Keys of a token whose values may be shown.
const OPEN: [&str; 7] = ["publish", "subscribe", "register", "user", "not_after", "env", "file"];
/// What ends a value, where no more of it can come.
const ENDS: [char; 6] = [',', '}', ']', '#', '\r', '\n'];
const BLANKS: [char; 2] = [' ', '\t'];
const QUOTES: [&str; 2] = ["\"\"\"", "'''"];

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// In a table that could be a token's.
    is_token: bool,
    hidden: Vec<Range<usize>>,
}

impl<'t> Scanner<'t> {
    /// Hides what follows `secret =` and `sha256 =`, wherever that is, unless it is a table.
    fn named(&mut self) {
        for word in ["secret", "sha256"] {
            // Looked for once for each line: one line may have thousands of them.
            let mut end_of_line = 0;
            for (at, _) in self.text.match_indices(word) {
                let value = self.skip(at + word.len(), &[' ', '\t', '"', '\'']);
                if self.text[value..].starts_with(['=', ':']) {
                    let value = self.skip(value + 1, &BLANKS);
                    if value > end_of_line {
                        end_of_line = self.text[value..].find('\n').map_or(self.text.len(), |end| value + end);
                    }
                    self.hidden.push(value..value + secret_length(&self.text[value..], end_of_line - value));
                }
            }
        }
    }

    /// Hides keys that are written out where a file is to be named; without an end, all that follows may be of it.
    fn pem(&mut self) {
        let mut hidden = 0;
        for (at, _) in self.text.match_indices(PEM) {
            if at < hidden {
                continue;
            }
            let end = self.text[at..].find("-----END ").map_or(self.text.len(), |end| at + end);
            let rest = &self.text[end..];
            hidden = end + rest.find(['"', '\'', '\n']).unwrap_or(rest.len());
            self.hidden.push(at..hidden);
        }
    }

    fn run(&mut self, start: usize) {
        while let Some(next) = self.text[self.at..].chars().next() {
            let begins = self.at == start || self.text.as_bytes()[self.at - 1] == b'\n';
            if begins && self.header() {
                continue;
            }
            // Until the next header: where the statement ends cannot be told in a text that does not parse.
            self.is_token |= begins && key(self.rest()).is_some_and(|key| is_tokens(key.first));
            match next {
                _ if !self.is_token => self.at = self.end_of_line() + 1,
                ' ' | '\t' | '\r' | '\n' | ',' | '{' | '}' | '[' | ']' => self.at += 1,
                '#' => self.comment(),
                _ => match key(self.rest()) {
                    Some(Key { last, length, .. }) if self.is_pair(last, length) => {
                        self.at += length + 1;
                        self.value(OPEN.contains(&last) && !is_misplaced(last, self.rest()));
                    }
                    _ => self.hide_line(),
                },
            }
            self.at = self.at.min(self.text.len());
        }
    }

    /// Passes `[tokens.shop]`, which says what the lines after it are about; answers whether there was one.
    fn header(&mut self) -> bool {
        let line = self.rest().trim_start_matches(BLANKS);
        let Some(inner) = line.strip_prefix("[[").or_else(|| line.strip_prefix('[')) else { return false };
        let Some(key) = key(inner) else { return false };
        // `["…"]` in a token may be the list in which a secret was written on a line of its own, and whatever follows a
        // key without a value is meant to be that.
        let is_item = key.is_one && inner.trim_start_matches(BLANKS).starts_with(['"', '\'']);
        if self.is_token && (is_item || self.is_awaited()) && keys::find("", key.first).is_none() {
            return false;
        }
        let behind = &inner[key.length..];
        let end = behind.strip_prefix("]]").or_else(|| behind.strip_prefix(']'));
        let end = end.map(|end| end.trim_start_matches(BLANKS));
        let is_whole = end.is_some_and(|end| end.is_empty() || end.starts_with(['#', '\r', '\n']));
        if !is_whole && !is_tokens(key.first) {
            return false;
        }
        // A table that nobody knows may have been meant for a token.
        self.is_token = key.first == "tokens" || keys::find("", key.first).is_none();
        self.at = self.text.len() - end.unwrap_or(behind).len();
        match self.is_token {
            true if self.rest().starts_with('#') => self.comment(),
            true if !is_whole => self.hide_line(),
            _ => {}
        }
        self.at = (self.end_of_line() + 1).min(self.text.len());
        true
    }

    /// Whether the last line that says anything has a key and no value.
    fn is_awaited(&self) -> bool {
        let lines = self.text[..self.at].lines().rev().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.into_iter().find(|line| !line.is_empty()).is_some_and(|line| line.ends_with(['=', ':']))
    }

    /// Whether the key that comes next, which is so long, has a value. What nobody knows and has two `=`, or nothing behind
    /// its `=`, is a secret in base64 rather, which ends with such.
    fn is_pair(&self, last: &str, length: usize) -> bool {
        let behind = &self.text[self.at + length..self.end_of_line()];
        let shown = behind.split('#').next().unwrap_or_default().trim_end();
        let is_bare = shown.trim_end_matches(['"', '\'', ',', ';', ']', '}']).chars().all(|c| c == '=');
        let is_known = ["tokens.<name>", "tokens.<name>.secret"].iter().any(|table| keys::find(table, last).is_some());
        behind.starts_with(['=', ':']) && (is_known || !(is_bare || behind.starts_with("==")))
    }

    /// Passes a value, or what of it comes before its first member or item.
    fn value(&mut self, is_open: bool) {
        self.at = self.skip(self.at, &BLANKS);
        let rest = self.rest();
        match rest.chars().next() {
            Some('[') if is_open => return self.open_list(),
            Some('{' | '[') => return,
            _ if QUOTES.iter().any(|quotes| rest.starts_with(quotes)) => self.hide_line(),
            Some('"' | '\'') => {
                let length = text_length(rest);
                if !is_open {
                    self.hidden.push(self.at..self.at + length);
                }
                self.at += length;
            }
            _ if is_open => self.open_word(),
            _ => {}
        }
        self.at = self.skip(self.at, &BLANKS);
        if !self.rest().is_empty() && !self.rest().starts_with(ENDS) {
            self.hide_line();
        }
    }

    /// Passes a number or a moment, whose date and time may stand apart.
    fn open_word(&mut self) {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || ":+-._".contains(c);
        self.at = self.skip_while(is_of_word);
        if self.rest().strip_prefix(' ').is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            self.at = self.skip_while(is_of_word);
        }
    }

    /// Passes texts, as far as there are: where the list has no end, what comes next is no item.
    fn open_list(&mut self) {
        self.at += 1;
        while let Some(next) = self.rest().chars().next() {
            match next {
                ' ' | '\t' | '\r' | '\n' | ',' => self.at += 1,
                '#' => self.comment(),
                '"' | '\'' if !QUOTES.iter().any(|quotes| self.rest().starts_with(quotes)) => {
                    self.at += text_length(self.rest());
                }
                _ => return,
            }
        }
    }

    fn comment(&mut self) {
        let end = self.end_of_line();
        let start = self.skip(self.at + 1, &BLANKS).min(end);
        self.hidden.push(start..end);
        self.at = end;
    }

    /// Hides the rest of the line, and a text of several lines that begins in it.
    fn hide_line(&mut self) {
        let end = self.end_of_line();
        let line = &self.text[self.at..end];
        let opened = QUOTES.iter().filter_map(|quotes| Some((line.find(quotes)?, quotes))).min();
        let end = opened.map_or(end, |(at, quotes)| {
            let inner = self.at + at + quotes.len();
            self.text[inner..].find(quotes).map_or(self.text.len(), |close| inner + close + quotes.len())
        });
        self.hidden.push(self.at..end);
        self.at = end;
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn end_of_line(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |end| self.at + end)
    }

    fn skip(&self, from: usize, what: &[char]) -> usize {
        self.text.len() - self.text[from..].trim_start_matches(what).len()
    }

    fn skip_while(&self, what: impl Fn(char) -> bool) -> usize {
        self.text.len() - self.rest().trim_start_matches(what).len()
    }
}

/// A key with dots, and what is blank after it.
struct Key<'t> {
    first: &'t str,
    last: &'t str,
    /// Whether it has no dots.
    is_one: bool,
    length: usize,
}

/// The key that a text begins with; quotes are no part of its names.
fn key(text: &str) -> Option<Key<'_>> {
    let mut first = None;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(BLANKS);
        let is_quoted = rest.starts_with(['"', '\'']);
        let length = match is_quoted {
            true => text_length(rest),
            false => rest.find(|c: char| !c.is_alphanumeric() && !"_-".contains(c)).unwrap_or(rest.len()),
        };
        let (name, behind) = rest.split_at(length);
        let name = if is_quoted { name.get(1..length - 1)? } else { name };
        if let (0, Some(first)) = (length, first) {
            // Nothing follows its last dot: what was meant is known by its first name all the same.
            return Some(Key { first, last: "", is_one: false, length: text.len() - rest.len() });
        }
        if length == 0 || (is_quoted && !rest[..length].ends_with(&rest[..1])) {
            return None;
        }
        let is_one = first.is_none();
        let first = *first.get_or_insert(name);
        rest = behind.trim_start_matches(BLANKS);
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Some(Key { first, last: name, is_one, length: text.len() - rest.len() }),
        }
    }
}

/// Whether what is to name a variable or a file may be the secret itself: it is no such name.
fn is_misplaced(key: &str, rest: &str) -> bool {
    let text = rest.trim_start_matches(BLANKS);
    let is_quoted = text.starts_with(['"', '\'']);
    let name = if is_quoted { text[..text_length(text)].trim_matches(['"', '\'']) } else { "" };
    match key {
        "env" => !is_quoted || !is_variable(name),
        "file" => !is_quoted || !is_path(name),
        _ => false,
    }
}

/// Whether a text is surely meant for the name of an environment variable: a secret without small letters is less usual
/// than such a name.
pub fn is_variable(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a text is surely meant for a path: a secret without `/` and `.` is more usual than such a file.
pub fn is_path(text: &str) -> bool {
    text.contains(['/', '.'])
}

/// Whether this is `tokens`, or was to be.
fn is_tokens(name: &str) -> bool {
    name == "tokens" || (keys::find("", name).is_none() && nearest(name, ["tokens"]).is_some())
}

/// A text on one line, with its quotes; without an end, all of the line may be of it.
fn text_length(text: &str) -> usize {
    let Some(quote) = text.chars().next() else { return 0 };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if c == quote && !escaped => return at + 1,
            // An escaped quote does not end it, but where there are no escapes.
            _ => escaped = c == '\\' && !escaped && quote == '"',
        }
    }
    text.len()
}

fn secret_length(rest: &str, end_of_line: usize) -> usize {
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

#[cfg(test)]
#[path = "mask_test.rs"]
mod tests;
