//! Estimates how many alternatives a schema multiplies out to, which is what its canonical form and a comparison cost.
//!
//! The library multiplies out every conjunction of disjunctions: a chain of seven `if` would take minutes. If the
//! estimate is too high, the only harm is that a comparison answers "unknown".

use serde_json::{Map, Value};

use crate::schema::json;

/// The most alternatives that may be multiplied out. This admits one choice among a hundred, as of an `enum`, which is
/// compared in well under a second, but not five two-way choices side by side ([`choice`] counts 243), which take
/// seconds.
const MOST: u64 = 101;

/// Whether a document without references to other files multiplies out to more than is affordable.
pub(super) fn are_too_many(document: &Value) -> bool {
    let mut count = Count { root: document, way: Vec::new(), steps: 0 };
    count.of(document) > MOST || count.steps > STEPS
}

/// The number of schemas in such a document; one that is referred to counts once per reference.
pub(super) fn schemas(document: &Value) -> usize {
    let mut count = Count { root: document, way: Vec::new(), steps: 0 };
    count.of(document);
    count.steps
}

/// The most schemas that the estimate looks at.
const STEPS: usize = 20_000;

/// Keywords, in any dialect, whose schema applies to a part of a value, except those that hold schemas by name.
const PARTS: [&str; 9] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "items",
    "prefixItems",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];

struct Count<'s> {
    root: &'s Value,
    /// The references on the way to the current schema.
    way: Vec<&'s str>,
    steps: usize,
}

impl<'s> Count<'s> {
    /// The alternatives for the value itself, or for one of its parts if those are more.
    fn of(&mut self, schema: &'s Value) -> u64 {
        let Value::Object(schema) = schema else { return 1 };
        self.steps += 1;
        if self.steps > STEPS {
            return MOST + 1;
        }
        let mut own = 1_u64;
        let mut parts = 1_u64;
        for (keyword, value) in schema {
            match keyword.as_str() {
                "anyOf" | "oneOf" => own = own.saturating_mul(choice(self.sum(value))),
                "allOf" => own = own.saturating_mul(self.product(value)),
                "not" => own = own.saturating_mul(choice(self.negated(value))),
                "if" => own = own.saturating_mul(choice(self.conditional(schema))),
                "dependentSchemas" | "dependentRequired" | "dependencies" => {
                    own = own.saturating_mul(self.dependent(value));
                }
                "$ref" => own = own.saturating_mul(self.target(value)),
                "properties" | "patternProperties" => {
                    let members = value.as_object().into_iter().flat_map(Map::values);
                    parts = members.map(|member| self.of(member)).fold(parts, u64::max);
                }
                _ if PARTS.contains(&keyword.as_str()) => {
                    // Holds one schema or, in some dialects, a list.
                    let schemas = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                    parts = schemas.iter().map(|item| self.of(item)).fold(parts, u64::max);
                }
                _ => {}
            }
        }
        own.max(parts)
    }

    fn sum(&mut self, branches: &'s Value) -> u64 {
        list(branches).iter().fold(0, |sum, branch| self.of(branch).saturating_add(sum)).max(1)
    }

    fn product(&mut self, branches: &'s Value) -> u64 {
        list(branches).iter().fold(1, |product, branch| self.of(branch).saturating_mul(product))
    }

    /// Each member has two cases: it is absent, or the schema that depends on it applies to the same value.
    fn dependent(&mut self, members: &'s Value) -> u64 {
        let members = members.as_object().into_iter().flat_map(Map::values);
        members.fold(1, |product, member| choice(self.of(member).saturating_add(1)).saturating_mul(product))
    }

    /// Each keyword that may fail is an alternative.
    fn negated(&mut self, schema: &'s Value) -> u64 {
        let keywords = u64::from(size(schema)).max(1);
        self.of(schema).saturating_mul(keywords)
    }

    fn conditional(&mut self, schema: &'s Map<String, Value>) -> u64 {
        let mut branch = |keyword: &str| schema.get(keyword).map_or(1, |branch| self.of(branch));
        let (then, or) = (branch("then"), branch("else"));
        let condition = schema.get("if").map_or(1, |condition| self.negated(condition));
        then.saturating_add(or.saturating_mul(condition))
    }

    fn target(&mut self, reference: &'s Value) -> u64 {
        let Some(text) = reference.as_str() else { return 1 };
        let Some(target) = json::target(self.root, text) else { return 1 };
        if self.way.contains(&text) {
            return 1;
        }
        self.way.push(text);
        let count = self.of(target);
        self.way.pop();
        count
    }
}

/// The factor of a choice: its branches plus one, because a difference also needs the opposite of each branch.
/// Measured: five two-way choices take seconds, one choice among sixty a tenth of a second.
fn choice(branches: u64) -> u64 {
    if branches > 1 { branches.saturating_add(1) } else { 1 }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn size(value: &Value) -> u32 {
    value.as_object().map_or(0, |members| u32::try_from(members.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::are_too_many;

    fn chain(length: usize) -> Value {
        let step = |i: usize| json!({"if": {"required": ["k"], "properties": {"k": {"const": i}}}, "then": {"required": [i.to_string()]}});
        json!({"allOf": (0..length).map(step).collect::<Value>()})
    }

    #[test]
    fn conjunctions_of_disjunctions_multiply() {
        let union = |n: usize| json!({"oneOf": (0..n).map(|i| json!({"const": i})).collect::<Value>()});
        assert!(!are_too_many(&union(60)));
        assert!(are_too_many(&union(101)));
        assert!(!are_too_many(&json!({"allOf": [union(9), union(9)]})));
        assert!(are_too_many(&json!({"allOf": [union(10), union(10)]})));
        assert!(!are_too_many(&json!({"properties": {"a": union(60), "b": union(60)}})));
        assert!(!are_too_many(&chain(3)));
        assert!(are_too_many(&chain(5)));
        for part in ["items", "prefixItems", "additionalItems", "contains", "unevaluatedItems", "unevaluatedProperties"]
        {
            assert!(are_too_many(&json!({ part: chain(5) })), "{part}");
            assert!(are_too_many(&json!({ part: [true, chain(5)] })), "{part}");
        }
        for dependent in ["dependentSchemas", "dependencies"] {
            assert!(are_too_many(&json!({ dependent: {"a": chain(5)} })), "{dependent}");
            assert!(are_too_many(&json!({ dependent: {"a": union(9), "b": union(9)} })), "{dependent}");
            assert!(!are_too_many(&json!({ dependent: {"a": union(9), "b": ["a"]} })), "{dependent}");
        }
        let doubling = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]}, "b": union(11)}});
        assert!(are_too_many(&doubling));
        assert!(!are_too_many(&json!({"anyOf": [{"type": "null"}, {"properties": {"next": {"$ref": "#"}}}]})));
    }
}
