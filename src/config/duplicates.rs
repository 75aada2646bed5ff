//! Finds keys and headers that appear twice in a file, and where each appeared first.
//!
//! The parsed tree does not tell: it keeps one of them, and merges tables with equal headers. So this walks the
//! parser's events in the order of the text, once for all duplicates, because a file may have thousands.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};

use super::model::Span;
use crate::diagnostic::{Diagnostic, FileFact};

/// How deep values may nest, the same as in the parser of the tree.
const DEPTH: u32 = 80;
/// The table that is the whole file.
const FILE: usize = 0;

/// The message for a refused key that has no equal one before it.
const OTHER_FORM: &str = "this table was already defined above in another form";

/// Explains the keys at `places`, which the parser refused as duplicates.
pub(super) fn explain(text: &str, file: usize, places: &[Range<usize>]) -> Vec<Diagnostic> {
    if places.is_empty() {
        return Vec::new();
    }
    let places: HashSet<usize> = places.iter().map(|bytes| bytes.start).collect();
    let source = Source::new(text);
    let mut events = Vec::new();
    parse_document(&source.lex().into_vec(), &mut RecursionGuard::new(&mut events, DEPTH), &mut ());
    let mut walk = Walk::new(source);
    let mut diagnostics = Vec::new();
    // If a table is a duplicate itself, the duplicate keys in it are not reported.
    let mut is_in_second = false;
    for event in &events {
        let Some((key, first)) = walk.pass(event) else { continue };
        is_in_second &= walk.header.is_none();
        if is_in_second || !places.contains(&event.span().start()) {
            continue;
        }
        is_in_second = walk.header.is_some();
        let fact = match first {
            Some(_) => FileFact::DuplicateKey { key },
            None => FileFact::Syntax { detail: OTHER_FORM.to_owned() },
        };
        let diagnostic = Diagnostic::new(fact, Span { file, bytes: bytes(event) });
        diagnostics.push(first.into_iter().fold(diagnostic, |d, bytes| d.related(Span { file, bytes }, "first here")));
    }
    diagnostics
}

fn bytes(event: &Event) -> Range<usize> {
    event.span().start()..event.span().end()
}

/// A name in a table.
type Key<'t> = (usize, Cow<'t, str>);

struct Walk<'t> {
    source: Source<'t>,
    /// For each name: the table it stands for, if any, and where it first got a value.
    known: HashMap<Key<'t>, (usize, Option<Range<usize>>)>,
    /// The number of tables so far.
    tables: usize,
    /// The table of the current header, and the inline tables that are open in it.
    open: Vec<usize>,
    /// The table to which the next part of a dotted key belongs.
    table: usize,
    /// The previous name.
    last: Key<'t>,
    /// Where the current header begins, while it is being read.
    header: Option<usize>,
}

impl<'t> Walk<'t> {
    fn new(source: Source<'t>) -> Self {
        let last = (FILE, Cow::Borrowed(""));
        Self { source, known: HashMap::new(), tables: 1, open: Vec::new(), table: FILE, last, header: None }
    }

    /// Handles an event. If it is a name in a key, returns the name and where it got a value before.
    fn pass(&mut self, event: &Event) -> Option<(String, Option<Range<usize>>)> {
        match event.kind() {
            EventKind::SimpleKey => return Some(self.name(event)),
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.open.clear();
                self.header = Some(event.span().start());
            }
            EventKind::StdTableClose | EventKind::ArrayTableClose => self.end_header(event),
            EventKind::InlineTableOpen => {
                let table = self.new_table();
                self.open.push(table);
            }
            EventKind::InlineTableClose => _ = self.open.pop(),
            EventKind::KeyValSep => {}
            _ => return None,
        }
        self.table = self.open.last().copied().unwrap_or(FILE);
        None
    }

    fn name(&mut self, event: &Event) -> (String, Option<Range<usize>>) {
        let mut name = Cow::Borrowed("");
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut name, &mut ());
        }
        let (told, table) = (name.to_string(), self.new_table());
        self.last = (self.table, name);
        let (table, place) = self.known.entry(self.last.clone()).or_insert((table, None));
        let first = place.clone();
        // In a header only the last name gets a value, at the header's end.
        if self.header.is_none() {
            place.get_or_insert(bytes(event));
        }
        self.table = *table;
        (told, first)
    }

    fn end_header(&mut self, event: &Event) {
        let item = self.new_table();
        let (Some(start), Some((table, first))) = (self.header.take(), self.known.get_mut(&self.last)) else { return };
        first.get_or_insert(start..event.span().end());
        if event.kind() == EventKind::ArrayTableClose {
            *table = item;
        }
        self.open.push(*table);
    }

    fn new_table(&mut self) -> usize {
        self.tables += 1;
        self.tables
    }
}

#[cfg(test)]
#[path = "duplicates_tests.rs"]
mod tests;
