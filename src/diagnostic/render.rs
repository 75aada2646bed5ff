//! Shows diagnostics as text for people, as JSON, and as GitHub's workflow commands.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde_json::{Value, json};

use super::sources::{MARK, Source};
use super::{Diagnostic, Related, Severity, Sources};
use crate::config::mask::without_credentials;
use crate::config::model::Span;

/// Writes them for people, each with its lines of source, in colour on request.
pub fn human<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>, sources: &Sources, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&[group(diagnostic, sources)]));
        text.push_str("\n\n");
    }
    text
}

/// The last line for people, with the number of errors and warnings.
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

/// Writes them as a JSON array of objects with `code`, `severity`, `message`, `help`, `file`, `line`, `column`,
/// `end_line`, `end_column` (`null` without a place) and `related` (`file`, `line`, `column`, `message`).
pub fn json<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>, sources: &Sources) -> Value {
    diagnostics.into_iter().map(|diagnostic| object(diagnostic, sources)).collect()
}

/// Writes them for people and as JSON, but no more than the first 100, errors before warnings, and how many
/// are left out. For what a server logs and keeps: thousands of them take megabytes.
pub fn report(diagnostics: &[Diagnostic], sources: &Sources) -> (String, Value) {
    let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics.iter().partition(|diagnostic| diagnostic.is_error());
    let (all_errors, all) = (errors.len(), diagnostics.len());
    let mut first: Vec<&Diagnostic> = errors.into_iter().chain(warnings).take(REPORTED).collect();
    let left_out = all - first.len();
    if left_out == 0 {
        return (human(diagnostics, sources, false), json(diagnostics, sources));
    }
    super::sort(&mut first);
    let (mut text, mut list) = (human(first.iter().copied(), sources, false), json(first, sources));
    let message = match left_out {
        1 => "1 more is left out".to_owned(),
        _ => format!("{left_out} more are left out"),
    };
    let help = "`relay check` prints all";
    let errors = all_errors.saturating_sub(REPORTED);
    let severity = if errors > 0 { Severity::Error } else { Severity::Warning };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{message}: {help}");
    list.as_array_mut().expect("it is a list").push(json!({
        "code": "more",
        "severity": severity.as_str(),
        "message": message,
        "help": help,
        "file": null,
        "line": null,
        "column": null,
        "end_line": null,
        "end_column": null,
        "related": [],
        "errors": errors,
    }));
    (text, list)
}

/// The most diagnostics that are logged and reported at once.
const REPORTED: usize = 100;

/// Writes them as GitHub's workflow commands, one line each, which annotate the lines of a pull request.
pub fn github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let about = diagnostic.fact.about();
        let place = diagnostic.place.as_ref().and_then(|span| sources.locate(span)).map_or(String::new(), |place| {
            let (source, start, _) = place;
            format!("file={},line={},col={},", property(&source.path), start.line, start.column)
        });
        let message = escape(&format!("{}\nhelp: {}", sentence(diagnostic), about.help));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "::{} {place}title={}::{message}", about.severity.as_str(), about.code);
    }
    text
}

/// Writes a remark without a place as the workflow command `error`, `warning` or `notice`.
pub fn remark(command: &str, title: &str, text: &str) -> String {
    format!("::{command} title={}::{}\n", property(title), escape(text))
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
    let (beside, elsewhere): (Vec<&Related>, Vec<&Related>) =
        diagnostic.related.iter().partition(|related| are_near(diagnostic.place.as_ref(), &related.span, sources));
    if let Some((span, source)) = diagnostic.place.as_ref().and_then(|span| Some((span, sources.get(span.file)?))) {
        let all = beside.iter().map(|related| &related.span).chain([span]);
        group = match snippet(source, all) {
            Some((snippet, lines)) => {
                let snippet = snippet.annotation(AnnotationKind::Primary.span(within(source, span, &lines)));
                group.element(beside.into_iter().fold(snippet, |snippet, related| {
                    let bytes = within(source, &related.span, &lines);
                    snippet.annotation(AnnotationKind::Context.span(bytes).label(related.label))
                }))
            }
            None => group.element(origin(span, source, sources)),
        };
    }
    for related in elsewhere {
        let Some(source) = sources.get(related.span.file) else { continue };
        group = match snippet(source, [&related.span]) {
            Some((snippet, lines)) => {
                let bytes = within(source, &related.span, &lines);
                group.element(snippet.annotation(AnnotationKind::Context.span(bytes).label(related.label)))
            }
            None => group.element(origin(&related.span, source, sources)).element(Level::NOTE.message(related.label)),
        };
    }
    group.element(Level::HELP.message(normalize_untrusted_str(&about.help)))
}

/// The longest text to show at once, in bytes. Nobody reads a longer line. And the renderer goes through all the text
/// it is given, so with a long one, thousands of diagnostics would take minutes.
const SHOWN: usize = 8 << 10;

/// Whether two places are close enough to be shown together.
fn are_near(place: Option<&Span>, other: &Span, sources: &Sources) -> bool {
    let Some((place, source)) = place.and_then(|span| Some((span, sources.get(span.file)?))) else { return false };
    place.file == other.file && shown_lines(source, [place, other]).0.len() <= SHOWN / 2
}

/// A place without its source line.
fn origin<'a>(span: &Span, source: &'a Source, sources: &Sources) -> Origin<'a> {
    let origin = Origin::path(&*source.path);
    match sources.locate(span) {
        Some((_, start, _)) => origin.line(start.line).char_column(start.column),
        None => origin,
    }
}

