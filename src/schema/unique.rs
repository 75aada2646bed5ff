//! Whether all items of a list are different to a schema (`uniqueItems`).
//!
//! Writes each item so that equal items get equal bytes, then sorts these. That takes about as long as reading the
//! list, whatever is in it. Hashing is as fast only if nobody can craft values with equal hashes, and the library's
//! hash has too many of those.

use std::ops::Range;

use serde_json::Number;

use crate::schema::json::Tree;

pub(super) fn is_unique(items: &[Tree<'_>]) -> bool {
    // The most usual case, a list of strings, is compared in place.
    if let Some(mut texts) = items.iter().map(Tree::as_str).collect::<Option<Vec<&str>>>() {
        texts.sort_unstable();
        return texts.is_sorted_by(|one, next| one < next);
    }
    let mut written = Vec::new();
    let ranges: Vec<Range<usize>> = items
        .iter()
        .map(|item| {
            let start = written.len();
            write(item, &mut written);
            start..written.len()
        })
        .collect();
    let mut items: Vec<&[u8]> = ranges.into_iter().map(|range| &written[range]).collect();
    items.sort_unstable();
    items.is_sorted_by(|one, next| one < next)
}

/// Writes the type, the length if there is one, and the content, so that no encoding is a prefix of another.
fn write(tree: &Tree<'_>, out: &mut Vec<u8>) {
    match tree {
        Tree::Null => out.push(b'n'),
        Tree::Bool(value) => out.extend([b'b', u8::from(*value)]),
        Tree::Number(number) => write_number(number, out),
        Tree::String(text) => write_text(text, out),
        Tree::Array(items) => {
            out.push(b'a');
            out.extend(items.len().to_be_bytes());
            items.iter().for_each(|item| write(item, out));
        }
        Tree::Object(members) => {
            out.push(b'o');
            out.extend(members.len().to_be_bytes());
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                write_text(name, out);
                write(value, out);
            }
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b's');
    out.extend(text.len().to_be_bytes());
    out.extend(text.as_bytes());
}

/// Writes whole numbers exactly, `1.0` like `1`; all others, and whole numbers beyond 64 bits, as doubles.
fn write_number(number: &Number, out: &mut Vec<u8>) {
    const BEYOND: f64 = 18_446_744_073_709_551_616.0;
    let double = number.as_f64().unwrap_or_default();
    let whole = match (number.as_i128(), double) {
        (Some(integer), _) => Some(integer),
        (None, double) if double.fract() == 0.0 && double.abs() < BEYOND => Some(double as i128),
        _ => None,
    };
    match whole {
        Some(whole) => {
            out.push(b'i');
            out.extend(whole.to_be_bytes());
        }
        None => {
            out.push(b'd');
            out.extend(double.to_be_bytes());
        }
    }
}
