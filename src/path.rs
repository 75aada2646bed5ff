//! Paths of the configuration's files, checked by their text alone: none may leave relay.toml's directory.
//!
//! This is the first of two defences: whoever reads a file also checks that no link leads outside.

/// Resolves a path against a directory, to the one spelling of each file: without `.`, `..` and empty parts.
///
/// Both are relative to relay.toml's directory, with `/` between their parts. `None` if it leads outside, even if it
/// would come back.
pub fn below(directory: &str, path: &str) -> Option<String> {
    // A backslash may separate parts too, and the parts after it would not be checked.
    if path.starts_with('/') || path.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_file_has_one_spelling_and_none_outside() {
        let cases = [
            ("", "schemas/cat.json", Some("schemas/cat.json")),
            ("", "./schemas//cat.json", Some("schemas/cat.json")),
            ("", "schemas/old/../cat.json", Some("schemas/cat.json")),
            ("", "schemas/..", Some("")),
            ("", "", Some("")),
            ("", ".", Some("")),
            ("", "a/", Some("a")),
            ("", "...", Some("...")),
            ("", "..a/b..", Some("..a/b..")),
            // Percent-encoding is decoded before this is called.
            ("", "%2e%2e/a", Some("%2e%2e/a")),
            ("", "..", None),
            ("", "../a", None),
            ("", "./../a", None),
            ("", ".//../a", None),
            ("", "a/../../a", None),
            ("", "a/b/../../../a/b", None),
            ("", "/", None),
            ("", "/etc/passwd", None),
            ("", "//etc/passwd", None),
            ("", "a\\..\\..\\b", None),
            ("", "..\\b", None),
            ("schemas", "cat.json", Some("schemas/cat.json")),
            ("schemas", "../cat.json", Some("cat.json")),
            ("schemas/old", "../../cat.json", Some("cat.json")),
            ("schemas/old", "../new/./cat.json", Some("schemas/new/cat.json")),
            ("schemas/old", "../../../cat.json", None),
            ("schemas", "../../schemas/cat.json", None),
            ("schemas", "/etc/passwd", None),
            ("schemas", "..\\..\\cat.json", None),
        ];
        for (directory, path, expected) in cases {
            assert_eq!(below(directory, path).as_deref(), expected, "`{path}` in `{directory}`");
        }
    }
}
