//! Masks the secrets in a text, so that diagnostics can show the rest.
//!
//! A secret may well be under a mistyped key, after a `:` or in a comment instead of where it belongs. So in a token's
//! table, or in one that may be a misspelt one, everything is masked that is not known to be harmless. Elsewhere the
//! value of every key that does not exist is masked, because it may be `passphrase` or `api_key`, and what a URL says
//! of its user. Works on texts that do not parse.

use std::ops::Range;

use super::keys::{self, Type};
use super::place::{
    BLANKS, Dotted, Place, QUOTES, before_tokens, block, is_path, is_tokens, is_variable, quoted_length, secret_length,
    text_length,
};

/// Masks every character of a secret or digest with `*`, or with another character of the same length in UTF-8, so that
/// every place in the text keeps its offset.
pub fn mask(text: &str) -> String {
    let start = text.len() - text.strip_prefix(MARK).unwrap_or(text).len();
    let top = Place::Table("");
    let mut scanner =
        Scanner { text, at: start, is_token: false, tables: vec![top], next: top, is_known: true, hidden: Vec::new() };
    scanner.named();
    scanner.pem();
    scanner.hidden.extend(credentials(text));
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

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Whether the current table may be a token's.
    is_token: bool,
    /// The tables around this place in the text: that of the last header, and the inline tables that are open.
    tables: Vec<Place>,
    /// Where the last key leads.
    next: Place,
    /// Whether the last key exists.
    is_known: bool,
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
            self.is_token |= begins && Dotted::read(self.rest()).is_some_and(|key| is_tokens(key.first()));
            match next {
                ' ' | '\t' | '\r' | '\n' | ',' | '[' | ']' => self.at += 1,
                '{' | '}' => self.brace(next),
                '#' if self.is_token || !self.is_known => self.comment(),
                '#' => self.at = self.end_of_line(),
                _ if self.is_token => self.in_token(),
                _ => self.in_table(),
            }
            self.at = self.at.min(self.text.len());
        }
    }

    fn brace(&mut self, brace: char) {
        self.at += 1;
        match brace {
            '{' => self.tables.push(self.next),
            // The next item of a list of tables is a table of the same kind.
            _ if self.tables.len() > 1 => self.next = self.tables.pop().unwrap_or(Place::Nowhere),
            _ => {}
        }
    }

    /// Shows the values that are known to be harmless.
    fn in_token(&mut self) {
        let tables = ["tokens.<name>", "tokens.<name>.secret"];
        let is_known = |key: &Dotted<'_>| tables.iter().any(|table| keys::find(table, key.last()).is_some());
        match Dotted::read(self.rest()) {
            Some(key) if self.is_pair(is_known(&key), key.length) => {
                self.at += key.length + 1;
                self.value(OPEN.contains(&key.last()) && !is_misplaced(key.last(), self.rest()));
            }
            _ => self.hide_line(),
        }
    }

    /// Shows everything but the values of keys that do not exist.
    fn in_table(&mut self) {
        let rest = self.rest();
        let key = Dotted::read(rest);
        let table = self.tables.last().copied().unwrap_or(Place::Nowhere);
        match key.as_ref().map(|key| (table.of(key), key)) {
            // Not a member of a payload with such a name.
            Some((_, key))
                if matches!(table, Place::Table("") | Place::Nowhere)
                    && is_tokens(key.first())
                    && rest[key.length..].starts_with(['=', ':']) =>
            {
                self.is_token = true;
            }
            Some(((place, true), key)) if self.is_pair(true, key.length) => {
                self.at = self.skip(self.at + key.length + 1, &BLANKS);
                (self.next, self.is_known) = (place, true);
                self.open_word();
            }
            Some((_, key)) if self.is_pair(false, key.length) => {
                self.at += key.length + 1;
                (self.next, self.is_known) = (Place::Nowhere, false);
                self.value(false);
            }
            _ if !self.is_known => self.value(false),
            _ if rest.starts_with(['"', '\'']) => self.quoted(key.as_ref().map_or(0, |key| key.length)),
            // Perhaps a key without its `=`, or with its value on the next line.
            Some(((_, false), key)) if self.may_be_key(key.length) => {
                self.at = self.skip(self.at + key.length, &['=', ':']);
                self.is_known = false;
            }
            Some((_, key)) => self.at += key.length,
            None => {
                self.at += rest.chars().next().map_or(0, char::len_utf8);
                if rest.starts_with(['=', ':']) {
                    // The value of who knows which key.
                    (self.next, self.is_known) = (Place::Nowhere, false);
                }
            }
        }
    }

    /// Skips a string, or a key that begins with one and has this length. What follows a string that is none shows that
    /// its quotes are not those that were meant.
    fn quoted(&mut self, key: usize) {
        let rest = self.rest();
        let is_block = QUOTES.iter().any(|quotes| rest.starts_with(quotes));
        let length = if is_block { quoted_length(rest) } else { quoted_length(rest).max(key) };
        self.at += before_tokens(&rest[..length]);
        let behind = self.rest().trim_start_matches(BLANKS);
        if !behind.is_empty() && !behind.starts_with(ENDS) && !behind.starts_with(['=', ':', '.', '[']) {
            self.hide_line();
        }
    }

    /// Handles a header such as `[tokens.shop]`, which says what the next lines are about. Returns whether there was
    /// one.
    fn header(&mut self) -> bool {
        let line = self.rest().trim_start_matches(BLANKS);
        let Some(inner) = line.strip_prefix("[[").or_else(|| line.strip_prefix('[')) else { return false };
        let Some(key) = Dotted::read(inner) else { return false };
        let is_unknown = keys::find("", key.first()).is_none();
        // `["…"]` in a token may be a list, with a secret on a line of its own. And what follows a key without a value
        // is probably that value.
        let is_item = key.names.len() == 1 && inner.trim_start_matches(BLANKS).starts_with(['"', '\'']);
        if is_unknown && (self.is_token || !self.is_known) && (is_item || self.is_awaited()) {
            return false;
        }
        let mut behind = &inner[key.length..];
        if key.first() == "topics" {
            // A family whose quotes are missing.
            behind = behind.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-.{}".contains(c));
        }
        let end = behind.strip_prefix("]]").or_else(|| behind.strip_prefix(']'));
        let end = end.map(|end| end.trim_start_matches(BLANKS));
        let is_whole = end.is_some_and(|end| end.is_empty() || end.starts_with(['#', '\r', '\n']));
        // Only its `]` may be missing.
        let is_cut = end.is_none() && !is_unknown && !self.is_token && behind.starts_with(['\r', '\n', '#']);
        if !is_whole && !is_cut && !is_tokens(key.first()) {
            return false;
        }
        // An unknown table may have been meant for a token.
        self.is_token = key.first() == "tokens" || is_unknown;
        let (place, _) = Place::Table("").of(&key);
        (self.tables, self.next, self.is_known) = (vec![place], place, true);
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
    fn is_pair(&self, is_known: bool, length: usize) -> bool {
        let behind = &self.rest()[length..];
        let value = behind.trim_start_matches('=').trim_start_matches(['"', '\'', ',', ';', ']', '}']);
        let value = value.trim_start_matches(BLANKS);
        let is_bare = value.is_empty() || value.starts_with(['#', '\r', '\n']);
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
            _ if !self.is_token => {
                let start = self.at;
                self.open_word();
                let end = self.rest().trim_start_matches(BLANKS);
                match ["}", "]", ", ", "\r", "\n"].iter().any(|next| end.starts_with(next)) {
                    true => self.hidden.push(start..self.at),
                    false => self.at = start,
                }
            }
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
        let (mut at, mut end) = (self.at, self.end_of_line());
        while let Some((inner, quotes)) = block(self.text, at..end) {
            at = self.text[inner..].find(quotes).map_or(self.text.len(), |close| inner + close + quotes.len());
            end = end.max(at);
        }
        // In a token's table everything that follows is hidden anyway.
        let end = if self.is_token { end } else { self.at + before_tokens(&self.text[self.at..end]) };
        self.hidden.push(self.at..end);
        self.at = end;
        // The ends of inline tables are hidden with it.
        self.tables.truncate(1);
    }

    /// Whether a word of this length may be a key, rather than part of a value.
    fn may_be_key(&self, length: usize) -> bool {
        let before = self.text[..self.at].trim_end_matches(BLANKS);
        let begins = before.is_empty() || before.ends_with(['\r', '\n', MARK]);
        self.rest()[length..].starts_with(['=', ':']) || (begins && self.next != Place::Value(Type::Json))
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

/// Where URLs in a text name a user and a password: what stands between `://`, or `:/`, and the last `@`.
fn credentials(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    // One slash is left of a URL that was taken for a path.
    text.match_indices(":/").filter_map(move |(at, mark)| {
        if at < end {
            return None;
        }
        let start = text.len() - text[at + mark.len()..].trim_start_matches('/').len();
        let url = text[start..].split(|c: char| c.is_whitespace() || "\"'".contains(c)).next()?;
        end = start + url.len();
        Some(start..start + url.rfind('@')?)
    })
}

/// A value without the user and the password of its URL.
pub fn without_credentials(text: &str) -> String {
    let mut masked = text.to_owned();
    for range in credentials(text) {
        let stars = MASKS[0].to_string().repeat(range.len());
        masked.replace_range(range, &stars);
    }
    masked
}

#[cfg(test)]
#[path = "mask_test.rs"]
mod tests;
