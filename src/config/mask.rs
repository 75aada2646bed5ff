//! Texts without their secrets, for diagnostics to show.

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
        Some('{') if ["env", "file", "{}"].iter().any(|key| rest[..end_of_line].contains(key)) => 0,
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
