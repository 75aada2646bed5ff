//! Parses TOML into a tree with places, and finds all syntax errors.
//!
//! After an error the parser may lose everything up to the end of the file. So each syntax error is blanked out, byte
//! for byte, and the rest is parsed again. What is found then does not follow from an earlier error.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::duplicates;
use super::model::Span;
use crate::diagnostic::{Diagnostic, FileFact};

/// The most syntax errors reported for one file. Each broken header is replaced by a name of its own letter.
const MAX_ERRORS: u8 = 26;
/// White space that may precede a header.
const BLANKS: [char; 2] = [' ', '\t'];
const DUPLICATE: &str = "duplicate key";
/// The beginning of the parser's message for a key in place of a list item.
const OPEN_LIST: &str = "unexpected `=` in array";

/// Blanks out syntax errors and reports them. Offsets in the text stay the same.
pub(super) fn repair(mut text: String, file: usize) -> (String, Vec<Diagnostic>) {
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for pass in 0..MAX_ERRORS {
        let (_, mut errors) = DeTable::parse_recoverable(&text);
        errors.retain(|error| error.message() != DUPLICATE);
        let Some(first) = first_error(&text, &errors) else { break };
        let (bytes, broken, detail) = explain(&text, first);
        // The same place again is no progress, even if it is an empty one.
        if diagnostics.last().and_then(|d| d.place.as_ref()).is_some_and(|earlier| earlier.bytes == bytes) {
            break;
        }
        if diagnostics.iter().filter_map(|d| d.place.as_ref()).any(|earlier| broken.contains(&earlier.bytes.start)) {
            break;
        }
        diagnostics.push(Diagnostic::new(FileFact::Syntax { detail }, Span { file, bytes }));
        let blanked = blank(&text[broken.clone()], pass);
        text.replace_range(broken, &blanked);
    }
    (text, diagnostics)
}

/// Parses a repaired text, and reports keys that appear twice.
pub(super) fn parse(text: &str, file: usize) -> (DeTable<'_>, Vec<Diagnostic>) {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    let tree = tree.into_inner();
    errors.retain(|error| error.message() == DUPLICATE);
    let places: Vec<_> = errors.iter().map(place).collect();
    let diagnostics = duplicates::explain(text, file, &places);
    (tree, diagnostics)
}

/// The place of an error, the lines that it makes unreadable, and its description.
fn explain(text: &str, error: &Error) -> (Range<usize>, Range<usize>, String) {
    let (bytes, message) = (place(error), error.message());
    if let Some(opening) = unclosed_lines(text, bytes.start, message) {
        let detail = format!("a multi-line string has no closing `{}`", &text[opening.clone()]);
        return (opening.clone(), line_at(text, opening.start).start..text.len(), detail);
    }
    let detail = match text[bytes.start..].chars().next() {
        Some(c) if c.is_ascii_control() && !['\t', '\r', '\n'].contains(&c) => {
            format!("a control character: remove it, or write `\\u{:04X}` in a string in `\"…\"`", u32::from(c))
        }
        _ => detail(&text[line_at(text, bytes.start)], message, bytes.is_empty()),
    };
    let broken = broken_lines(text, bytes.start, message);
    (bytes, broken, detail)
}

/// The opening quotes of a multi-line string without an end. The parser reports it at the end of the file. The last
/// such quotes are the opening, because any later ones would have closed it.
fn unclosed_lines(text: &str, end: usize, message: &str) -> Option<Range<usize>> {
    let quote = match message.strip_prefix("invalid multi-line ")? {
        kind if kind.starts_with("basic") => '"',
        _ => '\'',
    };
    if !text[end..].trim().is_empty() {
        return None;
    }
    let quotes = quote.to_string().repeat(3);
    let is_escaped = |at: usize| quote == '"' && text[..at].ends_with('\\');
    let (at, _) = text[..end].rmatch_indices(&quotes).find(|(at, _)| !is_escaped(*at))?;
    // The string may begin with quotes of its own.
    let start = text[..at].trim_end_matches(quote).len();
    Some(start..start + quotes.len())
}

/// The first error, but of several on its line, the one about a list left open, which explains the others.
fn first_error<'e>(text: &str, errors: &'e [Error]) -> Option<&'e Error> {
    let first = errors.iter().min_by_key(|error| place(error).start)?;
    let line = line_at(text, place(first).start);
    let on_line = errors.iter().filter(|error| (line.start..=line.end).contains(&place(error).start));
    Some(on_line.into_iter().find(|error| error.message().starts_with(OPEN_LIST)).unwrap_or(first))
}

