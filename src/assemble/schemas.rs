//! Compiles the schemas of a configuration, reports their faults as diagnostics, and tries the topics' examples on
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::files::{Access, FileError, MAX_FILE};
use crate::config::mask::without_credentials;
use crate::config::model::{Config, Example, SchemaSource, Span, TopicConfig};
use crate::config::reading::Reading;
use crate::diagnostic::{Diagnostic, Fact, FileFact, Sources, TopicFact};
use crate::problem::Violation;
use crate::schema::Schema;
use crate::schema::compile::{Compiled, SchemaCache, SchemaFault, SchemaFaultKind, SchemaLimits, Texts, compile_all};

/// Compiles the schemas that the topics name. Also returns the number in `sources` of each file that they are made of.
pub(super) fn compile(
    config: &Config,
    reading: &Reading<'_>,
    cache: &SchemaCache,
    sources: &mut Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Compiled, HashMap<Arc<str>, usize>) {
    // Each file, with the place that names it first.
    let mut named: HashMap<Arc<str>, &Span> = HashMap::new();
    let mut roots = Vec::new();
    for topic in &config.topics {
        let next = topic.schema_next.as_ref().map(|(schema, span)| (schema, span));
        for (schema, span) in [(&topic.schema, &topic.schema_span)].into_iter().chain(next) {
            if let SchemaSource::File(path) = schema {
                named.entry(path.clone()).or_insert_with(|| {
                    roots.push(path.clone());
                    span
                });
            }
        }
    }
    let limits = SchemaLimits {
        schema_size: config.limits.schema_size,
        regex_size: config.limits.regex_size,
        json_depth: config.limits.json_depth,
    };
    // Reads more than a schema file may have, so that the diagnostic can say how large the file is.
    let texts = FileTexts { reading, limit: limits.schema_size.max(MAX_FILE) };
    let mut compiled = compile_all(&texts, &roots, &limits, cache);
    let mut shown = Shown { texts, numbers: HashMap::new(), sources };
    for fault in std::mem::take(&mut compiled.faults) {
        let by_root = || compiled.reached_by.get(&fault.file).and_then(|root| named.get(root));
        let own = named.get(&fault.file).map(|span| (*span, "used here"));
        let named_at = own.or_else(|| by_root().map(|span| (*span, "used by this schema")));
        diagnostics.push(shown.explain(fault, named_at));
    }
    for root in &roots {
        shown.number(root);
    }
    // A change of a schema may be objected to in any file that it is made of.
    for schema in roots.iter().filter_map(|root| compiled.schemas.get(root)) {
        schema.files().for_each(|(file, _)| _ = shown.number(&file.into()));
    }
    (compiled, shown.numbers)
}

struct FileTexts<'a> {
    reading: &'a Reading<'a>,
    limit: usize,
}

impl FileTexts<'_> {
    /// The text to show for a file that is not UTF-8, and the offset of its first invalid byte.
    fn not_utf8(&self, path: &str) -> Option<(Arc<str>, usize)> {
        let bytes = self.reading.read(Access::Inside, path, self.limit).ok()?;
        let at = str::from_utf8(&bytes).err()?.valid_up_to();
        Some((String::from_utf8_lossy(&bytes).into(), at))
    }

    /// Whoever writes `Any`, and has no file of that name, means the word `any`.
    fn unreadable(&self, file: &str, why: &str) -> Fact {
        let is_missing = self.reading.read(Access::Inside, file, self.limit).err() == Some(FileError::NotFound);
        match is_missing && file.eq_ignore_ascii_case("any") {
            true => TopicFact::BadSchemaPath { path: file.to_owned() }.into(),
            false => SchemaFaultKind::Unreadable { why: format!("cannot read the schema `{file}`: {why}") }.into(),
        }
    }
}

impl Texts for FileTexts<'_> {
    fn read(&self, path: &str) -> Result<Arc<str>, String> {
        let bytes = self.reading.read(Access::Inside, path, self.limit).map_err(|error| error.to_string())?;
        str::from_utf8(&bytes).map(Arc::from).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            format!("it is not UTF-8, from line {line} on")
        })
    }
}

/// The schema files that diagnostics point into.
struct Shown<'a> {
    texts: FileTexts<'a>,
    /// The number by which spans know each file.
    numbers: HashMap<Arc<str>, usize>,
    sources: &'a mut Sources,
}

impl Shown<'_> {
    /// The number of a file. Its text is read and copied only the first time, because a file may have thousands of
    /// faults.
    fn number(&mut self, file: &Arc<str>) -> usize {
        if let Some(number) = self.numbers.get(file) {
            return *number;
        }
        let text = match self.texts.not_utf8(file) {
            Some((text, _)) => text,
            None => self.texts.read(file).unwrap_or_default(),
        };
        let number = self.sources.add(self.texts.reading.shown(file), without_credentials(&text));
        self.numbers.insert(file.clone(), number);
        number
    }

    /// Places a fault in its schema file, or where that file is named if it could not be read.
    fn explain(&mut self, fault: SchemaFault, named_at: Option<(&Span, &'static str)>) -> Diagnostic {
        let (fact, bytes): (Fact, _) = match fault.kind {
            SchemaFaultKind::Unreadable { why } => match self.texts.not_utf8(&fault.file) {
                Some((_, at)) => (FileFact::NotUtf8.into(), at..at),
                None => {
                    let place = named_at.map(|(span, _)| span.clone());
                    return Diagnostic::new(self.texts.unreadable(&fault.file, &why), place);
                }
            },
            kind => (kind.into(), fault.bytes),
        };
        let diagnostic = Diagnostic::new(fact, Span { file: self.number(&fault.file), bytes });
        match named_at {
            Some((span, label)) => diagnostic.related(span.clone(), label),
            None => diagnostic,
        }
    }
}

/// Checks that each example is accepted or refused as it says.
pub(super) fn try_examples(
    config: &Config,
    schemas: &HashMap<Arc<str>, Arc<Schema>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let any = Schema::any();
    for topic in &config.topics {
        let schema = match &topic.schema {
            SchemaSource::Any => Some(&any),
            // Where there is no schema, a fault already says why.
            SchemaSource::File(path) => schemas.get(path),
        };
        let wrong = |schema| topic.examples.iter().filter_map(move |example| wrong(topic, example, schema));
        diagnostics.extend(schema.into_iter().flat_map(wrong));
    }
}

fn wrong(topic: &TopicConfig, example: &Example, schema: &Arc<Schema>) -> Option<Diagnostic> {
    let name = topic.name.to_string();
    let fact = match (schema.check_value(&example.instance), example.valid) {
        (Ok(()), true) | (Err(_), false) => return None,
        (Ok(()), false) => TopicFact::ExampleAccepted { topic: name },
        (Err(refused), true) => {
            TopicFact::ExampleRefused { topic: name, why: refused.violations.iter().take(4).map(told).collect() }
        }
    };
    Some(Diagnostic::new(fact, example.span.clone()).related(topic.schema_span.clone(), "by this schema"))
}

/// What is wrong with an example, and where in it, in one sentence.
pub(super) fn told(violation: &Violation) -> String {
    match violation.pointer.as_str() {
        "" => violation.detail.clone(),
        pointer => format!("{} at `{pointer}`", violation.detail),
    }
}
