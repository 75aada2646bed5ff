//! What the validator found wrong with a value, in a sentence.
//!
//! The sentences are ours: they name the rule and, where it helps, the value, cut short. They go to the publisher and
//! nowhere else: a log never gets them.

use std::fmt::Write as _;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

/// The most characters of a sentence.
const SENTENCE: usize = 200;

/// The most characters of a value inside of a sentence.
const VALUE: usize = 60;

/// The most names that are listed.
const NAMES: usize = 5;

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
        Kind::Enum { options } => format!("{} is none of the allowed values {}", got(), short_list(options)),
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
        Kind::AnyOf { context } => {
            format!("{} matches none of the schemas of `anyOf`{}", got(), nearest(error, context))
        }
        Kind::OneOfNotValid { context } => {
            format!("{} matches none of the schemas of `oneOf`{}", got(), nearest(error, context))
        }
        Kind::OneOfMultipleValid { .. } => format!("{} matches more than one of the schemas of `oneOf`", got()),
        Kind::Not { .. } => format!("{} matches what `not` excludes", got()),
        Kind::FalseSchema => "nothing is allowed here".to_owned(),
        Kind::PropertyNames { error } => {
            format!("the member name {} is not allowed: {}", short(error.instance()), sentence(error))
        }
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "its pattern could not be decided".to_owned()
        }
        // It says which reference it is that leads nowhere.
        Kind::Referencing(error) => error.to_string(),
        Kind::Custom { message, .. } => message.clone(),
    };
    cut(&sentence, SENTENCE)
}

/// The keyword that refused, and its place, which the validator does not always tell apart.
pub(super) fn rule(place: String, error: &ValidationError<'_>) -> (String, String) {
    let kind = error.kind();
    let (above, last) = place.rsplit_once('/').unwrap_or(("", &place));
    let keyword = match kind {
        Kind::Required { .. } if above.ends_with("/dependentRequired") => {
            return (above.to_owned(), "dependentRequired".to_owned());
        }
        // The validator counts what a member requires, and does not say of which member.
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

/// No member of an object is allowed.
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

/// The branch that a value was most likely meant for, and the first thing that is wrong with it there.
fn nearest(whole: &ValidationError<'_>, branches: &[Vec<ValidationError<'static>>]) -> String {
    // A wrong type or a wrong tag says that another branch was meant.
    let meant_for_another = |error: &ValidationError<'_>| {
        matches!(error.kind(), Kind::Constant { .. } | Kind::Enum { .. } | Kind::FalseSchema)
            || (matches!(error.kind(), Kind::Type { .. }) && error.instance_path() == whole.instance_path())
    };
    let distance = |errors: &[ValidationError<'_>]| (errors.iter().any(&meant_for_another), errors.len());
    let near = branches.iter().enumerate().min_by_key(|(_, errors)| distance(errors));
    let Some((index, [first, ..])) = near.map(|(index, errors)| (index, errors.as_slice())) else {
        return String::new();
    };
    if meant_for_another(first) {
        return String::new();
    }
    let place = first.instance_path().as_str().strip_prefix(whole.instance_path().as_str()).unwrap_or_default();
    let place = if place.is_empty() { String::new() } else { format!("`{}`: ", cut(place, VALUE)) };
    format!("; nearest is `{}/{index}`, but {place}{}", whole.kind().keyword(), sentence(first))
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

fn short_list(options: &Value) -> String {
    let options = list(options);
    let shown: Vec<String> = options.iter().take(NAMES).map(short).collect();
    let more = if options.len() > NAMES { format!(" and {} more", options.len() - NAMES) } else { String::new() };
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

/// A value in at most [`VALUE`] characters; of arrays and objects only what they are.
fn short(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => type_of(value).to_owned(),
        Value::String(text) => Value::String(cut(text, VALUE)).to_string(),
        scalar => cut(&scalar.to_string(), VALUE),
    }
}

/// At most so many characters, the last one then `…`.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}
