//! Keys and headers that stand twice in a file, and where each stood first.
//!
//! The text and the tree are walked once for all of them: a file may have thousands.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::model::Span;
use super::syntax::is_header;
use crate::diagnostic::{Diagnostic, FileFact};

/// What is said of the keys at `places`, which are in the order of the text and each have an equal one before them.
pub(super) fn explain(tree: &DeTable<'_>, text: &str, file: usize, places: &[Range<usize>]) -> Vec<Diagnostic> {
    if places.is_empty() {
        return Vec::new();
    }
    let index = Index::new(tree, text, places);
    let mut diagnostics = Vec::new();
    // Of a table that appears twice, its keys that do so too are not told.
    let mut twice = 0..0;
    for bytes in places {
        if twice.contains(&bytes.start) {
            continue;
        }
        let key = name(&text[bytes.clone()]);
        let first = match index.header_of(bytes.start) {
            Some(header) => {
                twice = bytes.start..index.next_header(bytes.end);
                index.first_header(text, header)
            }
            None => index.first_key(&key, bytes.start),
        };
        let diagnostic = Diagnostic::new(FileFact::DuplicateKey { key }, Span { file, bytes: bytes.clone() });
        diagnostics.push(first.into_iter().fold(diagnostic, |d, bytes| d.related(Span { file, bytes }, "first here")));
    }
    diagnostics
}

/// Where the headers and the keys of a text stand.
#[derive(Default)]
struct Index {
    /// The lines that are headers, in the order of the text.
    headers: Vec<Range<usize>>,
    /// The first header of each name. A parser that goes on has merged the tables of equal headers, so that the tree
    /// does not tell.
    by_name: HashMap<String, Range<usize>>,
    /// All keys of each name, in the order of the text.
    keys: HashMap<String, Vec<Range<usize>>>,
}

impl Index {
    fn new(tree: &DeTable<'_>, text: &str, places: &[Range<usize>]) -> Self {
        let mut index = Self::default();
        // Of a key that appears twice the tree has the first value only.
        let mut values: Vec<_> = places.iter().filter_map(|key| value_behind(text, key.end)).collect();
        index.walk(tree, text, &mut values);
        index.keys.values_mut().for_each(|places| places.sort_by_key(|bytes| bytes.start));
        values.sort_by_key(|bytes| bytes.start);
        let mut values = values.into_iter().peekable();
        let mut within = 0;
        let mut start = 0;
        for line in text.split('\n') {
            while let Some(value) = values.next_if(|value| value.start < start) {
                within = within.max(value.end);
            }
            // A line of a text or of a list that looks like a header is none.
            if start >= within && is_header(line) {
                let bytes = start + line.len() - line.trim_start().len()..start + line.trim_end().len();
                index.by_name.entry(header_name(line)).or_insert_with(|| bytes.clone());
                index.headers.push(bytes);
            }
            start += line.len() + 1;
        }
        index
    }

    /// Collects the keys, and the values that stand on several lines.
    fn walk(&mut self, table: &DeTable<'_>, text: &str, values: &mut Vec<Range<usize>>) {
        for (name, value) in table {
            self.keys.entry(name.get_ref().to_string()).or_default().push(name.span());
            self.walk_value(value, text, values);
        }
    }

    fn walk_value(&mut self, value: &Spanned<DeValue<'_>>, text: &str, values: &mut Vec<Range<usize>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.walk(table, text, values),
            DeValue::Array(items) => items.iter().for_each(|item| self.walk_value(item, text, values)),
            _ => {}
        }
        if text.get(value.span()).is_some_and(|text| text.contains('\n')) {
            values.push(value.span());
        }
    }

    /// The header on whose line a place is.
    fn header_of(&self, offset: usize) -> Option<&Range<usize>> {
        let behind = self.headers.partition_point(|header| header.start <= offset);
        self.headers[..behind].last().filter(|header| offset < header.end)
    }

    /// Where the next header behind a place begins; if there is none, beyond all text.
    fn next_header(&self, offset: usize) -> usize {
        let next = self.headers.partition_point(|header| header.start <= offset);
        self.headers.get(next).map_or(usize::MAX, |header| header.start)
    }

    fn first_header(&self, text: &str, header: &Range<usize>) -> Option<Range<usize>> {
        let first = self.by_name.get(&header_name(&text[header.clone()]))?;
        (first.start < header.start).then(|| first.clone())
    }

    /// The nearest key of this name before a place, if it is in the same table.
    fn first_key(&self, key: &str, offset: usize) -> Option<Range<usize>> {
        let places = self.keys.get(key)?;
        let nearest = places[..places.partition_point(|bytes| bytes.start < offset)].last()?;
        (self.next_header(nearest.start) > offset).then(|| nearest.clone())
    }
}

/// The name that a key is written for.
fn name(key: &str) -> String {
    // The escapes of a text are those of JSON, but for few that a name hardly has.
    let escaped = key.starts_with('"').then(|| serde_json::from_str(key).ok()).flatten();
    escaped.unwrap_or_else(|| key.trim_matches(['"', '\'']).to_owned())
}

/// The value of the key that ends at a place, where it stands on several lines.
fn value_behind(text: &str, key: usize) -> Option<Range<usize>> {
    let line = text[key..].find('\n').map_or(text.len(), |end| key + end);
    let start = key + text[key..line].find('=')? + 1;
    let end = start + length_of_value(&text[start..]);
    (end > line).then_some(start..end)
}

/// The bytes of a value until the end of the line on which it ends.
fn length_of_value(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        match next {
            '\n' if depth == 0 => break,
            '"' | '\'' => at += length_of_text(&text[at..], next),
            '#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            _ => {
                match next {
                    '[' | '{' => depth += 1,
                    ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                at += next.len_utf8();
            }
        }
    }
    at
}

/// The bytes of a text with its quotes; all that follows, where it has no end.
fn length_of_text(text: &str, quote: char) -> usize {
    let one = quote.to_string();
    let three = one.repeat(3);
    let quotes = if text.starts_with(&three) { three } else { one };
    let mut at = quotes.len();
    while at < text.len() {
        if text[at..].starts_with(&quotes) {
            return at + quotes.len();
        }
        let escape = usize::from(quote == '"' && text[at..].starts_with('\\'));
        at += text[at..].chars().take(1 + escape).map(char::len_utf8).sum::<usize>();
    }
    text.len()
}

/// A header as it is compared: without its comment, without the blanks around its names, and without quotes that a name
/// could do without.
fn header_name(line: &str) -> String {
    let mut quoted: Option<(char, usize)> = None;
    let mut depth = 0;
    let mut name = String::new();
    for c in line.chars() {
        match (c, quoted) {
            ('"' | '\'', None) => quoted = Some((c, name.len())),
            (c, Some((open, start))) if c == open => {
                quoted = None;
                let inner = &name[start + 1..];
                if !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
                    name.remove(start);
                    continue;
                }
            }
            (' ' | '\t', None) => continue,
            ('[', None) => depth += 1,
            (']', None) => depth -= 1,
            _ => {}
        }
        name.push(c);
        if depth == 0 {
            break;
        }
    }
    name
}

#[cfg(test)]
#[path = "duplicates_tests.rs"]
mod tests;