/// The header that was meant, if a line is the header of a family without quotes around its name.
fn unquoted_family(line: &str) -> Option<String> {
    let name = line.trim().strip_prefix("[topics.")?.strip_suffix(']')?;
    (name.contains('{') && !name.contains(['"', '\'', '[', ']'])).then(|| format!("[topics.{name:?}]"))
}

/// Describes an error. Common slips get words that say what to write, all others the parser's words.
fn detail(line: &str, message: &str, nothing_there: bool) -> String {
    if let Some(header) = unquoted_family(line) {
        return format!("a name with dots and braces must be quoted: write `{header}`");
    }
    let (is, value) = (|start: &str| message.starts_with(start), line.split_once('=').map(|(_, value)| value.trim()));
    let told = match value {
        Some(_) if is("string values must be quoted") && nothing_there => "a value is missing after `=`",
        Some(_) if is("string values must be quoted") || is("invalid float") => {
            "a value that is not a number, date, list, true or false must be quoted: `\"…\"`"
        }
        Some(_) if is("missing escaped value") => {
            "`\\` begins an escape: write `/`, or `'…'` for a string without escapes"
        }
        Some(value) if is("invalid basic string") && value.starts_with('"') => "a string has no closing `\"`",
        Some(value) if is("invalid literal string") && value.starts_with('\'') => "a string has no closing `'`",
        Some(_) if is("missing opening quote") => "a string has no opening quote",
        _ if is("invalid unquoted key") && line.trim_start().starts_with("//") => "a comment begins with `#`",
        None if is("invalid unquoted key") && line.contains(':') => "write `=`, not `:`, between a key and its value",
        _ => message,
    };
    told.to_owned()
}

fn place(error: &Error) -> Range<usize> {
    error.span().unwrap_or(0..0)
}

/// The lines that an error makes unreadable: its own, or all lines of a list or inline table that is not closed.
fn broken_lines(text: &str, offset: usize, message: &str) -> Range<usize> {
    let line = line_at(text, offset);
    if !["array", "inline table"].iter().any(|word| message.contains(word)) {
        return line;
    }
    // A key in place of an item: the list was left open further up.
    let line = if message.starts_with(OPEN_LIST) && line.start > 0 { line_at(text, line.start - 1) } else { line };
    let mut start = line.clone();
    while start.start > 0 && !begins_pair(&text[start.clone()]) {
        start = line_at(text, start.start - 1);
    }
    let mut end = line;
    while end.end < text.len() && !text[end.clone()].trim_start().starts_with([']', '}']) {
        let next = line_at(text, end.end + 1);
        if begins_pair(&text[next.clone()]) || is_header(&text[next.clone()]) {
            break;
        }
        end = next;
    }
    start.start..end.end
}

/// Whether a line appears to begin with a key and its value.
fn begins_pair(line: &str) -> bool {
    let key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'' | ' ' | '{' | '}' | '*');
    line.split_once('=').is_some_and(|(name, _)| !name.starts_with(['{', ' ']) && name.chars().all(key))
}

/// Whether a line is a table's header or was meant to be. It may be indented, if it cannot be a list item.
pub(super) fn is_header(line: &str) -> bool {
    let indented = line.trim_start_matches(BLANKS).strip_prefix('[');
    line.starts_with('[') || indented.is_some_and(|name| name.starts_with(char::is_alphabetic) && !name.contains(','))
}

/// The end of the line before the next header after a place, or the end of the text.
pub(super) fn next_header(text: &str, from: usize) -> usize {
    let mut ends = text[from..].match_indices('\n').map(|(at, _)| from + at);
    ends.find(|at| is_header(&text[line_at(text, at + 1)])).unwrap_or(text.len())
}

/// As many bytes without meaning. A header stays a header, so that the keys below do not move into the table above.
fn blank(text: &str, pass: u8) -> String {
    let (body, end) = text.split_at(text.trim_end_matches('\r').len());
    let header = body.trim_start_matches(BLANKS);
    if is_header(body) && header.len() > 2 && !body.contains('\n') {
        let name = char::from(b'a' + pass).to_string().repeat(header.len() - 2);
        return format!("{}[{name}]{end}", &body[..body.len() - header.len()]);
    }
    text.bytes().map(|b| if matches!(b, b'\n' | b'\r') { char::from(b) } else { ' ' }).collect()
}

/// The line of a place, without its line end.
fn line_at(text: &str, offset: usize) -> Range<usize> {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    start..text[start..].find('\n').map_or(text.len(), |at| start + at)
}
