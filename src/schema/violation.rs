//! Puts what the validator found wrong with a value into a sentence.
//!
//! The sentences are our own: they name the rule and, where it helps, a shortened value. They go to the publisher only,
//! never into a log.

mod union;

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::schema::violation::union::Union;

/// The most characters of a sentence.
const SENTENCE: usize = 200;

/// The most characters of a value within a sentence.
const VALUE: usize = 60;

/// The most names that are listed.
const NAMES: usize = 5;

/// The most nested unions that are listed.
const UNIONS: usize = 4;

/// What is wrong, in a sentence of at most [`SENTENCE`] characters.
pub(super) fn sentence(error: &ValidationError<'_>) -> String {
    let got = || short(error.instance());
    let sentence = match error.kind() {
        Kind::Type { kind } => format!("{} is expected, not {}", types(kind), type_of(error.instance())),
        Kind::Required { property } => format!("the member `{}` is missing", name(property)),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            not_allowed(unexpected)
        }
        Kind::AdditionalItems { limit } => format!("at most {} allowed here", count(*limit as u64, "item")),
        Kind::UnevaluatedItems { .. } => "it has items that are not allowed".to_owned(),
        Kind::Enum { options } if list(options).iter().any(is_container) => {
            format!("{} is none of the values of `enum`", got())
        }
        Kind::Enum { options } => none_of(error.instance(), &list(options).iter().collect::<Vec<_>>()),
        Kind::Constant { expected_value } if is_container(expected_value) => {
            format!("{} is not the value of `const`", got())
        }
        Kind::Constant { expected_value } => format!("{} is expected, not {}", short(expected_value), got()),
        Kind::Minimum { limit } => format!("{} is less than {limit}", got()),
        Kind::Maximum { limit } => format!("{} is more than {limit}", got()),
        Kind::ExclusiveMinimum { limit } => format!("{} is not more than {limit}", got()),
        Kind::ExclusiveMaximum { limit } => format!("{} is not less than {limit}", got()),
        Kind::MultipleOf { multiple_of } => format!("{} is not a multiple of {multiple_of}", got()),
        Kind::MinLength { limit } => format!("{} is shorter than {}", got(), count(*limit, "character")),
        Kind::MaxLength { limit } => format!("{} is longer than {}", got(), count(*limit, "character")),
        Kind::MinItems { limit } => format!("it has fewer than {}", count(*limit, "item")),
        Kind::MaxItems { limit } => format!("it has more than {}", count(*limit, "item")),
        Kind::MinProperties { limit } => format!("it has fewer than {}", count(*limit, "member")),
        Kind::MaxProperties { limit } => format!("it has more than {}", count(*limit, "member")),
        Kind::UniqueItems => "two of its items are the same".to_owned(),
        Kind::Contains => contained(error).to_owned(),
        Kind::Pattern { pattern } => format!("{} does not match the pattern `{}`", got(), cut(pattern, VALUE)),
        Kind::Format { format } => format!("{} does not have the format `{format}`", got()),
        Kind::ContentEncoding { content_encoding } => format!("it is not encoded as `{content_encoding}`"),
        Kind::ContentMediaType { content_media_type } => format!("it is not of the type `{content_media_type}`"),
        Kind::FromUtf8 { .. } => "its encoded content is not UTF-8".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => no_branch(error),
        Kind::OneOfMultipleValid { .. } => format!("{} matches more than one of the schemas of `oneOf`", got()),
        Kind::Not { .. } => format!("{} matches what `not` excludes", got()),
        Kind::FalseSchema => "nothing is allowed here".to_owned(),
        Kind::PropertyNames { error } => {
            format!("the member name {} is not allowed: {}", short(error.instance()), sentence(error))
        }
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "the pattern could not be evaluated".to_owned()
        }
        // Says by itself which reference leads nowhere.
        Kind::Referencing(error) => error.to_string(),
        Kind::Custom { message, .. } => message.clone(),
    };
    cut(&sentence, SENTENCE)
}

/// The place and the name of the keyword that refused, corrected where the validator is imprecise.
pub(super) fn rule(place: String, error: &ValidationError<'_>) -> (String, String) {
    let kind = error.kind();
    let (above, last) = place.rsplit_once('/').unwrap_or(("", &place));
    let keyword = match kind {
        Kind::Required { .. } if above.ends_with("/dependentRequired") => {
            return (above.to_owned(), "dependentRequired".to_owned());
        }
        // The validator numbers the required names here instead of saying which member requires them.
        Kind::Required { .. } if above.ends_with("/dependencies") && last.bytes().all(|b| b.is_ascii_digit()) => {
            return (above.to_owned(), "dependencies".to_owned());
        }
        Kind::Contains if last.ends_with("Contains") => last,
        Kind::FalseSchema => match last {
            "additionalProperties" | "items" | "additionalItems" => last,
            _ => "false",
        },
        kind => kind.keyword(),
    };
    let keyword = keyword.to_owned();
    (place, keyword)
}