/// Takes only the lines of these places instead of the whole text; `None` if they are too long.
fn snippet<'a, 's>(
    source: &'a Source,
    spans: impl IntoIterator<Item = &'s Span>,
) -> Option<(Snippet<'a, annotate_snippets::Annotation<'a>>, Range<usize>)> {
    let (lines, number) = shown_lines(source, spans);
    let text = source.text.get(lines.clone()).filter(|text| text.len() <= SHOWN)?;
    Some((Snippet::source(text).line_start(number).path(&*source.path), lines))
}

fn shown_lines<'s>(source: &Source, spans: impl IntoIterator<Item = &'s Span>) -> (Range<usize>, usize) {
    let (start, end) = spans.into_iter().fold((usize::MAX, 0), |(start, end), span| {
        let first = first_line(source, span);
        (start.min(first.start), end.max(first.end))
    });
    let (mut lines, number) = source.lines(&(start..end));
    // A byte order mark has no column, but the renderer counts it.
    if number == 1 && source.text[lines.clone()].starts_with(MARK) {
        lines.start = MARK.len_utf8();
    }
    (lines, number)
}

/// The part of the span on its first line, relative to the start of the shown lines.
fn within(source: &Source, span: &Span, lines: &Range<usize>) -> Range<usize> {
    let bytes = first_line(source, span);
    bytes.start.saturating_sub(lines.start)..bytes.end.saturating_sub(lines.start)
}

fn first_line(source: &Source, span: &Span) -> Range<usize> {
    let start = span.bytes.start.min(source.text.len());
    let (line, _) = source.lines(&(start..start));
    start..span.bytes.end.clamp(start, line.end.max(start))
}

/// The fact's sentence on one line. Control characters are escaped and the credentials of URLs masked, because it may
/// quote a value with any of them.
fn sentence(diagnostic: &Diagnostic) -> String {
    let one_line = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    without_credentials(&diagnostic.fact.to_string()).chars().map(one_line).collect()
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{human, report};
    use crate::config::model::Span;
    use crate::diagnostic::{Diagnostic, FileFact, ServerFact, Sources};

    /// Regression: the renderer goes through the whole line, so 3,000 diagnostics on a line of 24 KB took more than
    /// half a minute.
    #[test]
    fn of_a_line_that_nobody_reads_only_the_place_is_shown() {
        let mut sources = Sources::default();
        let (lines, long) = (".\n".repeat(10_000), "x".repeat(10_000));
        let (lines, long) = (sources.add("lines", lines), sources.add("long", long));
        let told = |file: usize, at: usize, first: usize| {
            let fact = FileFact::DuplicateKey { key: "a".into() };
            let diagnostic = Diagnostic::new(fact, Span { file, bytes: at..at + 1 });
            human(&[diagnostic.related(Span { file, bytes: first..first + 1 }, "first here")], &sources, false)
        };
        let text = told(long, 5_000, 4_000);
        assert!(text.contains("--> long:1:5001\n") && text.contains("long:1:4001\n"), "{text}");
        assert!(text.len() < 1_000 && text.contains("first here"), "{text}");
        // A place far away is shown by itself, without the text in between.
        let text = told(lines, 19_000, 0);
        assert!(text.contains("--> lines:9501:1\n") && text.contains("lines:1:1\n"), "{text}");
        assert!(text.len() < 1_000 && text.contains("- first here"), "{text}");
    }

    /// Regression: thousands of unknown keys made a line of megabytes in the log, and as much in each `GET /config`.
    #[test]
    fn of_too_many_the_first_are_reported_errors_before_warnings() {
        let mut sources = Sources::default();
        let file = sources.add("a", ".".repeat(500));
        let all = |errors: usize, warnings: usize| -> Vec<Diagnostic> {
            let place = |at: usize| Span { file, bytes: at..at + 1 };
            let warning = |n| Diagnostic::new(ServerFact::AdminExposed { value: format!("w{n}") }, place(n));
            let error = |n| Diagnostic::new(FileFact::DuplicateKey { key: format!("e{n}") }, place(warnings + n));
            (0..warnings).map(warning).chain((0..errors).map(error)).collect()
        };
        for (errors, warnings, shown, last) in [
            (60, 40, 100, None),
            (60, 41, 101, Some(("warning", "1 more is left out", 0))),
            (150, 10, 101, Some(("error", "60 more are left out", 50))),
        ] {
            let (text, list) = report(&all(errors, warnings), &sources);
            let list = list.as_array().expect("a list");
            assert_eq!((list.len(), text.matches("-->").count()), (shown, 100));
            if let Some((severity, message, errors)) = last {
                let more = json!({
                    "code": "more", "severity": severity, "message": message, "help": "`relay check` prints all",
                    "file": null, "line": null, "column": null, "end_line": null, "end_column": null, "related": [],
                    "errors": errors,
                });
                assert_eq!(list.last(), Some(&more));
                assert_eq!(more.as_object().map(|more| more.len()), list[0].as_object().map(|one| one.len() + 1));
                assert!(text.ends_with(&format!("\n\n{message}: `relay check` prints all\n")), "{text}");
            }
            let told = list.iter().filter(|one| one["severity"] == "error" && one["line"].is_u64()).count();
            assert_eq!(told, errors.min(100), "no warning takes the place of an error");
        }
    }

    /// Regression: columns of the first line counted the mark, which editors do not show.
    #[test]
    fn a_byte_order_mark_has_no_column() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "\u{feff}a = 1\nb = 2\n");
        for (bytes, place) in [(0..0, "a.toml:1:1"), (3..4, "a.toml:1:1"), (7..8, "a.toml:1:5"), (9..10, "a.toml:2:1")]
        {
            let one = Diagnostic::new(FileFact::DuplicateKey { key: "a".into() }, Span { file, bytes: bytes.clone() });
            let text = human(&[one], &sources, false);
            assert!(text.contains(&format!("--> {place}\n")), "{bytes:?}\n{text}");
        }
    }
}
