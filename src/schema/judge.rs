//! The judge of a schema. To say whether a value matches is cheap enough for every publish; to explain what is wrong
//! costs more, and happens only at a refusal.
//!
//! The explaining validator is built at the first refusal. `metered` says why it is a separate one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::json::Json;
use jsonschema::{PatternOptions, Registry, Retrieve, ValidationError, ValidationOptions, Validator};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::problem::Violation;
use crate::schema::borrowed::Borrowed;
use crate::schema::json::Tree;
use crate::schema::metered::{Meter, Metered, Seen, worthless};
use crate::schema::violation::{cut, no_members, rule, sentence};
use crate::schema::{MAX_VIOLATIONS, Refused};

/// The steps that every explanation may read, worth some milliseconds, and those it gets for each part of the payload.
const STEPS: usize = 20_000;
const STEPS_PER_PART: usize = 4;
/// The extra steps for each branch of the schema's unions, and the most that all branches together may add.
const STEPS_PER_BRANCH: usize = 500;
const STEPS_OF_BRANCHES: usize = 200_000;

/// The longest pointer, in characters: its names are chosen by the publisher.
const POINTER: usize = 1_000;

/// The URI of an entry document; no file can have it.
const ENTRY: &str = "relay:///";

struct Explains {
    validator: Validator<Metered>,
    /// The steps that the schema grants to each explanation.
    steps: usize,
}

/// The documents that a schema is made of.
pub(super) struct Parts {
    /// The base URI of the first document.
    pub base: String,
    /// Every document under each of its URIs, the schema's own document first.
    pub documents: Vec<(String, Arc<Value>)>,
    /// Given to the compiler in place of the first document, to which it refers. In the document it is given, the
    /// compiler takes the URI of a meta-schema for its built-in one, even if one of these documents has that URI.
    pub entry: Option<Value>,
    /// What each base URI stands for: a file, and a pointer in it.
    pub places: HashMap<String, (Arc<str>, String)>,
    /// The schema's own file.
    pub file: Arc<str>,
    /// `limits.regex_size`
    pub regex_size: usize,
    /// Formats that the schema's dialects do not know by themselves.
    pub formats: Vec<&'static str>,
}

/// The two validators of one schema. See the module.
pub(super) struct Judge {
    decides: Validator<Borrowed>,
    explains: OnceLock<Option<Explains>>,
    parts: Parts,
}

/// The formats that are checked in every dialect, because an author who writes `uuid` does not mean "anything".
#[rustfmt::skip]
pub(super) const FORMATS: [&str; 19] = [
    "date", "date-time", "duration", "email", "hostname", "idn-email", "idn-hostname", "ipv4", "ipv6", "iri",
    "iri-reference", "json-pointer", "regex", "relative-json-pointer", "time", "uri", "uri-reference", "uri-template",
    "uuid",
];

/// The validators of these formats, taken from the newest dialect.
static NEWEST: LazyLock<HashMap<&str, Validator<Borrowed>>> = LazyLock::new(|| {
    let judge = |name| Some((name, options(0).build(&json!({ "format": name })).ok()?));
    FORMATS.into_iter().filter_map(judge).collect()
});

/// The options of every validator: nothing is fetched, patterns run in linear time, formats are checked.
pub(super) fn options<'i, F: Json>(regex_size: usize) -> ValidationOptions<'i, Arc<dyn Retrieve>, F> {
    jsonschema::options_for::<F>()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(regex_size))
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
}

impl Parts {
    /// Builds a validator of the first document.
    ///
    /// # Errors
    /// What the compiler says.
    pub(super) fn build<F: Json>(
        &self,
        options: ValidationOptions<'_, Arc<dyn Retrieve>, F>,
    ) -> Result<Validator<F>, ValidationError<'static>> {
        let documents = self.documents.iter().map(|(uri, document)| (uri.as_str(), &**document));
        let registry = Registry::new().extend(documents)?.prepare()?;
        let formats = self.formats.iter().filter_map(|name| Some((*name, NEWEST.get(name)?)));
        let options = formats.fold(options, |options, (name, format)| {
            options.with_format(name, |text: &str| format.is_valid(&Tree::String(Cow::Borrowed(text))))
        });
        let Some((_, root)) = self.documents.first() else { return options.build(&Value::Bool(true)) };
        let (base, root) = self.entry.as_ref().map_or((self.base.as_str(), &**root), |entry| (ENTRY, entry));
        options.with_registry(&registry).with_base_uri(base).build(root)
    }
}