/// The sentence for an object that may have no members.
pub(super) fn no_members(object: Option<&Value>) -> String {
    let members = object.and_then(Value::as_object);
    let unexpected: Vec<String> = members.map(|members| members.keys().cloned().collect()).unwrap_or_default();
    cut(&not_allowed(&unexpected), SENTENCE)
}

fn not_allowed(unexpected: &[String]) -> String {
    let (s, are) = if unexpected.len() == 1 { ("", "is") } else { ("s", "are") };
    format!("the member{s} {} {are} not allowed", names(unexpected))
}

fn contained(error: &ValidationError<'_>) -> &'static str {
    match error.schema_path().as_str().rsplit('/').next() {
        Some("minContains") => "too few of its items match `contains`",
        Some("maxContains") => "too many of its items match `contains`",
        _ => "none of its items matches `contains`",
    }
}

/// Says why no branch of a union fits. What is wrong matters most, so the rest is dropped first when space is short.
fn no_branch(error: &ValidationError<'_>) -> String {
    let none = format!("{} matches none of the schemas of `{}`", short(error.instance()), error.kind().keyword());
    let Some(reason) = Union::of(error).and_then(Union::reason) else { return none };
    let place = reason.pointer.strip_prefix(error.instance_path().as_str()).unwrap_or_default();
    let place = if place.is_empty() { String::new() } else { format!("`{}`: ", cut_inside(place, VALUE)) };
    let wrong = format!("{place}{}", reason.detail);
    let nearest = match reason.way.as_slice() {
        [] => wrong.clone(),
        [first, .., last] if reason.way.len() > UNIONS => format!("nearest is `{first}/…/{last}`, but {wrong}"),
        way => format!("nearest is `{}`, but {wrong}", way.join("/")),
    };
    let forms = [format!("{none}; {nearest}"), nearest];
    forms.into_iter().find(|form| form.chars().count() <= SENTENCE).unwrap_or(wrong)
}

fn none_of(got: &Value, values: &[&Value]) -> String {
    match values {
        [one] => format!("{} is expected, not {}", short(one), short(got)),
        _ => format!("{} is none of the allowed values {}", short(got), short_list(values)),
    }
}

fn name(property: &Value) -> String {
    cut(property.as_str().unwrap_or_default(), VALUE)
}

fn names(list: &[String]) -> String {
    let mut text = String::new();
    for (index, name) in list.iter().take(NAMES).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(text, "{comma}`{}`", cut(name, VALUE)).expect("a String takes everything");
    }
    if list.len() > NAMES {
        write!(text, " and {} more", list.len() - NAMES).expect("a String takes everything");
    }
    text
}

fn list(options: &Value) -> &[Value] {
    options.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_container(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

fn short_list(values: &[&Value]) -> String {
    let shown: Vec<String> = values.iter().take(NAMES).map(|value| short(value)).collect();
    let more = if values.len() > NAMES { format!(" and {} more", values.len() - NAMES) } else { String::new() };
    shown.join(", ") + &more
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => article(one.as_str()),
        TypeKind::Multiple(several) => several.iter().map(|one| article(one.as_str())).collect::<Vec<_>>().join(" or "),
    }
}

fn article(of: &str) -> String {
    match of {
        "null" => "null".to_owned(),
        "array" | "object" | "integer" => format!("an {of}"),
        other => format!("a {other}"),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value in at most [`VALUE`] characters; arrays and objects only by their type.
fn short(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => type_of(value).to_owned(),
        Value::String(text) => Value::String(cut(text, VALUE)).to_string(),
        scalar => cut(&scalar.to_string(), VALUE),
    }
}

/// Cuts a text to at most `most` characters, the last of which is then `…`.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Cuts a text to at most `most` characters, with `…` in place of its middle.
fn cut_inside(text: &str, most: usize) -> String {
    let Some(over) = text.chars().count().checked_sub(most).filter(|over| *over > 0) else { return text.to_owned() };
    let half = most / 2;
    text.chars().take(half).chain(['…']).chain(text.chars().skip(half + over + 1)).collect()
}
