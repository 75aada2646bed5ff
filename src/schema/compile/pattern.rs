//! Regular expressions and formats of schemas: told apart by what is wrong with them.

use std::sync::Arc;

use jsonschema::json::SerdeJson;
use jsonschema::{Draft, PatternCache, Retrieve, ValidationOptions};
use serde_json::{Map, Value, json};

use crate::schema::borrowed::Borrowed;
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::Library;
use crate::schema::json::escape;
use crate::schema::judge;

/// Compiles patterns with the linear engine, each text once.
pub(super) struct Patterns {
    limit: usize,
    cache: PatternCache,
}

impl Patterns {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, cache: PatternCache::new() }
    }

    /// What validators are built with.
    pub(super) fn options<'i>(&self) -> ValidationOptions<'i, Arc<dyn Retrieve>, Borrowed> {
        judge::options(self.limit).with_pattern_cache(self.cache.clone())
    }

    /// Checks `pattern`, `patternProperties` and `format` of one schema object.
    pub(super) fn check(&self, library: &mut Library<'_>, node: usize, schema: &Map<String, Value>, draft: Draft) {
        let (document, place) = (library.nodes[node].document, library.nodes[node].pointer.clone());
        if let Some(Value::String(pattern)) = schema.get("pattern")
            && let Some(kind) = self.fault_of(pattern)
        {
            library.fault(document, format!("{place}/pattern"), kind);
        }
        if let Some(Value::Object(patterns)) = schema.get("patternProperties") {
            for pattern in patterns.keys() {
                if let Some(kind) = self.fault_of(pattern) {
                    library.fault_at_key(document, format!("{place}/patternProperties/{}", escape(pattern)), kind);
                }
            }
        }
        if let Some(Value::String(format)) = schema.get("format")
            && !jsonschema::options().is_known_format(draft, format)
        {
            let kind = SchemaFaultKind::UnknownFormat { format: format.clone() };
            library.fault(document, format!("{place}/format"), kind);
        }
    }

    fn fault_of(&self, pattern: &str) -> Option<SchemaFaultKind> {
        let schema = json!({ "pattern": pattern });
        if self.options().build(&schema).is_ok() {
            return None;
        }
        let pattern = pattern.to_owned();
        Some(match beyond_linear(&pattern) {
            Some(Beyond::LookAround) => SchemaFaultKind::RegexLookAround { pattern },
            Some(Beyond::BackReference) => SchemaFaultKind::RegexBackReference { pattern },
            None if is_too_big(&pattern) => SchemaFaultKind::RegexTooBig { pattern, limit: self.limit },
            None => SchemaFaultKind::RegexInvalid { pattern },
        })
    }
}

/// Whether a pattern that did not compile is a pattern: only repetitions with counts grow beyond their text.
fn is_too_big(pattern: &str) -> bool {
    let syntax = judge::options::<SerdeJson>(0).build(&json!({ "format": "regex" }));
    pattern.contains('{') && syntax.is_ok_and(|syntax| syntax.is_valid(&json!(pattern)))
}

#[derive(Debug, PartialEq, Eq)]
enum Beyond {
    LookAround,
    BackReference,
}

/// What of a pattern no linear engine can do.
fn beyond_linear(pattern: &str) -> Option<Beyond> {
    let mut in_class = false;
    let mut rest = pattern.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some((_, '1'..='9' | 'k')) if !in_class => return Some(Beyond::BackReference),
                _ => {}
            },
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let group = &pattern[at + 1..];
                if ["?=", "?!", "?<=", "?<!"].iter().any(|start| group.starts_with(start)) {
                    return Some(Beyond::LookAround);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Beyond, beyond_linear};

    #[test]
    fn what_no_linear_engine_can_do_is_told_from_what_looks_like_it() {
        for pattern in ["^(?=a)b", "(?!x)", "(?<=a)b", "a(?<!b)"] {
            assert_eq!(beyond_linear(pattern), Some(Beyond::LookAround), "{pattern}");
        }
        for pattern in [r"(a)\1", r"(?<n>a)\k<n>"] {
            assert_eq!(beyond_linear(pattern), Some(Beyond::BackReference), "{pattern}");
        }
        for pattern in [r"\(?=", "[(?=]", r"[\1]", r"\\1", "(?:a)", "(?<n>a)", ""] {
            assert_eq!(beyond_linear(pattern), None, "{pattern}");
        }
    }
}
