//! What the rules for schemas say about a document, in words that name what was probably meant.
//!
//! A keyword that nobody knows is allowed and judges nothing: so a misspelt one would pass in silence. It is no fault, for
//! it may be somebody's own; where it is near one that judges it is worth a warning.

use jsonschema::{Draft, ValidationError};
use serde_json::{Map, Value};

use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Document, Library};
use crate::schema::json::escape;
use crate::schema::violation;
use crate::spelling::nearest;

/// The most faults that the rules are told to have found in one file.
const MAX_RULES: usize = 16;

/// The values of `type`.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords of any dialect that judge, or that lead to some that do. Short ones (`if`, `not`, `id`) are left out: too
/// many words are near them.
#[rustfmt::skip]
const JUDGING: &[&str] = &[
    "$anchor", "$defs", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$ref", "$schema",
    "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "contains", "definitions", "dependencies",
    "dependentRequired", "dependentSchemas", "else", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items",
    "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength",
    "minProperties", "minimum", "multipleOf", "oneOf", "pattern", "patternProperties", "prefixItems", "properties",
    "propertyNames", "required", "then", "type", "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
];

/// Whether a keyword judges in some dialect by itself, and does not only hold or name what does.
pub(super) fn is_judging(keyword: &str) -> bool {
    let is_short = matches!(keyword, "if" | "not");
    is_short || (JUDGING.contains(&keyword) && !keyword.starts_with('$') && keyword != "definitions")
}

/// Keywords of any dialect that may be near one of those, and are meant as they stand.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "$comment", "$id", "$vocabulary", "contentEncoding", "contentMediaType", "contentSchema", "default", "deprecated",
    "description", "examples", "id", "if", "not", "readOnly", "title", "writeOnly",
];

/// Whether a keyword means something in some dialect.
pub(super) fn is_known(keyword: &str) -> bool {
    JUDGING.contains(&keyword) || OTHERS.contains(&keyword)
}

/// Checks a document against the rules of its dialect.
pub(super) fn check(library: &mut Library<'_>, id: usize) {
    let Document { value, draft, known_good, nodes, .. } = &library.documents[id];
    // Where dialects are mixed each part has rules of its own, which the compiler applies.
    if *known_good || nodes.iter().any(|node| library.nodes[*node].draft != *draft) {
        return;
    }
    let value = value.clone();
    let rules = match draft {
        Draft::Draft4 => jsonschema::draft4::meta::validator(),
        Draft::Draft6 => jsonschema::draft6::meta::validator(),
        Draft::Draft7 => jsonschema::draft7::meta::validator(),
        Draft::Draft201909 => jsonschema::draft201909::meta::validator(),
        _ => jsonschema::draft202012::meta::validator(),
    };
    if rules.is_valid(&value) {
        return;
    }
    for error in rules.iter_errors(&value).take(MAX_RULES) {
        // Told better by those who compile patterns and resolve references.
        if error.kind().keyword() == "format" {
            continue;
        }
        let pointer = error.instance_path().as_str().to_owned();
        let (above, keyword) = pointer.rsplit_once('/').unwrap_or_default();
        let is_keyword = library.by_place.contains_key(&(id, above.to_owned()));
        let kind = unknown_type(&error).filter(|_| is_keyword && keyword == "type").unwrap_or_else(|| {
            let idiom = (is_keyword && value.get("$schema").is_none()).then(|| idiom(keyword, error.instance()));
            SchemaFaultKind::NotASchema {
                keyword: keyword.to_owned(),
                detail: violation::sentence(&error),
                help: idiom.flatten(),
            }
        });
        library.fault(id, pointer, kind);
    }
}

fn unknown_type(error: &ValidationError<'_>) -> Option<SchemaFaultKind> {
    let name = |value: &Value| value.as_str().filter(|name| !TYPES.contains(name)).map(str::to_owned);
    let name = match error.instance().as_ref() {
        Value::Array(types) => types.iter().find_map(name)?,
        other => name(other)?,
    };
    let suggestion = nearest(&name, TYPES);
    Some(SchemaFaultKind::UnknownType { name, suggestion })
}

/// What older drafts allow, of a document that does not say that it is of one of them.
fn idiom(keyword: &str, value: &Value) -> Option<&'static str> {
    match (keyword, value) {
        ("items", Value::Array(_)) => Some(
            "without `$schema` it is read as 2020-12: write `prefixItems` for a list of schemas, or name the draft in \
             `$schema`",
        ),
        ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(_)) => Some(
            "without `$schema` it is read as 2020-12, where this is the bound itself: write the number here, or name \
             draft 4 in `$schema`",
        ),
        _ => None,
    }
}

/// Warns of keywords of one schema object that are nearly known.
pub(super) fn check_spelling(library: &mut Library<'_>, node: usize, schema: &Map<String, Value>) {
    let (document, place) = library.place(node);
    for keyword in schema.keys().filter(|keyword| !is_known(keyword) && !keyword.starts_with("x-")) {
        if let Some(suggestion) = nearest(keyword, JUDGING.iter().copied()) {
            library.misspelt(document, format!("{place}/{}", escape(keyword)), keyword, suggestion);
        }
    }
}
