//! Checks `pattern`, `patternProperties` and `format`.

use serde_json::{Map, Value};

use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::Library;
use crate::schema::json::escape;
use crate::schema::judge;
use crate::spelling::{is_one_error_from, nearest};

/// Checks `pattern`, `patternProperties` and `format` of one schema object.
pub(super) fn check(library: &mut Library<'_>, node: usize, schema: &Map<String, Value>) {
    let regexes = library.patterns;
    if let Some(Value::String(pattern)) = schema.get("pattern")
        && let Some(kind) = regexes.fault_of(pattern)
    {
        library.fault_below(node, "pattern", kind);
    }
    if let Some(Value::Object(patterns)) = schema.get("patternProperties") {
        let (document, place) = library.place(node);
        for pattern in patterns.keys() {
            if let Some(kind) = regexes.fault_of(pattern) {
                library.fault_at_key(document, format!("{place}/patternProperties/{}", escape(pattern)), kind);
            }
        }
    }
    if let Some(Value::String(format)) = schema.get("format")
        && !judge::FORMATS.contains(&format.as_str())
    {
        let (kind, document) = (unknown_format(format), library.nodes[node].document);
        // Once per file is enough: generators write `int64` at every number.
        if !kind.is_warning() || library.documents[document].unjudged.insert(format.clone()) {
            library.fault_below(node, "format", kind);
        }
    }
}

/// An unknown format is a fault if it is a misspelt one, as `datetime`, because its author expects a check. Other
/// names, such as `int64`, are annotations of code generators. A longer name is another word, and so is any variant of
/// a short one: `hostnames`, `mail`, `url`.
fn unknown_format(format: &str) -> SchemaFaultKind {
    let letters = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let same = judge::FORMATS.into_iter().find(|known| letters(known) == letters(format)).map(str::to_owned);
    let is_same = same.is_some();
    let is_mistyped = |known: &str| known.len() > 5 && format.len() <= known.len() && is_one_error_from(format, known);
    // `template` is not a mistyped `uri-template`.
    let near = judge::FORMATS.into_iter().filter(|known| known.len().abs_diff(format.len()) <= 2);
    let suggestion = same.or_else(|| nearest(format, near));
    let is_error = suggestion.as_deref().is_some_and(|known| is_same || is_mistyped(known));
    let format = format.to_owned();
    match suggestion {
        Some(suggestion) if is_error => SchemaFaultKind::MisspeltFormat { format, suggestion },
        suggestion => SchemaFaultKind::UnknownFormat { format, suggestion },
    }
}
