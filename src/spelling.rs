//! What was probably meant by a word that nobody knows.

/// The nearest of the candidates, where it is few typing errors away. Cheap however long the word is, for it may be a
/// caller's.
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

#[cfg(test)]
mod tests {
    use super::nearest;

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
}
