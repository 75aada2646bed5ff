//! Diagnostics as text: for people, as JSON, and as GitHub's workflow commands.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use serde_json::{Value, json};

use super::sources::Source;
use super::{Diagnostic, Severity, Sources};
use crate::config::model::Span;

/// For people: each with its lines of source, in colour if wanted.
pub fn human(diagnostics: &[Diagnostic], sources: &Sources, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&[group(diagnostic, sources)]));
        text.push_str("\n\n");
    }
    text
}

/// The last line for people: how many there are.
pub fn summary(path: &str, diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let warnings = plural(diagnostics.len() - errors, "warning");
    match (errors, diagnostics.len()) {
        (0, 0) => format!("{path}: no problems"),
        (0, _) => format!("{path}: {warnings}"),
        (_, all) if all == errors => format!("{path}: {}", plural(errors, "error")),
        _ => format!("{path}: {}, {warnings}", plural(errors, "error")),
    }
}

/// A JSON array with an object for each: `code`, `severity`, `message`, `help`, `file`, `line`, `column`, `end_line`,
/// `end_column` (`null` where there is no place), `related` (`file`, `line`, `column`, `message`).
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> Value {
    diagnostics.iter().map(|diagnostic| object(diagnostic, sources)).collect()
}

/// GitHub's workflow commands, one line each, by which a run annotates the lines of a pull request.
pub fn github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let about = diagnostic.fact.about();
        let place = diagnostic.place.as_ref().and_then(|span| sources.locate(span)).map_or(String::new(), |place| {
            let (source, start, _) = place;
            format!("file={},line={},col={},", property(&source.path), start.line, start.column)
        });
        let help = about.help.map_or(String::new(), |help| format!("\nhelp: {help}"));
        let message = escape(&format!("{}{help}", sentence(diagnostic)));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "::{} {place}title={}::{message}", about.severity.as_str(), about.code);
    }
    text
}

/// A remark without a place, as GitHub's workflow commands make it.
pub fn notice(title: &str, text: &str) -> String {
    format!("::notice title={}::{}\n", property(title), escape(text))
}

fn object(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let about = diagnostic.fact.about();
    let place = diagnostic.place.as_ref().and_then(|span| sources.locate(span));
    let related: Vec<Value> = diagnostic
        .related
        .iter()
        .filter_map(|related| {
            let (source, start, _) = sources.locate(&related.span)?;
            Some(json!({"file": *source.path, "line": start.line, "column": start.column, "message": related.label}))
        })
        .collect();
    json!({
        "code": about.code,
        "severity": about.severity.as_str(),
        "message": sentence(diagnostic),
        "help": about.help,
        "file": place.map(|(source, ..)| &*source.path),
        "line": place.map(|(_, start, _)| start.line),
        "column": place.map(|(_, start, _)| start.column),
        "end_line": place.map(|(.., end)| end.line),
        "end_column": place.map(|(.., end)| end.column),
        "related": related,
    })
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let about = diagnostic.fact.about();
    let level = match about.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(sentence(diagnostic)).id(about.code));
    let place = diagnostic.place.as_ref();
    if let Some((span, source)) = place.and_then(|span| Some((span, sources.get(span.file)?))) {
        let beside: Vec<_> = diagnostic.related.iter().filter(|related| related.span.file == span.file).collect();
        let all = beside.iter().map(|related| &related.span).chain([span]);
        let (snippet, lines) = snippet(source, all);
        let mut snippet = snippet.annotation(AnnotationKind::Primary.span(within(source, span, &lines)));
        for related in beside {
            let bytes = within(source, &related.span, &lines);
            snippet = snippet.annotation(AnnotationKind::Context.span(bytes).label(related.label));
        }
        group = group.element(snippet);
    }
    for related in &diagnostic.related {
        let elsewhere = place.is_none_or(|span| span.file != related.span.file);
        if let (true, Some(source)) = (elsewhere, sources.get(related.span.file)) {
            let (snippet, lines) = snippet(source, [&related.span]);
            let bytes = within(source, &related.span, &lines);
            group = group.element(snippet.annotation(AnnotationKind::Context.span(bytes).label(related.label)));
        }
    }
    match about.help {
        Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(&help))),
        None => group,
    }
}

/// Only the lines that are pointed at: with the whole text, many diagnostics of a large file would take long.
fn snippet<'a, 's>(
    source: &'a Source,
    spans: impl IntoIterator<Item = &'s Span>,
) -> (Snippet<'a, annotate_snippets::Annotation<'a>>, Range<usize>) {
    let (start, end) = spans.into_iter().fold((usize::MAX, 0), |(start, end), span| {
        let first = first_line(source, span);
        (start.min(first.start), end.max(first.end))
    });
    let (lines, number) = source.lines(&(start..end));
    let text = source.text.get(lines.clone()).unwrap_or_default();
    (Snippet::source(text).line_start(number).path(&*source.path), lines)
}

/// The span without what follows its first line, counted from where the lines begin.
fn within(source: &Source, span: &Span, lines: &Range<usize>) -> Range<usize> {
    let bytes = first_line(source, span);
    bytes.start - lines.start..bytes.end - lines.start
}

fn first_line(source: &Source, span: &Span) -> Range<usize> {
    let start = span.bytes.start.min(source.text.len());
    let (line, _) = source.lines(&(start..start));
    start..span.bytes.end.clamp(start, line.end.max(start))
}

/// The fact's sentence on one line: a value that it quotes may have any character.
fn sentence(diagnostic: &Diagnostic) -> String {
    let one_line = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    diagnostic.fact.to_string().chars().map(one_line).collect()
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