impl Judge {
    pub(super) fn new(decides: Validator<Borrowed>, parts: Parts) -> Self {
        Self { decides, explains: OnceLock::new(), parts }
    }

    /// The files that the schema is made of, as they were read.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.parts.documents.iter().filter_map(|(uri, document)| {
            let (file, place) = self.parts.places.get(uri)?;
            place.is_empty().then_some((&**file, &**document))
        })
    }

    /// Whether a value matches.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, tree: &Tree<'_>) -> Result<(), Refused> {
        if self.accepts(tree) { Ok(()) } else { Err(self.explain(&tree.to_value())) }
    }

    /// Whether a value matches, without an explanation.
    pub(super) fn accepts(&self, tree: &Tree<'_>) -> bool {
        self.decides.is_valid(tree)
    }

    #[cold]
    fn explain(&self, value: &Value) -> Refused {
        let explains = self.explains.get_or_init(|| {
            let validator = self.parts.build(options(self.parts.regex_size)).ok()?;
            let branches = self.files().map(|(_, document)| branches(document)).sum::<usize>();
            Some(Explains { validator, steps: STEPS + STEPS_OF_BRANCHES.min(STEPS_PER_BRANCH * branches) })
        });
        let steps = explains.as_ref().map_or(0, |explains| explains.steps);
        let meter = Meter::new(steps + STEPS_PER_PART * count(value));
        let mut violations = Vec::new();
        let mut more = false;
        if let Some(explains) = explains {
            let errors = explains.validator.iter_errors(Seen::new(value, &meter));
            let mut errors = errors.filter(|error| **error.instance() != worthless());
            violations.extend(errors.by_ref().take(MAX_VIOLATIONS).map(|error| self.violation(value, &error)));
            more = errors.next().is_some() || meter.is_empty();
        }
        if violations.is_empty() {
            return Refused { violations: vec![unexplained()], more: true };
        }
        Refused { violations, more }
    }

    fn violation(&self, value: &Value, error: &ValidationError<'_>) -> Violation {
        let pointer = error.instance_path().as_str();
        let (schema_pointer, keyword) = rule(self.schema_pointer(error), error);
        let detail = match error.kind() {
            Kind::FalseSchema if keyword == "additionalProperties" => no_members(value.pointer(pointer)),
            _ => sentence(error),
        };
        Violation { pointer: cut(pointer, POINTER), keyword, schema_pointer, detail }
    }

    /// Where the keyword stands: a pointer in the schema's own file, `<file>#<pointer>` in another.
    fn schema_pointer(&self, error: &ValidationError<'_>) -> String {
        let Some(uri) = error.absolute_keyword_location() else {
            return error.schema_path().as_str().to_owned();
        };
        let (base, fragment) = uri.as_str().split_once('#').unwrap_or((uri.as_str(), ""));
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        match self.parts.places.get(base) {
            Some((file, place)) if *file == self.parts.file => format!("{place}{fragment}"),
            Some((file, place)) => format!("{file}#{place}{fragment}"),
            None => format!("{base}#{fragment}"),
        }
    }
}

/// The number of branches of all unions in a schema.
fn branches(schema: &Value) -> usize {
    match schema {
        Value::Array(items) => items.iter().map(branches).sum(),
        Value::Object(members) => {
            let own = ["anyOf", "oneOf"].into_iter().filter_map(|keyword| members.get(keyword)?.as_array());
            own.map(Vec::len).sum::<usize>() + members.values().map(branches).sum::<usize>()
        }
        _ => 0,
    }
}

/// The number of parts of a value, itself included.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// For when the meter ran out before anything was found: payload and schema nest in too many ways to follow them all.
fn unexplained() -> Violation {
    Violation {
        pointer: String::new(),
        keyword: String::new(),
        schema_pointer: String::new(),
        detail: "it does not match, and has too many parts to say where: validate smaller parts by themselves"
            .to_owned(),
    }
}
