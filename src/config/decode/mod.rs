//! From files to a [`Config`], with everything that is wrong found on the way. Nothing stops the rest: what cannot be
//! decoded is reported and stands as its default.

mod limits;
mod server;
mod tokens;
mod topics;

use toml::de::DeTable;

use super::check;
use super::documents::{self, Document};
use super::files::Reading;
use super::keys::Kinds;
use super::model::{Config, Span, StoreConfig};
use super::section::{Findings, Section};
use super::syntax;
use crate::diagnostic::{Diagnostic, FileFact, Sources, ValueFact};
use crate::message::Time;
use crate::name::Pattern;
use crate::principal::Grants;

/// What came of the files.
pub struct Decoded {
    /// To be used only when there is no error among the diagnostics.
    pub config: Config,
    /// Everything that was found.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub sources: Sources,
}

/// A grant's pattern and where it stands, for the checks across the whole configuration.
pub(super) struct Granted {
    pub pattern: Pattern,
    pub span: Span,
}

/// Everything that is read once for the whole configuration while it is being decoded.
struct Context<'a> {
    reading: &'a Reading<'a>,
    kinds: &'a Kinds,
    now: Time,
}

/// Reads and decodes relay.toml and what it includes.
pub fn decode(reading: &Reading<'_>, kinds: &Kinds, now: Time) -> Decoded {
    let findings = Findings::default();
    let mut sources = Sources::default();
    let context = Context { reading, kinds, now };
    let mut config = Config::default();
    let mut broken = Vec::new();
    if let Some(main) = documents::main(reading, &mut sources, &findings) {
        let (tree, errors) = syntax::parse(&main.text, main.file);
        broken.extend(errors);
        let top = Section::top(&tree, main.file, &findings);
        let patterns = top.texts("include").unwrap_or_default();
        let documents = documents::included(reading, &patterns, &mut sources, &findings);
        let trees: Vec<DeTable<'_>> = documents.iter().map(|document| parse(document, &mut broken)).collect();
        let included = trees.iter().zip(&documents).map(|(tree, document)| include(tree, document, &findings));
        let granted = fill(&mut config, &top, included.collect(), &context);
        check::across(&config, &granted, top.span.file, &findings);
    }
    Decoded { config, diagnostics: sift(findings.into_inner(), broken, &sources), sources }
}

fn parse<'a>(document: &'a Document, broken: &mut Vec<Diagnostic>) -> DeTable<'a> {
    let (tree, errors) = syntax::parse(&document.text, document.file);
    broken.extend(errors);
    tree
}

/// The top of an included file, in which only topics and tokens are allowed.
fn include<'a>(tree: &'a DeTable<'a>, document: &Document, findings: &'a Findings) -> Section<'a> {
    let top = Section::top(tree, document.file, findings);
    for (key, span) in top.keys() {
        if super::keys::find("", key).is_some() && !matches!(key, "topics" | "tokens") {
            findings.report(FileFact::NotInInclude { key: key.to_owned() }, &span);
        }
    }
    top
}

fn fill(config: &mut Config, top: &Section<'_>, included: Vec<Section<'_>>, context: &Context<'_>) -> Vec<Granted> {
    let mut granted = Vec::new();
    version(top);
    config.server = server::server(&top.table("server"));
    config.log = server::log(&top.table("log"));
    config.limits = limits::limits(&top.table("limits"));
    config.anonymous = grants(&top.table("anonymous"), &mut granted);
    if let Some((kind, section)) = top.component("store", context.kinds.store) {
        config.store = StoreConfig { kind: kind.name.to_owned(), settings: section.settings() };
    }
    for file in std::iter::once(top).chain(&included) {
        for (name, span, section) in file.named("topics") {
            config.topics.extend(topics::topic(name, span, &section, &config.limits));
        }
        for (name, span, section) in file.named("tokens") {
            config.tokens.extend(tokens::token(name, span, &section, context, &mut granted));
        }
    }
    granted
}

fn version(top: &Section<'_>) {
    match top.count("version") {
        Some((1, _)) | None => {}
        Some((found, span)) => top.findings.report(ValueFact::UnsupportedVersion { found }, &span),
    }
}

fn grants(section: &Section<'_>, granted: &mut Vec<Granted>) -> Grants {
    let mut topics = |name| tokens::patterns(section, name, granted);
    let (publish, subscribe) = (topics("publish"), topics("subscribe"));
    Grants { publish, subscribe, register: tokens::users(section) }
}

/// Puts everything in the order of the files, and leaves out what is only a consequence of a syntax error: what is said
/// of the same line, and what is said to be missing.
fn sift(mut found: Vec<Diagnostic>, broken: Vec<Diagnostic>, sources: &Sources) -> Vec<Diagnostic> {
    let line = |diagnostic: &Diagnostic| {
        let span = diagnostic.place.as_ref()?;
        sources.locate(span).map(|(_, start, _)| (span.file, start.line))
    };
    // A key that stands twice hides nothing.
    let lines: Vec<_> = broken.iter().filter(|d| d.fact.about().code == "toml-syntax").map(line).collect();
    if !lines.is_empty() {
        found.retain(|diagnostic| !diagnostic.fact.is_absence() && !lines.contains(&line(diagnostic)));
    }
    found.extend(broken);
    sort(&mut found);
    found
}

/// Puts diagnostics in the order of the files and of their lines.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| diagnostic.place.as_ref().map(|span| (span.file, span.bytes.start)));
}
