//! The reference of all keys, for people: written from the table of keys and from nothing else.

use std::fmt::Write;
use std::time::Duration;

use super::keys::{Absent, KEYS, Type};
use super::units::{show_duration, show_size};

/// The reference of all keys as a Markdown table, for docs/configuration.md.
pub fn markdown() -> String {
    let mut text = String::from("| key | value | default | what it is |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            Absent::Required => "*required*".to_owned(),
            Absent::Nothing => String::new(),
            Absent::Value(text) => format!("`{text}`"),
            Absent::Words(words) => words.to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.path(), values(key.value), key.doc);
    }
    text
}

/// What a value may be, in words.
fn values(value: Type) -> String {
    let milliseconds = |ms: u64| show_duration(Duration::from_millis(ms));
    match value {
        Type::Text => "text".to_owned(),
        Type::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Type::Count(0, u64::MAX) => "number".to_owned(),
        Type::Count(min, max) => format!("number, {min} to {max}"),
        Type::Size(min, max) => format!("size, {} to {}", show_size(min), show_size(max)),
        Type::Duration(min, max) => format!("duration, {} to {}", milliseconds(min), milliseconds(max)),
        Type::Rate(max) => format!("`off`, or 1 to {max} a second"),
        Type::Texts => "list of texts".to_owned(),
        Type::Time => "date and time with offset".to_owned(),
        Type::Json => "any value".to_owned(),
        Type::Table => "table".to_owned(),
        Type::Named => "tables by name".to_owned(),
        Type::Tables => "list of tables".to_owned(),
    }
}
