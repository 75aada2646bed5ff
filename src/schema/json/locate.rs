//! Finds the place in a JSON text to which a pointer points, for diagnostics to show.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::schema::json::compact::end_of_string;
use crate::schema::json::{escape, unescape};

/// The place of the value that a pointer names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The bytes of its key, quotes included; `None` for the root and for items of arrays.
    pub key: Option<Range<usize>>,
    /// The bytes of the value.
    pub value: Range<usize>,
}

/// Finds what `pointer` (RFC 6901) names, or `None` if there is no such place. If a key appears twice, the last one
/// counts. The text need not be valid JSON after that place.
pub fn locate(text: &str, pointer: &str) -> Option<Located> {
    let text = text.as_bytes();
    let start = blank(text, 0);
    let mut here = Located { key: None, value: start..end_of_value(text, start) };
    for step in pointer.split('/').skip(1) {
        here = child(text, here.value.start, &unescape(step))?;
    }
    Some(here)
}

/// Finds what each of the pointers names, in one walk through a valid JSON text.
pub fn locate_all(text: &str, pointers: &HashSet<String>) -> HashMap<String, Located> {
    let mut found = HashMap::new();
    let mut walk = Walk { text: text.as_bytes(), pointers, place: String::new(), found: &mut found };
    let start = blank(walk.text, 0);
    walk.value(start, None);
    found
}

struct Walk<'w> {
    text: &'w [u8],
    pointers: &'w HashSet<String>,
    place: String,
    found: &'w mut HashMap<String, Located>,
}

impl Walk<'_> {
    /// Walks the value that starts at `start` and returns the offset after it. Recurses as deep as the text is nested,
    /// which was limited when it was read.
    fn value(&mut self, start: usize, key: Option<Range<usize>>) -> usize {
        let is_object = self.text.get(start) == Some(&b'{');
        let end = match self.text.get(start) {
            Some(b'{' | b'[') => self.members(blank(self.text, start + 1), is_object),
            _ => end_of_value(self.text, start),
        };
        if self.pointers.contains(&self.place) {
            self.found.insert(self.place.clone(), Located { key, value: start..end });
        }
        end
    }

    /// Walks the object or array whose first member starts at `at`, and returns the offset after it.
    fn members(&mut self, mut at: usize, is_object: bool) -> usize {
        let above = self.place.len();
        let mut index = 0;
        while !matches!(self.text.get(at), None | Some(b'}' | b']')) {
            let key = is_object.then(|| at..end_of_string(self.text, at));
            let name = match &key {
                Some(key) => serde_json::from_slice(&self.text[key.clone()]).unwrap_or_default(),
                None => index.to_string(),
            };
            if let Some(key) = &key {
                at = blank(self.text, blank(self.text, key.end) + 1);
            }
            self.place.push('/');
            self.place.push_str(&escape(&name));
            at = blank(self.text, self.value(at, key));
            self.place.truncate(above);
            if self.text.get(at) == Some(&b',') {
                at = blank(self.text, at + 1);
            }
            index += 1;
        }
        (at + 1).min(self.text.len())
    }
}

/// The member or item that `step` names in the value that starts at `at`.
fn child(text: &[u8], at: usize, step: &str) -> Option<Located> {
    let object = match text.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let wanted = if object { None } else { Some(step.parse::<usize>().ok()?) };
    let mut found = None;
    let mut index = 0;
    let mut at = blank(text, at + 1);
    while !matches!(text.get(at), None | Some(b'}' | b']')) {
        let key = object.then(|| at..end_of_string(text, at));
        if let Some(key) = &key {
            at = blank(text, blank(text, key.end) + 1);
        }
        let value = at..end_of_value(text, at);
        let named = match &key {
            Some(key) => serde_json::from_slice::<String>(&text[key.clone()]).is_ok_and(|key| key == step),
            None => wanted == Some(index),
        };
        at = blank(text, value.end);
        if named {
            found = Some(Located { key, value });
        }
        if text.get(at) == Some(&b',') {
            at = blank(text, at + 1);
        } else {
            break;
        }
        index += 1;
    }
    found
}

fn blank(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// The offset after the value that starts at `at`.
fn end_of_value(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { at + 1 } else { at },
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
        if depth == 0 && byte == b'"' {
            return at;
        }
    }
    text.len()
}
