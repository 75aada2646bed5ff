//! The files that make up a configuration: relay.toml and what it includes, as text.

use super::files::{FileError, MAX_FILE, Reading};
use super::mask::mask;
use super::model::Span;
use super::section::{Findings, Placed};
use super::syntax::repair;
use crate::diagnostic::{Diagnostic, FileFact, Sources};
use crate::path::below;

/// The text of one file.
pub(super) struct Document {
    /// The number that spans know it by.
    pub file: usize,
    /// Its text, secrets and all, without what is no TOML: it is parsed and then forgotten.
    pub text: String,
    /// What is no TOML.
    pub broken: Vec<Diagnostic>,
}

/// Reads relay.toml.
pub(super) fn main(reading: &Reading<'_>, sources: &mut Sources, findings: &Findings) -> Option<Document> {
    match reading.main() {
        Ok(bytes) => document(&reading.shown(reading.main_name()), &bytes, sources, findings),
        Err(error) => {
            let fact = FileFact::Unreadable { path: reading.shown(reading.main_name()), error, in_force: false };
            findings.add(Diagnostic::new(fact, None));
            None
        }
    }
}

/// Reads what the patterns of `include` match, each file once, in the order of the patterns and then of the names.
pub(super) fn included(
    reading: &Reading<'_>,
    patterns: &[Placed<&str>],
    sources: &mut Sources,
    findings: &Findings,
) -> Vec<Document> {
    let mut paths: Vec<(String, &Span)> = Vec::new();
    for (pattern, span) in patterns {
        match matching(reading, pattern) {
            Ok(found) if found.is_empty() => {
                findings.report(FileFact::IncludeEmpty { pattern: (*pattern).to_owned() }, span);
            }
            Ok(found) => {
                let new = found.into_iter().filter(|path| path != reading.main_name());
                for path in new {
                    if paths.iter().all(|(known, _)| *known != path) {
                        paths.push((path, span));
                    }
                }
            }
            Err(fact) => findings.report(fact, span),
        }
    }
    let read = |(path, span): (String, &Span)| match reading.read(&path, MAX_FILE) {
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

/// The files that a pattern matches: only its last part may have wildcards.
fn matching(reading: &Reading<'_>, pattern: &str) -> Result<Vec<String>, FileFact> {
    let owned = || pattern.to_owned();
    if below("", pattern).is_none() {
        return Err(FileFact::IncludeOutside { pattern: owned() });
    }
    let (directory, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if last.is_empty() || directory.contains(['*', '?']) || last.contains("**") || pattern.contains(['[', '{']) {
        return Err(FileFact::BadInclude { pattern: owned() });
    }
    if !last.contains(['*', '?']) {
        return Ok(vec![owned()]);
    }
    let names = match reading.list(directory) {
        Ok(names) => names,
        Err(FileError::NotFound) => Vec::new(),
        Err(FileError::Outside) => return Err(FileFact::IncludeOutside { pattern: owned() }),
        Err(error) => return Err(FileFact::IncludeUnreadable { path: directory.to_owned(), error }),
    };
    // As in a shell, a wildcard at the front does not match hidden files: editors and Kubernetes leave such.
    let visible = names.into_iter().filter(|name| !name.starts_with('.') && glob(last.as_bytes(), name.as_bytes()));
    let path = |name: String| if directory.is_empty() { name } else { format!("{directory}/{name}") };
    Ok(visible.map(path).collect())
}

/// `*` stands for any text, `?` for one byte. The last star alone is tried with more: what one before it would take, it can.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the pattern goes on behind the last star, and where the name does if the star takes a byte more.
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
        // Each star was tried with each rest of the name: that ended with nobody there to see it.
        assert!(!glob(format!("{}b", "*a".repeat(20)).as_bytes(), "a".repeat(200).as_bytes()));
    }
}
