//! Keywords that judge nothing where they stand: of another dialect, beside a `$ref` that is all that counts, or half of a
//! condition. Who wrote one expects that it judges, and a schema that accepts more than it says is found out late.
//!
//! What only holds definitions or names is not among them: `definitions` is as good a place as `$defs` in any dialect.

use jsonschema::Draft;
use serde_json::{Map, Value};

use crate::schema::compile::dialect::ref_stands_alone;
use crate::schema::compile::fault::{SchemaFaultKind, Void};
use crate::schema::compile::library::Library;
use crate::schema::compile::rules;
use crate::schema::json::escape;

/// Keywords that not all dialects have, and the first that has each.
const SINCE: [(&str, Draft); 15] = [
    ("$dynamicRef", Draft::Draft202012),
    ("$recursiveRef", Draft::Draft201909),
    ("const", Draft::Draft6),
    ("contains", Draft::Draft6),
    ("dependentRequired", Draft::Draft201909),
    ("dependentSchemas", Draft::Draft201909),
    ("else", Draft::Draft7),
    ("if", Draft::Draft7),
    ("maxContains", Draft::Draft201909),
    ("minContains", Draft::Draft201909),
    ("prefixItems", Draft::Draft202012),
    ("propertyNames", Draft::Draft6),
    ("then", Draft::Draft7),
    ("unevaluatedItems", Draft::Draft201909),
    ("unevaluatedProperties", Draft::Draft201909),
];

/// What 2020-12 has no more, and what took its place. (`dependencies` are judged in any dialect.)
const REPLACED: [(&str, &str); 2] = [("$recursiveRef", "`$dynamicRef`"), ("additionalItems", "`items`")];

/// Warns of the keywords of one schema object that have no effect there.
pub(super) fn check(library: &mut Library<'_>, node: usize, schema: &Map<String, Value>, draft: Draft) {
    let (document, place) = library.place(node);
    for keyword in schema.keys() {
        if let Some(why) = why(keyword, schema, draft) {
            let kind = SchemaFaultKind::VoidKeyword { keyword: keyword.clone(), why };
            library.fault_at_key(document, format!("{place}/{}", escape(keyword)), kind);
        }
    }
}

fn why(keyword: &str, schema: &Map<String, Value>, dialect: Draft) -> Option<Void> {
    if let Some((_, since)) = SINCE.iter().find(|(name, since)| *name == keyword && dialect < *since) {
        return Some(Void::Newer { dialect, since: *since });
    }
    if dialect >= Draft::Draft202012
        && let Some((_, instead)) = REPLACED.iter().find(|(name, _)| *name == keyword)
    {
        return Some(Void::Older { dialect, instead });
    }
    if ref_stands_alone(dialect) && schema.contains_key("$ref") && rules::is_judging(keyword) {
        return Some(Void::BesideRef { dialect });
    }
    let is_half = matches!(keyword, "then" | "else") && !schema.contains_key("if");
    is_half.then_some(Void::WithoutIf)
}
