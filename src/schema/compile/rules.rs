//! Checks a document against the rules for schemas, and suggests what was probably meant.
//!
//! An unknown keyword is allowed and judges nothing, so a misspelt one would pass silently. It is not a fault, because
//! it may be an extension, but it gets a warning if it resembles a keyword that judges.

use jsonschema::{Draft, ValidationError};
use serde_json::{Map, Value};

use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Document, Library};
use crate::schema::json::escape;
use crate::schema::violation;
use crate::spelling::nearest;

/// The most breaches of the rules that are reported for one file.
const MAX_RULES: usize = 16;

/// The values of `type`.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords of any dialect that judge, or that lead to some that do. Short ones (`if`, `not`, `id`) are left out
/// because too many words resemble them.
#[rustfmt::skip]
const JUDGING: &[&str] = &[
    "$anchor", "$defs", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$ref", "$schema",
    "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "contains", "definitions", "dependencies",
    "dependentRequired", "dependentSchemas", "else", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items",
    "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength",
    "minProperties", "minimum", "multipleOf", "oneOf", "pattern", "patternProperties", "prefixItems", "properties",
    "propertyNames", "required", "then", "type", "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
];

/// Whether a keyword judges by itself in some dialect, rather than only holding or naming schemas.
pub(super) fn is_judging(keyword: &str) -> bool {
    let is_short = matches!(keyword, "if" | "not");
    is_short || (JUDGING.contains(&keyword) && !keyword.starts_with('$') && keyword != "definitions")
}

/// Other keywords of any dialect, which are correct even if they resemble one of those.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "$comment", "$id", "$vocabulary", "contentEncoding", "contentMediaType", "contentSchema", "default", "deprecated",
    "description", "examples", "id", "if", "not", "readOnly", "title", "writeOnly",
];

/// Whether a keyword has a meaning in some dialect.
pub(super) fn is_known(keyword: &str) -> bool {
    JUDGING.contains(&keyword) || OTHERS.contains(&keyword)
}

/// Checks a document against the rules of its dialect.
pub(super) fn check(library: &mut Library<'_>, id: usize) {
    let Document { value, draft, known_good, nodes, .. } = &library.documents[id];
    // If dialects are mixed, each part has rules of its own; the compiler applies those.
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
        // The checks of patterns and references report this better.
        if error.kind().keyword() == "format" {
            continue;
        }
        let pointer = error.instance_path().as_str().to_owned();
        let (above, keyword) = pointer.rsplit_once('/').unwrap_or_default();
        let is_schema = |place: &str| library.by_place.contains_key(&(id, place.to_owned()));
        let (is_keyword, is_whole) = (is_schema(above), is_schema(&pointer));
        let keyword_of = |pointer: &str| {
            let mut parts = std::iter::successors(pointer.rsplit_once('/'), |(above, _)| above.rsplit_once('/'));
            parts.find(|(above, _)| is_schema(above)).map(|(_, name)| name.to_owned())
        };
        let kind = unknown_type(&error).filter(|_| is_keyword && keyword == "type").unwrap_or_else(|| {
            let idiom = (is_keyword && value.get("$schema").is_none()).then(|| idiom(keyword, error.instance()));
            SchemaFaultKind::NotASchema {
                // The name above a schema, or in the place of one, may be a property's.
                keyword: keyword_of(&pointer).filter(|_| !is_whole).unwrap_or_default(),
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

/// A hint for what older drafts allow, in a document without `$schema`.
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

/// Warns of unknown keywords in one schema object that resemble a known one.
pub(super) fn check_spelling(library: &mut Library<'_>, node: usize, schema: &Map<String, Value>) {
    let (document, place) = library.place(node);
    for keyword in schema.keys().filter(|keyword| !is_known(keyword) && !keyword.starts_with("x-")) {
        if let Some(suggestion) = nearest(keyword, JUDGING.iter().copied()) {
            library.misspelt(document, format!("{place}/{}", escape(keyword)), keyword, suggestion);
        }
    }
}
