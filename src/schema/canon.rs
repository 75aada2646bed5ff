//! The canonical form of a schema, which shows whether anything can match it and how two versions compare.
//!
//! The only module that names `jsonschema::canonical`. Since that is experimental, the form is made only on demand and
//! only for documents of a bounded size, and a panic inside it is taken for the answer "unknown".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use jsonschema::canonical::{self, CanonicalSchema, CanonicalView, Satisfiability, UnsatisfiableReason};
use jsonschema::{Draft, PatternOptions};
use serde_json::Value;

use crate::schema::alternatives;
use crate::schema::json::unescape;

/// The largest document that is brought into canonical form, in bytes of JSON text.
const SIZE: usize = 128 << 10;

/// One document for a schema of several files: what it takes from each file stands under that file's path.
#[derive(Clone)]
pub(super) struct Flat {
    pub document: Arc<Value>,
    /// The document without what judges nothing, such as descriptions. Comparisons use this one.
    judged: Arc<Value>,
    /// Digests of both, with numbers in place of paths, so that moving a file changes nothing.
    digests: [[u8; 32]; 2],
    /// The pointer to the schema's own file within both documents (RFC 6901).
    root: String,
}

impl Flat {
    pub(super) fn new(document: Value, judged: Value, digests: [[u8; 32]; 2], root: String) -> Self {
        let document = Arc::new(document);
        // Most schemas describe nothing, and need not be kept twice.
        let judged = if judged == *document { document.clone() } else { Arc::new(judged) };
        Self { document, judged, digests, root }
    }

    /// The document that accepts any JSON.
    pub(super) fn any() -> Self {
        Self::new(Value::Bool(true), Value::Bool(true), [[0; 32]; 2], String::new())
    }

    /// A pointer as people know it: relative to the schema's own file, or after the path of another file.
    fn shown(&self, pointer: &str) -> String {
        let own = pointer.strip_prefix(self.root.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(own) = own {
            return own.to_owned();
        }
        let definitions = self.root.rfind('/').map_or("", |end| &self.root[..=end]);
        let Some(place) = pointer.strip_prefix(definitions) else { return pointer.to_owned() };
        let (file, rest) = place.split_at(place.find('/').unwrap_or(place.len()));
        format!("{}#{rest}", unescape(file))
    }
}

/// A schema's canonical form, or why there is none.
pub(super) struct Canon {
    flat: Result<Flat, String>,
    draft: Draft,
    form: OnceLock<Result<CanonicalSchema, String>>,
}

/// Whether a schema is known to match nothing.
pub(super) enum Emptiness {
    /// Nothing can match, for this reason.
    Proven(String),
    NotProven,
}

impl Canon {
    /// Prepares the form of a document, or keeps the reason why there is no document.
    pub(super) fn new(flat: Result<Flat, String>, draft: Draft) -> Self {
        Self { flat, draft, form: OnceLock::new() }
    }

    /// The canonical form, made at the first call.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn form(&self) -> Result<&CanonicalSchema, &str> {
        self.form.get_or_init(|| self.form_in(self.draft)).as_ref().map_err(String::as_str)
    }

    /// The dialect of the schema.
    pub(super) fn draft(&self) -> Draft {
        self.draft
    }

