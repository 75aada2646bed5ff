//! Turns files into a [`Config`] and finds everything that is wrong on the way. An error does not stop the rest: what
//! cannot be decoded is reported, and its default is used.

mod limits;
mod server;
mod tls;
mod tokens;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::DeTable;

use super::check::{self, Names};
use super::documents::{self, Document};
use super::keys::INCLUDABLE;
use super::mask;
use super::model::{Config, Span, StoreConfig};
use super::reading::Reading;
use super::section::{Findings, Section};
use super::syntax;
use crate::diagnostic::{self, Diagnostic, Fact, FileFact, Sources, ValueFact};
use crate::patterns::Meter;
use crate::time::Time;

/// The result of decoding.
pub struct Decoded {
    /// Must not be used if there is an error among the diagnostics.
    pub config: Config,
    /// Everything that was found.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub sources: Sources,
    /// Every key in the files, dotted, with its place.
    pub keys: BTreeMap<String, Span>,
    /// Files whose last line has no line end.
    pub unfinished: BTreeSet<Arc<str>>,
}

/// What every part of the decoder may need.
struct Context<'a> {
    reading: &'a Reading<'a>,
    now: Time,
}

/// Reads and decodes relay.toml and what it includes.
pub fn decode(reading: &Reading<'_>, now: Time) -> Decoded {
    let findings = Findings::default();
    let mut sources = Sources::default();
    let context = Context { reading, now };
    let mut config = Config::default();
    let mut broken = Vec::new();
    let mut keys = BTreeMap::new();
    let mut unfinished = BTreeSet::new();
    if let Some(mut main) = documents::main(reading, &mut sources, &findings) {
        broken.append(&mut main.broken);
        let tree = parse(&main, &mut broken);
        let top = Section::top(&tree, main.file, &findings);
        let patterns = top.texts("include").unwrap_or_default();
        let mut documents = documents::included(reading, &patterns, &mut sources, &findings);
        documents.iter_mut().for_each(|document| broken.append(&mut document.broken));
        let trees: Vec<DeTable<'_>> = documents.iter().map(|document| parse(document, &mut broken)).collect();
        let files = std::iter::once((&tree, main.file));
        let all = files.chain(trees.iter().zip(documents.iter().map(|document| document.file)));
        all.for_each(|(tree, file)| collect_keys(tree, file, "", &mut keys));
        let ends = |document: &&Document| !document.text.is_empty() && !document.text.ends_with('\n');
        let open = std::iter::once(&main).chain(&documents).filter(ends);
        unfinished = open.filter_map(|document| Some(sources.get(document.file)?.path.clone())).collect();
        let included = trees.iter().zip(&documents).map(|(tree, document)| include(tree, document, &findings));
        let names;
        (config, names) = fill(&top, included.collect(), &context);
        let is_whole = broken.is_empty() && !findings.any_error();
        check::cross_checks(&config, &names, &top.span, is_whole, &findings, &mut Meter(usize::MAX));
    }
    Decoded {
        config,
        diagnostics: drop_consequences(findings.into_inner(), broken, &sources),
        sources,
        keys,
        unfinished,
    }
}

fn collect_keys(table: &DeTable<'_>, file: usize, prefix: &str, keys: &mut BTreeMap<String, Span>) {
    for (name, value) in table {
        let path = format!("{prefix}{}", name.get_ref());
        if let Some(inner) = value.get_ref().as_table() {
            collect_keys(inner, file, &format!("{path}."), keys);
        }
        keys.insert(path, Span { file, bytes: name.span() });
    }
}

fn parse<'a>(document: &'a Document, broken: &mut Vec<Diagnostic>) -> DeTable<'a> {
    let (tree, twice) = syntax::parse(&document.text, document.file);
    broken.extend(twice);
    tree
}

/// The top level of an included file, where only topics and tokens are allowed.
fn include<'a>(tree: &'a DeTable<'a>, document: &Document, findings: &'a Findings) -> Section<'a> {
    let top = Section::included(tree, document.file, findings);
    for (key, span) in top.keys() {
        if super::keys::find("", key).is_some() && !INCLUDABLE.contains(&key) {
            findings.report(FileFact::NotInInclude { key: key.to_owned() }, &span);
        }
    }
    top
}

