//! The dialects of JSON Schema, as far as finding subschemas needs: which keywords hold schemas, and in which shape.

use jsonschema::Draft;
use serde_json::{Map, Value};

use crate::schema::json::escape;
use crate::schema::judge::FORMATS;

/// How a subschema relates to the value that its schema judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Applies to the very same value.
    Same,
    /// Applies to a part of the value.
    Part,
    /// Applies to nothing by itself.
    Definition,
}

/// The shape in which a keyword's value holds schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    /// One schema, or an array of them.
    OneOrList,
    List,
    Map,
}

const DIALECTS: [Draft; 5] = [Draft::Draft4, Draft::Draft6, Draft::Draft7, Draft::Draft201909, Draft::Draft202012];

/// The dialect that a document names in `$schema`; 2020-12 if it names none.
///
/// # Errors
/// The value of `$schema`, if it names no known dialect.
pub(super) fn detect(document: &Value) -> Result<Draft, String> {
    match document.get("$schema").and_then(Value::as_str) {
        None => Ok(Draft::Draft202012),
        Some(uri) => match Draft::from_schema_uri(uri) {
            Draft::Unknown => Err(uri.to_owned()),
            draft => Ok(draft),
        },
    }
}

/// Whether the URI names a meta-schema of this dialect or one of its vocabularies, which the compiler has built in.
pub(super) fn is_built_in(uri: &str, draft: Draft) -> bool {
    let vocabularies = match draft {
        Draft::Draft201909 => "https://json-schema.org/draft/2019-09/meta/",
        Draft::Draft202012 => "https://json-schema.org/draft/2020-12/meta/",
        other => return Draft::from_schema_uri(uri) == other,
    };
    Draft::from_schema_uri(uri) == draft || uri.starts_with(vocabularies)
}

/// Whether the URI is built in for schemas of some dialect.
pub(super) fn is_built_in_somewhere(uri: &str) -> bool {
    DIALECTS.into_iter().any(|draft| is_built_in(uri, draft))
}

/// The value of `$schema` for a dialect.
pub(super) fn uri(draft: Draft) -> &'static str {
    match draft {
        Draft::Draft4 => "http://json-schema.org/draft-04/schema#",
        Draft::Draft6 => "http://json-schema.org/draft-06/schema#",
        Draft::Draft7 => "http://json-schema.org/draft-07/schema#",
        Draft::Draft201909 => "https://json-schema.org/draft/2019-09/schema",
        _ => "https://json-schema.org/draft/2020-12/schema",
    }
}

/// The formats that relay checks although at least one of these dialects does not know them.
pub(super) fn formats_unknown_in(drafts: &[Draft]) -> Vec<&'static str> {
    let options = jsonschema::options();
    let is_known = |format: &str| drafts.iter().all(|draft| options.is_known_format(*draft, format));
    FORMATS.into_iter().filter(|format| !is_known(format)).collect()
}

/// Whether `$ref` makes every keyword beside it void, as it did before 2019-09.
pub(super) fn ref_stands_alone(draft: Draft) -> bool {
    matches!(draft, Draft::Draft4 | Draft::Draft6 | Draft::Draft7)
}

/// The name of a dialect in messages.
pub(super) fn name(draft: Draft) -> &'static str {
    match draft {
        Draft::Draft4 => "draft 4",
        Draft::Draft6 => "draft 6",
        Draft::Draft7 => "draft 7",
        Draft::Draft201909 => "2019-09",
        _ => "2020-12",
    }
}

/// The keyword under which the dialect keeps definitions.
pub(super) fn definitions(draft: Draft) -> &'static str {
    if ref_stands_alone(draft) { "definitions" } else { "$defs" }
}

/// Every subschema of a schema object, with its pointer relative to that object and its role.
pub(super) fn subschemas(schema: &Map<String, Value>, draft: Draft) -> Vec<(String, &Value, Role)> {
    let void = ref_stands_alone(draft) && schema.contains_key("$ref");
    let mut found = Vec::new();
    for (keyword, value) in schema {
        let Some((shape, role)) = keyword_of(keyword, draft) else { continue };
        if void && role != Role::Definition {
            continue;
        }
        match (shape, value) {
            (Shape::One | Shape::OneOrList, Value::Object(_) | Value::Bool(_)) => {
                found.push((format!("/{keyword}"), value, role));
            }
            (Shape::List | Shape::OneOrList, Value::Array(items)) => {
                let placed = items.iter().enumerate();
                found.extend(placed.map(|(index, item)| (format!("/{keyword}/{index}"), item, role)));
            }
            (Shape::Map, Value::Object(members)) => {
                let schemas = members.iter().filter(|(_, member)| member.is_object() || member.is_boolean());
                found.extend(schemas.map(|(name, member)| (format!("/{keyword}/{}", escape(name)), member, role)));
            }
            _ => {}
        }
    }
    found
}

fn keyword_of(keyword: &str, draft: Draft) -> Option<(Shape, Role)> {
    Some(match keyword {
        "allOf" | "anyOf" | "oneOf" => (Shape::List, Role::Same),
        "not" => (Shape::One, Role::Same),
        "if" | "then" | "else" if draft >= Draft::Draft7 => (Shape::One, Role::Same),
        "dependencies" => (Shape::Map, Role::Same),
        "dependentSchemas" if draft >= Draft::Draft201909 => (Shape::Map, Role::Same),
        "properties" | "patternProperties" => (Shape::Map, Role::Part),
        "additionalProperties" => (Shape::One, Role::Part),
        "additionalItems" if draft <= Draft::Draft201909 => (Shape::One, Role::Part),
        "items" if draft <= Draft::Draft201909 => (Shape::OneOrList, Role::Part),
        "items" => (Shape::One, Role::Part),
        "prefixItems" if draft >= Draft::Draft202012 => (Shape::List, Role::Part),
        "contains" | "propertyNames" if draft >= Draft::Draft6 => (Shape::One, Role::Part),
        "unevaluatedItems" | "unevaluatedProperties" | "contentSchema" if draft >= Draft::Draft201909 => {
            (Shape::One, Role::Part)
        }
        "definitions" => (Shape::Map, Role::Definition),
        "$defs" if draft >= Draft::Draft201909 => (Shape::Map, Role::Definition),
        _ => return None,
    })
}
