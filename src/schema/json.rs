//! Reads JSON strictly: every accepted text has just one meaning.
//!
//! Defines which JSON is accepted here: RFC 8259 in UTF-8, without duplicate keys, a byte order mark, lone surrogates,
//! numbers beyond the range of a double (`1e400`, which no schema could judge) or nesting beyond a limit. Knows nothing
//! of schemas. serde_json parses the syntax; our visitor builds the tree and refuses. What only an explanation needs is
//! computed only after a refusal.

mod compact;
mod locate;
#[cfg(test)]
pub(super) mod tests;
mod tree;

pub use self::locate::{Located, locate, locate_all};
pub use self::tree::{Iter, Members, Tree};

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::problem::Refusal;

/// The deepest nesting that any limit may allow; the stack is known to bear this much.
pub const MAX_DEPTH: usize = 127;

/// The byte order mark, which is invisible.
pub const MARK: &str = "\u{feff}";
/// What a refusal says about it.
pub const MARKED: &str = "a byte order mark: send UTF-8 without one";

/// A JSON text that was read: its value for judging, and its compact text for forwarding.
pub struct Json<'t> {
    /// The value, borrowed from the text as it came.
    pub tree: Tree<'t>,
    /// The text without insignificant white space; numbers and the order of members stay as written.
    pub text: Bytes,
}

/// Why relay refuses a text as JSON. Lines and columns count from 1, columns in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it")]
pub enum Fault {
    /// Not JSON, or not allowed here.
    Syntax { line: usize, column: usize, detail: String },
    /// Arrays and objects nest deeper than this.
    TooDeep { line: usize, column: usize, limit: usize },
    /// An object has the same key twice; the pointer (RFC 6901) says where.
    DuplicateKey { pointer: String },
}

/// Reads one JSON text whose arrays and objects nest at most `depth` deep (at most [`MAX_DEPTH`]).
///
/// # Errors
/// [`Fault`] with the place.
pub fn parse(text: &Bytes, depth: usize) -> Result<Json<'_>, Fault> {
    let tree = read(text, depth)?;
    Ok(Json { tree, text: compact::compact(text) })
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax { line, column, detail } => Self::MalformedJson { line, column, detail },
            Fault::TooDeep { line, column, limit } => {
                let detail = format!("nested deeper than `limits.json_depth` allows ({limit})");
                Self::MalformedJson { line, column, detail }
            }
            Fault::DuplicateKey { pointer } => Self::DuplicateKey { pointer },
        }
    }
}

/// Reads the value of a text; `depth` as for [`parse`].
pub(super) fn read(text: &[u8], depth: usize) -> Result<Tree<'_>, Fault> {
    if text.starts_with(MARK.as_bytes()) {
        return Err(Fault::Syntax { line: 1, column: 1, detail: MARKED.to_owned() });
    }
    let text = std::str::from_utf8(text).map_err(|e| not_utf8(text, e.valid_up_to()))?;
    let limit = depth.min(MAX_DEPTH);
    let refused = RefCell::new(None);
    let mut input = serde_json::Deserializer::from_str(text);
    Reader { room: limit, refused: &refused }
        .deserialize(&mut input)
        .and_then(|tree| input.end().map(|()| tree))
        .map_err(|e| explain(text, &e, refused.into_inner(), limit))
}

fn not_utf8(text: &[u8], at: usize) -> Fault {
    let (line, column) = line_and_column(text, at);
    Fault::Syntax { line, column, detail: format!("the byte 0x{:02x} is not UTF-8 here", text[at]) }
}

/// The line and column of a byte of a text, both from 1.
pub fn line_and_column(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + at - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (line, column)
}

/// The offset of the bracket that nests deeper than `limit`.
fn too_deep_at(text: &[u8], limit: usize) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' if depth == limit => break,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at = if *byte == b'"' { compact::end_of_string(text, at) } else { at + 1 };
    }
    at.min(text.len())
}

/// A refusal by the visitor itself; all other errors are serde_json's.
enum Cause {
    TooDeep,
    /// The path to the duplicate key, innermost step first.
    Duplicate(Vec<String>),
}