fn fill(top: &Section<'_>, included: Vec<Section<'_>>, context: &Context<'_>) -> (Config, Names) {
    let mut names = Names::default();
    version(top);
    let mut config = Config {
        server: server::server(&top.table("server"), context),
        log: server::log(&top.table("log")),
        limits: limits::limits(&top.table("limits")),
        anonymous: tokens::grants(&top.table("anonymous"), &mut names),
        store: store(&top.table("store")),
        ..Config::default()
    };
    for file in std::iter::once(top).chain(&included) {
        for (name, span, section) in file.named("topics") {
            config.topics.extend(section.and_then(|s| topics::topic(name, span, &s, &config.limits, &mut names)));
        }
        for (name, span, section) in file.named("tokens") {
            config.tokens.extend(section.and_then(|s| tokens::token(name, span, &s, context, &mut names)));
        }
    }
    (config, names)
}

fn store(section: &Section<'_>) -> StoreConfig {
    section.choice("kind").map_or_else(StoreConfig::default, |kind| StoreConfig { kind: kind.to_owned() })
}

fn version(top: &Section<'_>) {
    match top.count("version") {
        Some((1, _)) | None => {}
        Some((found, span)) => top.findings.report(ValueFact::UnsupportedVersion { found }, &span),
    }
}

/// Drops what only follows from a syntax error: anything on the same line or below a broken header, and in the same
/// file any "is missing" and any value without a place, which the parser made up. Then sorts.
fn drop_consequences(mut found: Vec<Diagnostic>, broken: Vec<Diagnostic>, sources: &Sources) -> Vec<Diagnostic> {
    // A key that appears twice hides nothing else.
    let syntax = broken.iter().filter(|d| matches!(d.fact, Fact::File(FileFact::Syntax { .. })));
    let shadows: Vec<Span> = syntax.filter_map(|d| shadow(d.place.as_ref()?, sources)).collect();
    if !shadows.is_empty() {
        let is_consequence = |d: &Diagnostic, span: &Span| {
            let mut shadows = shadows.iter().filter(|shadow| shadow.file == span.file);
            let is_nowhere = d.fact.is_absence() || span.bytes == (0..0);
            shadows.any(|shadow| is_nowhere || shadow.bytes.contains(&span.bytes.start))
        };
        found.retain(|d| !d.place.as_ref().is_some_and(|span| is_consequence(d, span)));
    }
    found.extend(broken);
    found.retain_mut(|d| hide(d, &shadows, sources));
    diagnostic::sort(&mut found);
    found
}

/// Keeps a secret out of the sentence if its line is masked, because a value may have been read as a key. Returns
/// whether there is still anything to report, which is not so if a syntax error already covers it.
fn hide(diagnostic: &mut Diagnostic, shadows: &[Span], sources: &Sources) -> bool {
    let Diagnostic { fact, place: Some(span), .. } = diagnostic else { return true };
    let key = match fact {
        Fact::Value(ValueFact::UnknownKey { key, .. }) | Fact::File(FileFact::DuplicateKey { key }) => key,
        _ => return true,
    };
    let shown = sources.get(span.file).and_then(|source| source.text.get(span.bytes.clone())).unwrap_or_default();
    let shown = shown.trim_matches(['"', '\'']);
    if shown == key.as_str() || !shown.contains(mask::MASKS) {
        return true;
    }
    shown.clone_into(key);
    if let Fact::Value(ValueFact::UnknownKey { suggestion, elsewhere, quoted, .. }) = fact {
        (*suggestion, *elsewhere, *quoted) = (None, None, None);
    }
    !shadows.iter().any(|shadow| shadow.file == span.file)
}

/// The lines in which a syntax error may make other things look wrong.
fn shadow(span: &Span, sources: &Sources) -> Option<Span> {
    let source = sources.get(span.file)?;
    let (line, _) = source.lines(&(span.bytes.start..span.bytes.start));
    let header = syntax::is_header(source.text.get(line.clone())?);
    let end = if header { syntax::next_header(&source.text, line.end) } else { line.end };
    Some(Span { file: span.file, bytes: line.start..end + 1 })
}
