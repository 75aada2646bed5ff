//! The texts that diagnostics point into, with secrets masked.

use std::sync::Arc;

use crate::config::model::Span;

/// The files that were read as text, in reading order.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path, as shown to people.
    pub path: Arc<str>,
    /// Its text, masked byte for byte so that every offset stays valid.
    pub text: Arc<str>,
    line_starts: Arc<[usize]>,
    /// The number of characters before each [`STEP`] bytes. A line may be megabytes long and have a diagnostic every
    /// hundred bytes, so columns must not be counted from its beginning.
    characters: Arc<[usize]>,
}

/// The distance between two offsets with a known number of characters, in bytes.
const STEP: usize = 1 << 10;
/// The byte order mark, which does not count as a character of the first line.
pub(super) const MARK: char = '\u{feff}';

/// A place as people count it: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Sources {
    /// Adds a file and returns the number by which spans know it.
    pub fn add(&mut self, path: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> usize {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut before = 0;
        let counts = text.as_bytes().chunks(STEP).map(|bytes| {
            before += characters(bytes);
            before
        });
        let characters = std::iter::once(0).chain(counts).collect();
        self.0.push(Source { path: path.into(), text, line_starts, characters });
        self.0.len() - 1
    }

    /// The file that spans know by this number.
    pub fn get(&self, file: usize) -> Option<&Source> {
        self.0.get(file)
    }

    /// The file of a span, with its start and end.
    pub fn locate(&self, span: &Span) -> Option<(&Source, LineColumn, LineColumn)> {
        let source = self.get(span.file)?;
        Some((source, source.position(span.bytes.start), source.position(span.bytes.end)))
    }
}

impl Source {
    fn position(&self, offset: usize) -> LineColumn {
        let offset = offset.min(self.text.len());
        let index = self.line_starts.partition_point(|start| *start <= offset) - 1;
        let before = self.characters_before(offset) - self.characters_before(self.line_starts[index]);
        let is_marked = index == 0 && offset > 0 && self.text.starts_with(MARK);
        LineColumn { line: index + 1, column: before - usize::from(is_marked) + 1 }
    }

    fn characters_before(&self, offset: usize) -> usize {
        let step = offset / STEP;
        self.characters[step] + characters(&self.text.as_bytes()[step * STEP..offset])
    }

    /// The lines that contain these bytes, as a range of the text, and the number of the first line.
    pub fn lines(&self, bytes: &std::ops::Range<usize>) -> (std::ops::Range<usize>, usize) {
        let line = |offset: usize| self.line_starts.partition_point(|start| *start <= offset.min(self.text.len())) - 1;
        let (first, last) = (line(bytes.start), line(bytes.end.max(bytes.start)));
        let end = self.line_starts.get(last + 1).map_or(self.text.len(), |next| next - 1);
        let text = &self.text[self.line_starts[first]..end];
        (self.line_starts[first]..end - usize::from(text.ends_with('\r')), first + 1)
    }
}

/// The number of characters that begin in these bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::{LineColumn, Sources};
    use crate::config::model::Span;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "ä = 1\nb\n");
        for (bytes, line, column) in [(0..2, 1, 1), (3..4, 1, 3), (7..8, 2, 1), (9..9, 3, 1), (99..99, 3, 1)] {
            let (_, start, _) = sources.locate(&Span { file, bytes: bytes.clone() }).expect("the file is there");
            assert_eq!(start, LineColumn { line, column }, "{bytes:?}");
        }
        let (lines, number) = sources.get(file).expect("the file is there").lines(&(7..8));
        assert_eq!((lines, number), (7..8, 2));
    }

    /// Regression: the CR of a Windows line end was shown as a character of the line.
    #[test]
    fn neither_a_mark_nor_the_end_of_a_line_counts() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "\u{feff}a = 1\r\nb\r\n");
        for (at, line, column) in [(0, 1, 1), (3, 1, 1), (4, 1, 2), (10, 2, 1)] {
            let (_, start, _) = sources.locate(&Span { file, bytes: at..at }).expect("the file is there");
            assert_eq!(start, LineColumn { line, column }, "{at}");
        }
        let source = sources.get(file).expect("the file is there");
        assert_eq!([source.lines(&(3..4)), source.lines(&(10..11))], [(0..8, 1), (10..11, 2)]);
    }

    /// Regression: each column was counted from the start of its line, so 5,000 diagnostics on one line took half a
    /// minute.
    #[test]
    fn a_column_of_a_long_line_is_found_from_a_place_nearby() {
        let mut sources = Sources::default();
        let text = "é".repeat(5_000);
        let file = sources.add("a.json", text.as_str());
        for at in [0, 2, 1022, 1024, 1026, 9_998, 10_000] {
            let (_, start, _) = sources.locate(&Span { file, bytes: at..at }).expect("the file is there");
            assert_eq!(start, LineColumn { line: 1, column: at / 2 + 1 }, "{at}");
        }
        let source = sources.get(file).expect("the file is there");
        assert_eq!(source.characters.len(), 11, "one count for each step, and the first");
    }
}