/// Builds a tree, with `room` for that many more levels of nesting.
#[derive(Clone, Copy)]
struct Reader<'r> {
    room: usize,
    refused: &'r RefCell<Option<Cause>>,
}

impl Reader<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Self { room, ..self }),
            None => {
                self.refused.replace(Some(Cause::TooDeep));
                Err(E::custom("too deep"))
            }
        }
    }

    #[cold]
    fn duplicate<E: serde::de::Error>(self, key: &str) -> E {
        self.refused.replace(Some(Cause::Duplicate(vec![escape(key)])));
        E::custom("duplicate key")
    }

    /// Adds `step` to the path of a refusal found below it, if that is a duplicate key; for others the path does not
    /// matter.
    #[cold]
    fn below<E>(self, step: &str, error: E) -> E {
        if let Some(Cause::Duplicate(way)) = &mut *self.refused.borrow_mut() {
            way.push(escape(step));
        }
        error
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Tree<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Tree<'de>, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree<'de>, E> {
        Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Tree<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        loop {
            match input.next_element_seed(inner) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Tree::Array(items)),
                Err(e) => return Err(self.below(&items.len().to_string(), e)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Tree<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut members = Members::default();
        while let Some(key) = input.next_key_seed(Key)? {
            let value = match input.next_value_seed(inner) {
                Ok(value) => value,
                Err(e) => return Err(self.below(&key, e)),
            };
            members.insert(key, value).map_err(|key| self.duplicate(&key))?;
        }
        Ok(Tree::Object(members))
    }
}

/// Reads a key. serde's own `Cow` would always copy it.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Cow<'de, str>, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// Writes one step of a pointer (RFC 6901, section 3).
pub(super) fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// Reads a step that [`escape`] has written.
pub(super) fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The value to which a reference within a document leads.
pub(super) fn target<'v>(document: &'v Value, reference: &str) -> Option<&'v Value> {
    let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    document.pointer(&pointer)
}

fn explain(text: &str, error: &serde_json::Error, refused: Option<Cause>, limit: usize) -> Fault {
    let said = error.to_string();
    match refused {
        Some(Cause::Duplicate(way)) => {
            let pointer = way.iter().rev().flat_map(|step| ["/", step.as_str()]).collect();
            Fault::DuplicateKey { pointer }
        }
        // serde_json has a nesting limit of its own, which is reached first if ours is at its highest.
        None if !said.starts_with("recursion limit exceeded") => {
            let (line, column) = (error.line().max(1), error.column().max(1));
            Fault::Syntax { line, column, detail: in_our_words(&said) }
        }
        _ => {
            let (line, column) = line_and_column(text.as_bytes(), too_deep_at(text.as_bytes(), limit));
            Fault::TooDeep { line, column, limit }
        }
    }
}

/// Rewords serde_json's messages for people who do not know it. Unknown messages pass unchanged.
pub fn in_our_words(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or_default();
    let ours = match message {
        "EOF while parsing a list" => "the text ends inside an array",
        "EOF while parsing an object" => "the text ends inside an object",
        "EOF while parsing a string" => "the text ends inside a string",
        "EOF while parsing a value" => "the text ends where a value is expected",
        "expected value" => "a value is expected here",
        "expected ident" => "only `true`, `false` and `null` are written without quotes",
        "expected `:`" => "`:` is expected after a key",
        "expected `,` or `]`" => "`,` or `]` is expected after an item",
        "expected `,` or `}`" => "`,` or `}` is expected after a member",
        "key must be a string" | "expected `\"`" => "a key in double quotes is expected here",
        "trailing comma" => "a comma with nothing after it",
        "trailing characters" => "something follows the end of the value",
        "invalid number" => "not a number as JSON writes them",
        "number out of range" => "a number beyond the range of a double",
        "invalid escape" => "an unknown escape in a string",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a lone surrogate: `\\ud800` to `\\udfff` come in pairs"
        }
        "control character (\\u0000-\\u001F) found while parsing a string" => {
            "a raw control character in a string: write it as an escape such as `\\n`"
        }
        other => other,
    };
    ours.to_owned()
}
