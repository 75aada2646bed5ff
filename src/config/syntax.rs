//! TOML text to a tree with places, and all of its syntax errors.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::model::Span;
use crate::diagnostic::{Diagnostic, Fact, FileFact};

/// Parses a file as far as it goes. The tree holds what could be understood around the errors.
pub fn parse(text: &str, file: usize) -> (DeTable<'_>, Vec<Diagnostic>) {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    let tree = tree.into_inner();
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for error in errors {
        let bytes = error.span().unwrap_or(0..0);
        let last = diagnostics.last().and_then(|last| Some((last, last.place.as_ref()?.bytes.start)));
        if last.is_some_and(|(last, start)| follows(last, text, start..bytes.start, error.message())) {
            continue;
        }
        let span = Span { file, bytes: bytes.clone() };
        diagnostics.push(if error.message() == DUPLICATE {
            let key = text.get(bytes.clone()).unwrap_or_default().trim_matches(['"', '\'']).to_owned();
            let first = first_of(&tree, text, &key, bytes.start);
            let diagnostic = Diagnostic::new(FileFact::DuplicateKey { key }, span);
            first.into_iter().fold(diagnostic, |d, bytes| d.related(Span { file, bytes }, "first here"))
        } else {
            Diagnostic::new(FileFact::Syntax { detail: error.message().to_owned() }, span)
        });
    }
    (tree, diagnostics)
}

const DUPLICATE: &str = "duplicate key";

/// Whether an error is a consequence of the one before: on the same line, inside of a list left open, or a key of a
/// table whose header stands twice.
fn follows(last: &Diagnostic, text: &str, between: Range<usize>, message: &str) -> bool {
    let gap = text.get(between.clone()).unwrap_or_default();
    let in_open_list = ["array", "inline table", "must be quoted"].iter().any(|word| message.contains(word));
    let in_twice = message == DUPLICATE
        && matches!(last.fact, Fact::File(FileFact::DuplicateKey { .. }))
        && line_of(text, between.start).starts_with('[')
        && !gap.contains("\n[");
    !gap.contains('\n') || in_open_list || in_twice
}

/// The line of a place, up to its end.
fn line_of(text: &str, offset: usize) -> &str {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// Where a key stood first that stands again at `offset`. A parser that goes on has merged the tables of equal headers,
/// so that those are found by their text.
fn first_of(tree: &DeTable<'_>, text: &str, key: &str, offset: usize) -> Option<Range<usize>> {
    let line = line_of(text, offset);
    if line.starts_with('[') {
        let at = if text.starts_with(line) { 0 } else { text.find(&format!("\n{line}"))? + 1 };
        return (at + line.len() < offset).then(|| at..at + line.len());
    }
    let mut earlier = Vec::new();
    keys_before(tree, key, offset, &mut earlier);
    let nearest = earlier.into_iter().max_by_key(|bytes| bytes.start)?;
    (!text[nearest.start..offset].contains("\n[")).then_some(nearest)
}

fn keys_before(tree: &DeTable<'_>, key: &str, offset: usize, found: &mut Vec<Range<usize>>) {
    for (name, value) in tree {
        if *name.get_ref() == key && name.span().start < offset {
            found.push(name.span());
        }
        match value.get_ref() {
            DeValue::Table(table) => keys_before(table, key, offset, found),
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.for_each(|table| keys_before(table, key, offset, found));
            }
            _ => {}
        }
    }
}

/// The text with every byte of a secret or digest replaced by `*`, so that no diagnostic can show it: what follows
/// `secret =` and `sha256 =`, unless it is a table. Works on text that does not parse, too.
pub fn mask(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for word in ["secret", "sha256"] {
        for (at, _) in text.match_indices(word) {
            let mut value = skip(text, at + word.len(), &[' ', '\t', '"', '\'']);
            if text.as_bytes().get(value) == Some(&b'=') {
                value = skip(text, value + 1, &[' ', '\t']);
                let end = value + secret_length(&text[value..]);
                bytes[value..end].iter_mut().filter(|b| !b"\"'\r\n".contains(*b)).for_each(|b| *b = b'*');
            }
        }
    }
    String::from_utf8(bytes).expect("whole characters were replaced by ASCII")
}

fn skip(text: &str, from: usize, blanks: &[char]) -> usize {
    text.len() - text[from..].trim_start_matches(blanks).len()
}

fn secret_length(rest: &str) -> usize {
    let end_of_line = rest.find('\n').unwrap_or(rest.len());
    for quote in ["\"\"\"", "'''"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            return inner.find(quote).map_or(rest.len(), |end| end + 2 * quote.len());
        }
    }
    match rest.chars().next() {
        Some('{') if ["env", "file"].iter().any(|key| rest[..end_of_line].contains(key)) => 0,
        // An escaped quote does not end it; without an end, all of the line may be secret.
        Some('"') => {
            let mut escaped = false;
            let inner = rest[1..end_of_line].char_indices().find(|(_, c)| {
                let end = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                end
            });
            inner.map_or(end_of_line, |(at, _)| at + 2)
        }
        Some('\'') => rest[1..end_of_line].find('\'').map_or(end_of_line, |at| at + 2),
        _ => end_of_line,
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn no_secret_and_no_digest_survives_masking() {
        for (text, masked) in [
            ("secret = \"abc\" # x", "secret = \"***\" # x"),
            ("secret = 'a\"c'", "secret = '*\"*'"),
            ("sha256=\"é\\\"b\"\nx = 1", "sha256=\"***\"*\"\nx = 1"),
            ("a = { sha256 = \"ff\", user = \"u\" }", "a = { sha256 = \"**\", user = \"u\" }"),
            ("secret = abc def\nb = 1", "secret = *******\nb = 1"),
            ("secret = \"abc\nb = 1", "secret = \"***\nb = 1"),
            ("\"secret\" = \"\"\"\na\"b\n\"\"\"\nb = 1", "\"secret\" = \"\"\"\n*\"*\n\"\"\"\nb = 1"),
            ("secret = { env = \"X\" }", "secret = { env = \"X\" }"),
            ("secret = { plain = 1 }", "secret = *************"),
            ("[topics.secret]\nschema = \"a\"", "[topics.secret]\nschema = \"a\""),
        ] {
            assert_eq!(mask(text), masked, "{text}");
            assert_eq!(mask(text).len(), text.len());
        }
    }
}
