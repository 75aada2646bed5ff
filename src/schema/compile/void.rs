//! Finds keywords without effect: those of another dialect, those beside a `$ref` that disables them, and halves of
//! conditions. Their authors expect them to judge, and would find out late that the schema accepts more than it says.
//!
//! Keywords that only hold definitions or name schemas do not count: `definitions` is as good as `$defs` in any
//! dialect.

use jsonschema::Draft;
use serde_json::{Map, Value};

use crate::schema::compile::dialect::ref_stands_alone;
use crate::schema::compile::fault::{SchemaFaultKind, Void};
use crate::schema::compile::library::Library;
use crate::schema::compile::rules;
use crate::schema::json::escape;

/// Keywords that not all dialects have, with the first dialect that has each.
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

/// Keywords that 2020-12 dropped, with their replacements. (`dependencies` is judged in every dialect.)
const REPLACED: [(&str, &str); 2] = [("$recursiveRef", "`$dynamicRef`"), ("additionalItems", "`items`")];

/// Warns of the keywords without effect in one schema object.
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
