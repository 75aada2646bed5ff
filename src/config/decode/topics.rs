//! `[topics.*]`

use super::Names;
use crate::config::model::{Compatibility, Example, History, Limits, OnLag, SchemaSource, Span, TopicConfig};
use crate::config::section::Section;
use crate::config::units::show_size;
use crate::diagnostic::TopicFact;
use crate::name::{NameError, Pattern};
use crate::path::below;

/// Decodes a topic; `None` if its name or its schema cannot be used.
pub(super) fn topic(
    name: &str,
    span: Span,
    section: &Section<'_>,
    limits: &Limits,
    names: &mut Names,
) -> Option<TopicConfig> {
    let parsed = declared_name(name, &span, section);
    names.topics.extend(parsed.clone().map(|name| (name, span)));
    let schema_next = schema_source(section, "schema_next");
    let schema = schema_source(section, "schema");
    let history = history(name, section, limits);
    let compatibility = match section.choice("compatibility") {
        Some("publishers") => Compatibility::Publishers,
        Some("subscribers") => Compatibility::Subscribers,
        Some("full") => Compatibility::Full,
        _ => Compatibility::None,
    };
    let on_lag = if section.choice("on_lag") == Some("disconnect") { OnLag::Disconnect } else { OnLag::Gap };
    let description = section.text("description").map_or(String::new(), |(text, _)| text.to_owned());
    let examples = section.tables("examples").iter().filter_map(example).collect();
    let (schema, schema_span) = schema?;
    let name = parsed?;
    Some(TopicConfig { name, description, schema, schema_span, schema_next, history, compatibility, on_lag, examples })
}

fn declared_name(name: &str, span: &Span, section: &Section<'_>) -> Option<Pattern> {
    let why = match Pattern::parse(name) {
        Ok(_) if name.contains('*') => "a segment that varies is written `{name}`, `*` is for grants".to_owned(),
        Ok(pattern) => return Some(pattern),
        Err(NameError::Empty) if name.is_empty() => "it is empty".to_owned(),
        Err(error) => error.to_string(),
    };
    section.findings.report(TopicFact::BadName { name: name.to_owned(), why }, span);
    None
}

fn schema_source(section: &Section<'_>, key: &'static str) -> Option<(SchemaSource, Span)> {
    let (text, span) = section.text(key)?;
    if text == "any" {
        return Some((SchemaSource::Any, span));
    }
    let path = || text.to_owned();
    if text.is_empty() || text.contains(['#', '?', '\\']) || text.contains("://") || text.ends_with('/') {
        section.findings.report(TopicFact::BadSchemaPath { path: path() }, &span);
        return None;
    }
    let Some(file) = below("", text) else {
        section.findings.report(TopicFact::SchemaOutside { path: path() }, &span);
        return None;
    };
    Some((SchemaSource::File(file.into()), span))
}

fn history(topic: &str, section: &Section<'_>, limits: &Limits) -> History {
    let table = section.table("history");
    let count = table.count_or_default("count");
    let bytes = table.size("bytes");
    if let Some((bytes, span)) = bytes.as_ref().filter(|(bytes, _)| *bytes < limits.body && count > 0) {
        let (bytes, body) = (show_size(*bytes as u64), show_size(limits.body as u64));
        section.findings.report(TopicFact::HistoryBelowBody { topic: topic.to_owned(), bytes, body }, span);
    }
    History {
        count,
        bytes: bytes.map_or_else(|| table.default_size("bytes").max(limits.body), |(bytes, _)| bytes),
        age: table.duration_or_default("age"),
    }
}

fn example(section: &Section<'_>) -> Option<Example> {
    let valid = section.has("valid");
    if valid == section.has("invalid") {
        section.findings.report(TopicFact::BadExample, &section.span);
        return None;
    }
    let (instance, span) = section.json(if valid { "valid" } else { "invalid" })?;
    Some(Example { instance, valid, span })
}
