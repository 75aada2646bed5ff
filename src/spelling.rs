//! What an unknown word was probably meant to be, and how to quote a caller's text.

/// The most characters of a caller's text that are quoted in a sentence.
const MAX_QUOTE: usize = 64;

/// The nearest candidate, if it is only a few typing errors away.
///
/// Cheap however long the word is, because it may come from a caller.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let near = candidates.into_iter().filter_map(|candidate| {
        let own = candidate.chars().count();
        let allowed = (own / 3).max(1);
        if length.abs_diff(own) > allowed {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        (distance <= allowed).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate.to_owned())
}

/// Whether two short words differ by one typing error: a letter that is wrong, missing or too many, or two letters
/// swapped.
pub fn is_one_error_from(word: &str, other: &str) -> bool {
    strsim::damerau_levenshtein(word, other) == 1
}

/// A caller's text as it may appear in a sentence, in backticks: it may be long, and contain anything.
pub fn quoted(text: &str) -> String {
    let mut rest = text.chars();
    let start: String = rest.by_ref().take(MAX_QUOTE).flat_map(char::escape_debug).collect();
    let more = if rest.next().is_some() { "…" } else { "" };
    format!("`{start}{more}`")
}

#[cfg(test)]
mod tests {
    use super::{MAX_QUOTE, nearest, quoted};

    #[test]
    fn a_word_is_near_when_few_of_its_letters_are_wrong() {
        let near = |word: &str| nearest(word, ["id", "topics", "subscribe"]);
        for (word, meant) in [
            ("topcs", "topics"),
            ("Topic", "topics"),
            ("SUBSCRIBE", "subscribe"),
            ("sbscrieb", "subscribe"),
            ("i", "id"),
        ] {
            assert_eq!(near(word).as_deref(), Some(meant), "{word}");
        }
        let long = "topics".repeat(100_000);
        for word in ["", "user", "top", "publish", &long] {
            assert_eq!(near(word), None);
        }
    }
    #[test]
    fn what_somebody_sent_is_repeated_as_far_as_a_sentence_can_take_it() {
        let long = "é".repeat(MAX_QUOTE);
        for (text, shown) in [
            ("", "``".to_owned()),
            ("a b", "`a b`".to_owned()),
            ("a\nb\u{1b}", r"`a\nb\u{1b}`".to_owned()),
            (&long, format!("`{long}`")),
            (&format!("{long}x"), format!("`{long}…`")),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }
}
