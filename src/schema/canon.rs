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
    /// For people: what it takes from each file stands under the file's path.
    pub document: Arc<Value>,
    /// The same under numbers, so that a file that is moved changes nothing.
    pub numbered: Arc<Value>,
    /// That without what judges nothing, such as descriptions: what is compared.
    pub judged: Arc<Value>,
    /// Where in the numbered ones each file stands (RFC 6901), the schema's own first, and what it is called.
    pub places: Vec<(String, Arc<str>)>,
}

impl Flat {
    /// The one that allows anything.
    pub(super) fn any() -> Self {
        Self::alone(Value::Bool(true), Value::Bool(true), "any".into())
    }

    /// What stands in one file, and refers to nothing.
    pub(super) fn alone(document: Value, judged: Value, file: Arc<str>) -> Self {
        let document = Arc::new(document);
        Self { numbered: document.clone(), document, judged: Arc::new(judged), places: vec![(String::new(), file)] }
    }

    /// The place as people know it: of the schema's own file by itself, of another with the file's path.
    fn shown(&self, pointer: &str) -> String {
        let below = |(place, _): &&(String, Arc<str>)| {
            pointer.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self.places.iter().position(|at| below(&at)).map(|index| (index, &self.places[index])) {
            None => pointer.to_owned(),
            Some((0, (place, _))) => pointer[place.len()..].to_owned(),
            Some((_, (place, file))) => format!("{file}#{}", &pointer[place.len()..]),
        }
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

    /// All that the schema says, under no file's name, where one document can say it.
    pub(super) fn document(&self) -> Option<&Value> {
        self.flat.as_ref().ok().map(|flat| &*flat.numbered)
    }

    /// Whether both judge by the same words: they may describe themselves otherwise.
    pub(super) fn judges_alike(&self, other: &Self) -> bool {
        match (&self.flat, &other.flat) {
            (Ok(own), Ok(its)) => own.judged == its.judged && self.draft == other.draft,
            _ => false,
        }
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
        let prepared = guard(|| self.options(self.draft).prepare(&flat.judged).and_then(|d| d.unsatisfiable()));
        let root = flat.places.first().map_or("", |(place, _)| place);
        let reason = prepared.ok().and_then(Result::ok).and_then(|mut reasons| reasons.remove(root));
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
fn parts(cause: &canonical::Cause, flat: &Flat) -> Vec<String> {
    let place = flat.shown(&cause.pointer);
    match (place.as_str(), cause.keywords.as_slice()) {
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

#[cfg(test)]
mod tests {
    use super::Flat;

    #[test]
    fn a_place_is_told_with_its_file() {
        let places = vec![("/$defs/0".to_owned(), "s.json".into()), ("/$defs/1".to_owned(), "lib/part.json".into())];
        let flat = Flat { places, ..Flat::any() };
        for (pointer, shown) in [
            ("/$defs/0/not", "/not"),
            ("/$defs/0", ""),
            ("/$defs/1/items", "lib/part.json#/items"),
            ("/$defs/10/items", "/$defs/10/items"),
        ] {
            assert_eq!(flat.shown(pointer), shown);
        }
        assert_eq!(Flat::any().shown("/not"), "/not");
    }
}
