//! The texts that diagnostics point into, with their secrets masked.

use std::sync::Arc;

use crate::config::model::Span;

/// The files that were read as text, in the order in which they were read.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path, as people are shown it.
    pub path: Arc<str>,
    /// Its text. Bytes of secrets are masked one by one, so that places stay where they are.
    pub text: Arc<str>,
    line_starts: Arc<[usize]>,
}

/// A place as people count: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Sources {
    /// Adds a file; answers the number that spans know it by.
    pub fn add(&mut self, path: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> usize {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.0.push(Source { path: path.into(), text, line_starts });
        self.0.len() - 1
    }

    /// The file that spans know by this number.
    pub fn get(&self, file: usize) -> Option<&Source> {
        self.0.get(file)
    }

    /// The file of a span, and where the span begins and ends.
    pub fn locate(&self, span: &Span) -> Option<(&Source, LineColumn, LineColumn)> {
        let source = self.get(span.file)?;
        Some((source, source.position(span.bytes.start), source.position(span.bytes.end)))
    }
}

impl Source {
    fn position(&self, offset: usize) -> LineColumn {
        let offset = offset.min(self.text.len());
        let index = self.line_starts.partition_point(|start| *start <= offset) - 1;
        let before = self.text.get(self.line_starts[index]..offset).unwrap_or_default();
        LineColumn { line: index + 1, column: before.chars().filter(|c| *c != '\u{feff}').count() + 1 }
    }

    /// The lines that contain these bytes, as a range of the text, and the number of the first, from 1.
    pub fn lines(&self, bytes: &std::ops::Range<usize>) -> (std::ops::Range<usize>, usize) {
        let line = |offset: usize| self.line_starts.partition_point(|start| *start <= offset.min(self.text.len())) - 1;
        let (first, last) = (line(bytes.start), line(bytes.end.max(bytes.start)));
        let end = self.line_starts.get(last + 1).map_or(self.text.len(), |next| next - 1);
        (self.line_starts[first]..end, first + 1)
    }
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
}
