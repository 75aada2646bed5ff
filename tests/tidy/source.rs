//! Rust files as the tidy tests see them: what is code, what is only for tests, where items end.
//!
//! It is not a parser: it knows comments, literals and braces, which is enough for code that rustfmt has formatted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    /// Relative to the package, for example `src/hub/mod.rs`.
    pub path: String,
    /// As it stands there.
    pub text: String,
    /// The text with everything blanked that is not product code: comments, literals, and what is only for tests.
    /// Offsets and lines match those of the text.
    pub code: String,
    /// The text with comments and literals blanked.
    pub whole: String,
    /// Whether the whole file is only for tests.
    pub is_test: bool,
}

impl Source {
    /// The top-level module that it belongs to, such as `hub`; `main` and `lib` are their own.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or(inside);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The path segment after each occurrence of `prefix` in the product's code, with its line.
    pub fn paths(&self, prefix: &str) -> Vec<(usize, String)> {
        let starts = self.code.match_indices(prefix).filter(|(at, _)| !self.code[..*at].ends_with(is_word));
        let segments = starts.map(|(at, _)| {
            let rest = &self.code[at + prefix.len()..];
            (line_of(&self.code, at), rest.chars().take_while(|c| is_word(*c)).collect())
        });
        segments.collect()
    }

    /// Whether the product's code names this crate, in a path or in a `use`.
    pub fn names_crate(&self, name: &str) -> bool {
        let found = self.code.match_indices(name);
        found.into_iter().any(|(at, _)| {
            let (before, after) = (&self.code[..at], &self.code[at + name.len()..]);
            let begins = !before.ends_with(is_word) && !before.ends_with("::") && !before.ends_with('.');
            begins && (after.starts_with("::") || (before.ends_with("use ") && !after.starts_with(is_word)))
        })
    }
}

/// All Rust files below a directory, sorted by path.
pub fn sources(directory: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(Path::new(directory), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("it was listed");
        let whole = without_comments_and_literals(&text);
        Source { path: path.display().to_string(), code: whole.clone(), whole, text, is_test: false }
    };
    let mut sources: Vec<Source> = paths.into_iter().map(read).collect();
    let tests = test_files(&mut sources);
    for source in &mut sources {
        if tests.contains(&source.path) {
            source.is_test = true;
            source.code = blank(&source.code);
        }
    }
    sources
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the package") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Blanks in each file's code what is only for tests. Returns the module files that such parts declare, and those that
/// these declare in turn.
fn test_files(sources: &mut [Source]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for source in sources.iter_mut() {
        while let Some(at) = source.code.find("#[cfg(test)]") {
            let end = end_of_item(&source.code, at).expect("an attribute stands before an item");
            files.extend(declared(&source.path, &source.text[at..=end]));
            source.code.replace_range(at..=end, &blank(&source.code[at..=end]));
        }
    }
    loop {
        let more = sources.iter().filter(|source| files.contains(&source.path));
        let more: Vec<_> = more.flat_map(|source| declared(&source.path, &source.text)).collect();
        let before = files.len();
        files.extend(more);
        if files.len() == before {
            return files;
        }
    }
}

/// The files of the modules that this part of a file declares without a body.
fn declared(path: &str, part: &str) -> Vec<String> {
    let path = Path::new(path);
    let beside = path.parent().expect("a file has a directory");
    let own = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => beside.to_owned(),
        Some(stem) => beside.join(stem),
    };
    let mut files = Vec::new();
    let mut attribute = None;
    for line in part.lines().map(str::trim) {
        if let Some(file) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            attribute = Some(file);
        } else if let Some(name) = line.strip_suffix(';').and_then(|line| line.split("mod ").nth(1)) {
            let candidates = match attribute.take() {
                Some(file) => vec![beside.join(file)],
                None => vec![own.join(format!("{name}.rs")), own.join(name).join("mod.rs")],
            };
            files.extend(candidates.into_iter().map(|file| file.display().to_string()));
        }
    }
    files
}

/// Where the item that begins at `start` ends: at its semicolon, or at the brace that closes its body.
fn end_of_item(code: &str, start: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.checked_sub(1)?,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && brackets == 0 {
                    return Some(start + at);
                }
            }
            ';' if braces == 0 && brackets == 0 => return Some(start + at),
            _ => {}
        }
    }
    None
}

/// The text with each comment and each literal replaced by blanks of the same length.
fn without_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let opaque = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, 0),
            'r' if !out.ends_with(is_word) || out.ends_with('b') => raw_string(rest).unwrap_or(0),
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if opaque == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push_str(&blank(&rest[..opaque]));
            rest = &rest[opaque..];
        }
    }
    out
}

/// The length of the quoted string that opens at `open`.
fn quoted(text: &str, open: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(open + 1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string that begins here, if one does.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let body = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(1 + hashes + 1 + body.find(&end)? + end.len())
}

/// The length of the character literal that begins here; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (at, _) = chars.next()?;
        return Some(at + text[at + 1..].find('\'')? + 2);
    }
    let (at, c) = chars.next()?;
    (c == '\'').then_some(at + 1)
}

/// Blanks of the same length in bytes, with the same line breaks.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn what_is_no_code_is_blanked_line_for_line() {
    let text = "fn a<'a>() { // a brace {\n    let b = (\"}\\\"\", '}', b'\\'', r#\"}\"}\"#, 'é');\n}\n";
    let code = without_comments_and_literals(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<String>(), "fna<'a>(){letb=(,,b,,);}");
    assert_eq!(end_of_item(&code, 0), code.rfind('}'));
}
