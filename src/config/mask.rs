//! Masks the secrets in a text, so that diagnostics can show the rest.
//!
//! A secret may well be under a mistyped key, after a `:` or in a comment instead of where it belongs. So in a token's
//! table, or in one that may be a misspelt one, everything is masked that is not known to be harmless. Works on texts
//! that do not parse.

use std::ops::Range;

use super::keys;
use crate::spelling::nearest;

/// Masks every character of a secret or digest with `*`, or with another character of the same length in UTF-8, so that
/// every place in the text keeps its offset.
pub fn mask(text: &str) -> String {
    let start = text.len() - text.strip_prefix(MARK).unwrap_or(text).len();
    let mut scanner = Scanner { text, at: start, is_token: false, hidden: Vec::new() };
    scanner.named();
    scanner.pem();
    scanner.run(start);
    let mut is_hidden = vec![false; text.len()];
    // Ranges may overlap, thousands of them up to the end of the text, so fill each byte only once.
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

/// The masks of characters of one, two, three and four bytes.
pub(super) const MASKS: [char; 4] = ['*', '\u{b7}', '\u{2022}', '\u{1f784}'];
/// The byte order mark that some editors write. TOML allows it, and it is not part of the first key.
const MARK: char = '\u{feff}';
/// The beginning of a private key or a certificate (RFC 7468).
pub const PEM: &str = "-----BEGIN ";
/// The keys of a token whose values may be shown.
const OPEN: [&str; 7] = ["publish", "subscribe", "register", "user", "not_after", "env", "file"];
/// Characters that may follow a complete value.
const ENDS: [char; 6] = [',', '}', ']', '#', '\r', '\n'];
const BLANKS: [char; 2] = [' ', '\t'];
const QUOTES: [&str; 2] = ["\"\"\"", "'''"];

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Whether the current table may be a token's.
    is_token: bool,
    hidden: Vec<Range<usize>>,
}

impl<'t> Scanner<'t> {
    /// Hides what follows `secret =` and `sha256 =` anywhere, unless it is a table.
    fn named(&mut self) {
        for word in ["secret", "sha256"] {
            // Searched once per line, which may have thousands of matches.
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

    /// Hides keys pasted in place of a file's name. If one has no end, hides all that follows.
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
            let begins = self.at == start || b"\r\n".contains(&self.text.as_bytes()[self.at - 1]);
            if begins && self.header() {
                continue;
            }
            // Holds until the next header: in a text that does not parse, the end of a statement is unknown.
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

    /// Handles a header such as `[tokens.shop]`, which says what the next lines are about. Returns whether there was
    /// one.
    fn header(&mut self) -> bool {
        let line = self.rest().trim_start_matches(BLANKS);
        let Some(inner) = line.strip_prefix("[[").or_else(|| line.strip_prefix('[')) else { return false };
        let Some(key) = key(inner) else { return false };
        // `["…"]` in a token may be a list, with a secret on a line of its own. And what follows a key without a value
        // is probably that value.
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
        // An unknown table may have been meant for a token.
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

    /// Whether the last line with any content has a key but no value.
    fn is_awaited(&self) -> bool {
        let lines = self.text[..self.at].lines().rev().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.into_iter().find(|line| !line.is_empty()).is_some_and(|line| line.ends_with(['=', ':']))
    }

    /// Whether the next key, of this length, has a value. An unknown word followed by two `=`, or by `=` and nothing,
    /// is rather a secret in base64, which ends like that.
    fn is_pair(&self, last: &str, length: usize) -> bool {
        let behind = &self.text[self.at + length..self.end_of_line()];
        let shown = behind.split('#').next().unwrap_or_default().trim_end();
        let is_bare = shown.trim_end_matches(['"', '\'', ',', ';', ']', '}']).chars().all(|c| c == '=');
        let is_known = ["tokens.<name>", "tokens.<name>.secret"].iter().any(|table| keys::find(table, last).is_some());
        behind.starts_with(['=', ':']) && (is_known || !(is_bare || behind.starts_with("==")))
    }

    /// Skips a value, or the part of it before its first member or item.
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

    /// Skips a number or a date-time, whose date and time may be separated by a space.
    fn open_word(&mut self) {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || ":+-._".contains(c);
        self.at = self.skip_while(is_of_word);
        if self.rest().strip_prefix(' ').is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            self.at = self.skip_while(is_of_word);
        }
    }

    /// Skips a list of strings. If the list has no end, stops at the first thing that is not a string.
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

    /// Hides the rest of the line, and a multi-line string that begins in it.
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

    /// A CR ends a line too, although not in TOML: whoever ends lines so means it.
    fn end_of_line(&self) -> usize {
        self.rest().find(['\r', '\n']).map_or(self.text.len(), |end| self.at + end)
    }

    fn skip(&self, from: usize, what: &[char]) -> usize {
        self.text.len() - self.text[from..].trim_start_matches(what).len()
    }

    fn skip_while(&self, what: impl Fn(char) -> bool) -> usize {
        self.text.len() - self.rest().trim_start_matches(what).len()
    }
}

/// A dotted key, with the white space after it.
struct Key<'t> {
    first: &'t str,
    last: &'t str,
    /// Whether it has no dot.
    is_one: bool,
    length: usize,
}

/// The key at the start of a text. Quotes are not part of its names.
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
            // Nothing follows its last dot; its first name still shows what was meant.
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

/// Whether the value of `env` or `file` may be the secret itself, because it does not look like the name of one.
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

/// Whether a text is almost certainly the name of an environment variable. A secret without small letters is less
/// usual.
pub fn is_variable(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a text is almost certainly a path. A secret with neither `/` nor `.` is more usual than such a file.
pub fn is_path(text: &str) -> bool {
    text.contains(['/', '.'])
}

/// Whether this is `tokens`, or was meant to be.
fn is_tokens(name: &str) -> bool {
    name == "tokens" || (keys::find("", name).is_none() && nearest(name, ["tokens"]).is_some())
}

/// The length of a string on one line, quotes included. If it has no end, the rest of the line may be part of it.
fn text_length(text: &str) -> usize {
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
