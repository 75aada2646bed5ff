//! The canonical form of a schema: what decides whether anything can match it, and what two versions are compared by.
//!
//! The only module that names `jsonschema::canonical`, which is experimental: made when it is first asked for, bounded by
//! size, and a panic of it is an answer like any other: not known.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use jsonschema::canonical::{self, CanonicalSchema, CanonicalView, Satisfiability, UnsatisfiableReason};
use jsonschema::{Draft, PatternOptions};
use serde_json::Value;

use crate::schema::alternatives;

/// The largest document, in bytes of JSON text, that is brought into canonical form.
const SIZE: usize = 128 << 10;

/// A document without references to others.
#[derive(Clone)]
pub(super) struct Flat {
    pub document: Arc<Value>,
    /// Where in it the schema's own file stands (RFC 6901).
    pub root: String,
}

impl Flat {
    /// The one that allows anything.
    pub(super) fn any() -> Self {
        Self { document: Arc::new(Value::Bool(true)), root: String::new() }
    }
}

/// A schema's canonical form, or why there is none.
pub(super) struct Canon {
    flat: Result<Flat, String>,
    draft: Draft,
    form: OnceLock<Result<CanonicalSchema, String>>,
}

/// Whether nothing can match a schema.
pub(super) enum Emptiness {
    /// Nothing can, and why.
    Proven(String),
    NotProven,
}

impl Canon {
    /// Of a document, or why there is none.
    pub(super) fn new(flat: Result<Flat, String>, draft: Draft) -> Self {
        Self { flat, draft, form: OnceLock::new() }
    }

    /// The form.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn form(&self) -> Result<&CanonicalSchema, &str> {
        self.form.get_or_init(|| self.form_in(self.draft)).as_ref().map_err(String::as_str)
    }

    /// The dialect.
    pub(super) fn draft(&self) -> Draft {
        self.draft
    }

    /// The form that the same document has in another dialect: only a boolean means the same in all.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn form_in(&self, draft: Draft) -> Result<CanonicalSchema, String> {
        let flat = &*self.flat.as_ref().map_err(Clone::clone)?.document;
        if draft != self.draft && !flat.is_boolean() {
            return Err("the two are written in different dialects".to_owned());
        }
        if flat.to_string().len() > SIZE {
            return Err(format!("it is larger than {} KiB", SIZE >> 10));
        }
        if alternatives::are_too_many(flat) {
            return Err("it has too many alternatives".to_owned());
        }
        if misreads_a_condition(flat) {
            return Err(
                "it has alternatives in an `if` beside `unevaluatedProperties` or `unevaluatedItems`".to_owned()
            );
        }
        let form = guard(|| self.options(draft).canonicalize(flat))?.map_err(|e| e.to_string())?;
        match form.view() {
            CanonicalView::Raw(raw) => {
                let place = raw.pointer.as_deref().unwrap_or_default();
                let place = place.strip_prefix(self.root()).unwrap_or(place);
                Err(format!("it uses keywords that cannot be compared, at `{place}`"))
            }
            _ => Ok(form),
        }
    }

    /// The document that is compared, where there is one.
    pub(super) fn document(&self) -> Option<&Value> {
        self.flat.as_ref().ok().map(|flat| &*flat.document)
    }

    fn root(&self) -> &str {
        self.flat.as_ref().map_or("", |flat| &flat.root)
    }

    /// Whether it is proven that nothing matches.
    pub(super) fn emptiness(&self) -> Emptiness {
        match self.form() {
            Ok(form) if form.satisfiability() == Satisfiability::No => Emptiness::Proven(self.why_empty()),
            _ => Emptiness::NotProven,
        }
    }

    /// No limit of size for patterns: they were compiled within it, and forms of other limits do not compare.
    fn options(&self, draft: Draft) -> canonical::CanonicalizeOptions<'static> {
        canonical::options()
            .offline()
            .with_draft(draft)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
    }

    fn why_empty(&self) -> String {
        let Ok(flat) = &self.flat else { return String::new() };
        let prepared = guard(|| self.options(self.draft).prepare(&flat.document).and_then(|d| d.unsatisfiable()));
        let reason = prepared.ok().and_then(Result::ok).and_then(|mut reasons| reasons.remove(&flat.root));
        let causes = match reason {
            Some(UnsatisfiableReason::Literal) => return "it is `false`".to_owned(),
            Some(UnsatisfiableReason::Empty(cause)) => vec![cause],
            Some(UnsatisfiableReason::Conflict(causes)) => causes,
            None => Vec::new(),
        };
        let parts: Vec<String> = causes.iter().flat_map(|cause| parts(cause, &flat.root)).collect();
        match parts.as_slice() {
            [] => "its parts contradict each other".to_owned(),
            [one] => format!("nothing matches {one}"),
            [first @ .., last] => format!("{} and {last} contradict each other", first.join(", ")),
        }
    }
}

/// jsonschema 0.61 leaves out what the alternatives in an `if` evaluate, and so proves of `unevaluated…` what is not true.
fn misreads_a_condition(document: &Value) -> bool {
    let is_unevaluated = |name: &str, _: &Value| matches!(name, "unevaluatedProperties" | "unevaluatedItems");
    let chooses = |name: &str, _: &Value| {
        matches!(name, "anyOf" | "oneOf" | "if" | "dependentSchemas" | "$ref" | "$dynamicRef" | "$recursiveRef")
    };
    any(document, &is_unevaluated) && any(document, &|name, value| name == "if" && any(value, &chooses))
}

/// Whether one of the members of a document is such a one, however deep.
fn any(document: &Value, test: &impl Fn(&str, &Value) -> bool) -> bool {
    match document {
        Value::Object(members) => members.iter().any(|(name, value)| test(name, value) || any(value, test)),
        Value::Array(items) => items.iter().any(|item| any(item, test)),
        _ => false,
    }
}

/// The keywords of a cause, or the subschema that it is.
fn parts(cause: &canonical::Cause, root: &str) -> Vec<String> {
    let place = cause.pointer.strip_prefix(root).unwrap_or(&cause.pointer);
    match (place, cause.keywords.as_slice()) {
        (place, []) => vec![format!("`{place}`")],
        ("", keywords) => keywords.iter().map(|keyword| format!("`{keyword}`")).collect(),
        (place, keywords) => keywords.iter().map(|keyword| format!("`{place}/{keyword}`")).collect(),
    }
}

/// Runs experimental code.
///
/// # Errors
/// It panicked.
pub(super) fn guard<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| "the comparison failed inside".to_owned())
}
