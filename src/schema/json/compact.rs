//! Drops insignificant white space from a text that is known to be JSON.

use bytes::Bytes;

/// The text without white space between its tokens; shares the buffer if there is none.
pub(super) fn compact(text: &Bytes) -> Bytes {
    // Most programs write no white space between tokens, and often none in strings either. This check, without
    // branches, finds that out fast.
    let has_any = |part: &[u8]| part.iter().fold(false, |any, byte| any | (*byte <= b' '));
    let Some(first) = text.chunks(64).any(has_any).then(|| next_blank(text, 0)).flatten() else {
        return text.clone();
    };
    let mut kept = Vec::with_capacity(text.len());
    let mut from = 0;
    let mut blank = Some(first);
    while let Some(at) = blank {
        kept.extend_from_slice(&text[from..at]);
        from = at + text[at..].iter().take_while(|b| is_blank(**b)).count();
        blank = next_blank(text, from);
    }
    kept.extend_from_slice(&text[from..]);
    kept.into()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The first white space outside strings at or after `at`, which itself lies outside strings. There, no byte but white
/// space is below `!`; strings are skipped up to the closing quote.
fn next_blank(text: &[u8], mut at: usize) -> Option<usize> {
    while let Some(&byte) = text.get(at) {
        if byte <= b' ' {
            return Some(at);
        }
        at = if byte == b'"' { end_of_string(text, at) } else { at + 1 };
    }
    None
}

/// One past the closing quote of the string whose opening quote is at `at`.
pub(super) fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(step) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += step;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}