    /// The canonical form of the same document read in another dialect. Only a boolean means the same in all of them.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn form_in(&self, draft: Draft) -> Result<CanonicalSchema, String> {
        let whole = self.flat.as_ref().map_err(Clone::clone)?;
        let flat = &*whole.judged;
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
                let place = whole.shown(raw.pointer.as_deref().unwrap_or_default());
                Err(format!("it uses keywords that cannot be compared, at `{place}`"))
            }
            _ => Ok(form),
        }
    }

    /// The whole schema as one document, where one can say it.
    pub(super) fn document(&self) -> Option<&Value> {
        self.flat.as_ref().ok().map(|flat| &*flat.document)
    }

    /// Whether both say the same, whatever their files are called; `None` if neither has a document to compare.
    pub(super) fn says_the_same(&self, other: &Self) -> Option<bool> {
        match (&self.flat, &other.flat) {
            (Err(_), Err(_)) => None,
            (Ok(own), Ok(its)) => {
                let is_same = own.digests[0] == its.digests[0] || own.document == its.document;
                Some(is_same && self.draft == other.draft)
            }
            _ => Some(false),
        }
    }

    /// Whether both judge by the same keywords; descriptions may differ.
    pub(super) fn judges_alike(&self, other: &Self) -> bool {
        match (&self.flat, &other.flat) {
            (Ok(own), Ok(its)) => {
                let is_same = own.digests[1] == its.digests[1] || own.judged == its.judged;
                is_same && self.draft == other.draft
            }
            _ => false,
        }
    }

    /// Whether it is proven that nothing matches the schema.
    pub(super) fn emptiness(&self) -> Emptiness {
        match self.form() {
            Ok(form) if form.satisfiability() == Satisfiability::No => Emptiness::Proven(self.why_empty()),
            _ => Emptiness::NotProven,
        }
    }

    /// Sets no size limit for patterns: they were compiled within one already, and forms made under different limits
    /// cannot be compared.
    fn options(&self, draft: Draft) -> canonical::CanonicalizeOptions<'static> {
        canonical::options()
            .offline()
            .with_draft(draft)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
    }

    fn why_empty(&self) -> String {
        let Ok(flat) = &self.flat else { return String::new() };
        let prepared = guard(|| self.options(self.draft).prepare(&flat.judged).and_then(|d| d.unsatisfiable()));
        let reason = prepared.ok().and_then(Result::ok).and_then(|mut reasons| reasons.remove(&flat.root));
        let causes = match reason {
            Some(UnsatisfiableReason::Literal) => return "it is `false`".to_owned(),
            Some(UnsatisfiableReason::Empty(cause)) => vec![cause],
            Some(UnsatisfiableReason::Conflict(causes)) => causes,
            None => Vec::new(),
        };
        let parts: Vec<String> = causes.iter().flat_map(|cause| parts(cause, flat)).collect();
        match parts.as_slice() {
            [] => "its parts contradict each other".to_owned(),
            [one] => format!("nothing matches {one}"),
            [first @ .., last] => format!("{} and {last} contradict each other", first.join(", ")),
        }
    }
}

/// jsonschema 0.61 ignores what alternatives inside an `if` evaluate, and so draws false conclusions about
/// `unevaluated…`.
fn misreads_a_condition(document: &Value) -> bool {
    let is_unevaluated = |name: &str, _: &Value| matches!(name, "unevaluatedProperties" | "unevaluatedItems");
    let chooses = |name: &str, _: &Value| {
        matches!(name, "anyOf" | "oneOf" | "if" | "dependentSchemas" | "$ref" | "$dynamicRef" | "$recursiveRef")
    };
    any(document, &is_unevaluated) && any(document, &|name, value| name == "if" && any(value, &chooses))
}

/// Whether any member of a document, at any depth, passes the test.
fn any(document: &Value, test: &impl Fn(&str, &Value) -> bool) -> bool {
    match document {
        Value::Object(members) => members.iter().any(|(name, value)| test(name, value) || any(value, test)),
        Value::Array(items) => items.iter().any(|item| any(item, test)),
        _ => false,
    }
}

/// The keywords of a cause, or its whole subschema if it names none.
fn parts(cause: &canonical::Cause, flat: &Flat) -> Vec<String> {
    let place = flat.shown(&cause.pointer);
    match (place.as_str(), cause.keywords.as_slice()) {
        (place, []) => vec![format!("`{place}`")],
        ("", keywords) => keywords.iter().map(|keyword| format!("`{keyword}`")).collect(),
        (place, keywords) => keywords.iter().map(|keyword| format!("`{place}/{keyword}`")).collect(),
    }
}

/// Runs experimental code and turns a panic into an error.
///
/// # Errors
/// The code panicked.
pub(super) fn guard<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| "the comparison failed internally".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Flat;

    #[test]
    fn a_place_is_told_with_its_file() {
        let flat = Flat { root: "/$defs/s.json".to_owned(), ..Flat::any() };
        for (pointer, shown) in [
            ("/$defs/s.json/not", "/not"),
            ("/$defs/s.json", ""),
            ("/$defs/lib~1part.json/items", "lib/part.json#/items"),
            ("/$defs/s.json5/items", "s.json5#/items"),
        ] {
            assert_eq!(flat.shown(pointer), shown);
        }
        assert_eq!(Flat::any().shown("/not"), "/not");
    }
}
