//! Reads the files that make up a configuration, relay.toml and what it includes, as text.

use std::collections::HashSet;

use super::files::{Access, FileError, MAX_FILE};
use super::mask::mask;
use super::model::Span;
use super::reading::Reading;
use super::section::{Findings, Placed};
use super::syntax::repair;
use crate::diagnostic::{Diagnostic, FileFact, Sources};
use crate::path::below;

/// The text of one file.
pub(super) struct Document {
    /// The number by which spans know it.
    pub file: usize,
    /// Its text, secrets included, with syntax errors blanked out. It is parsed and then dropped.
    pub text: String,
    /// The syntax errors.
    pub broken: Vec<Diagnostic>,
}

/// Reads relay.toml.
pub(super) fn main(reading: &Reading<'_>, sources: &mut Sources, findings: &Findings) -> Option<Document> {
    match reading.main() {
        Ok(bytes) => document(&reading.shown(reading.main_name()), &bytes, sources, findings),
        Err(error) => {
            let fact = FileFact::Unreadable { path: reading.shown(reading.main_name()), error };
            findings.add(Diagnostic::new(fact, None));
            None
        }
    }
}

/// Reads the files that the patterns of `include` match: each once, in the order of the patterns, then by name.
pub(super) fn included(
    reading: &Reading<'_>,
    patterns: &[Placed<&str>],
    sources: &mut Sources,
    findings: &Findings,
) -> Vec<Document> {
    let mut paths: Vec<(String, &Span)> = Vec::new();
    let mut known = HashSet::from([reading.main_name().to_owned()]);
    for (pattern, span) in patterns {
        match matching(reading, pattern) {
            Ok(found) if found.is_empty() => {
                findings.report(FileFact::IncludeEmpty { pattern: (*pattern).to_owned() }, span);
            }
            Ok(found) => {
                let new = found.into_iter().filter(|path| known.insert(path.clone()));
                paths.extend(new.map(|path| (path, span)));
            }
            Err(fact) => findings.report(fact, span),
        }
    }
    let read = |(path, span): (String, &Span)| match reading.read(Access::Inside, &path, MAX_FILE) {
        Ok(bytes) => document(&reading.shown(&path), &bytes, sources, findings),
        Err(FileError::Outside) => {
            findings.report(FileFact::IncludeOutside { pattern: path }, span);
            None
        }
        Err(error) => {
            findings.report(FileFact::IncludeUnreadable { path, error }, span);
            None
        }
    };
    paths.into_iter().filter_map(read).collect()
}

fn document(path: &str, bytes: &[u8], sources: &mut Sources, findings: &Findings) -> Option<Document> {
    match str::from_utf8(bytes) {
        Ok(text) => {
            let file = sources.add(path, mask(text));
            let (text, broken) = repair(text.to_owned(), file);
            Some(Document { file, text, broken })
        }
        Err(error) => {
            let file = sources.add(path, mask(&String::from_utf8_lossy(bytes)));
            let bytes = error.valid_up_to()..error.valid_up_to();
            findings.report(FileFact::NotUtf8, &Span { file, bytes });
            None
        }
    }
}

/// The files that a pattern matches. Only its last part may have wildcards.
fn matching(reading: &Reading<'_>, pattern: &str) -> Result<Vec<String>, FileFact> {
    let bad = || FileFact::BadInclude { pattern: pattern.to_owned() };
    let outside = || FileFact::IncludeOutside { pattern: pattern.to_owned() };
    if pattern.contains(['[', '{', '\\']) || pattern.ends_with('/') {
        return Err(bad());
    }
    let path = below("", pattern).ok_or_else(outside)?;
    let (directory, last) = path.rsplit_once('/').unwrap_or(("", &path));
    if last.is_empty() || directory.contains(['*', '?']) || last.contains("**") {
        return Err(bad());
    }
    if !last.contains(['*', '?']) {
        return Ok(vec![path]);
    }
    let names = match reading.list(directory) {
        Ok(names) => names,
        Err(FileError::NotFound) => {
            let (pattern, directory) = (pattern.to_owned(), directory.to_owned());
            return Err(FileFact::IncludeNowhere { pattern, directory });
        }
        Err(FileError::Outside) => return Err(outside()),
        Err(error) => return Err(FileFact::IncludeUnreadable { path: directory.to_owned(), error }),
    };
    // As in a shell, a leading wildcard does not match hidden files, such as editors and Kubernetes leave behind.
    let visible = names.into_iter().filter(|name| !name.starts_with('.') && glob(last.as_bytes(), name.as_bytes()));
    let path = |name: String| if directory.is_empty() { name } else { format!("{directory}/{name}") };
    Ok(visible.map(path).collect())
}

/// Matches a name: `*` stands for any text, `?` for one byte. Only the last star has to backtrack, because whatever an
/// earlier one could take as well, the last one can.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The pattern after the last star, and the name after what that star takes so far.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(c) if *c == b'?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((behind, taken)) = star else { return false };
                (p, n) = (behind, taken + 1);
                star = Some((p, n));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn wildcards_stand_for_what_they_do_in_a_shell() {
        for (pattern, name, yes) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.tom", false),
            ("a?.toml", "ab.toml", true),
            ("a?.toml", "a.toml", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
            ("", "a", false),
            ("a**", "a", true),
            ("*a?", "aab", true),
            ("*ab*b", "aab", false),
            ("a*?", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), yes, "{pattern} {name}");
        }
        // Regression: every star was tried with every rest of the name, which took for ever.
        assert!(!glob(format!("{}b", "*a".repeat(20)).as_bytes(), "a".repeat(200).as_bytes()));
    }
}
