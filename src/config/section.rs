//! One table of a file while it is decoded. Every look-up goes through the table of keys, reports what does not fit,
//! and goes on. `values` has the typed look-ups.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, Type};
use super::model::Span;
use crate::diagnostic::{Diagnostic, Fact, ValueFact, any_error};
use crate::spelling::nearest;

/// Collects diagnostics.
#[derive(Debug, Default)]
pub struct Findings(RefCell<Vec<Diagnostic>>);

impl Findings {
    /// Adds a diagnostic.
    pub fn add(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    /// Adds a fact and its place.
    pub fn report(&self, fact: impl Into<Fact>, span: &Span) {
        self.add(Diagnostic::new(fact, span.clone()));
    }

    /// Whether one of them is an error.
    pub fn any_error(&self) -> bool {
        any_error(&self.0.borrow())
    }

    /// All of them.
    pub fn into_inner(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}

/// A value with its place.
pub type Placed<T> = (T, Span);

/// One table.
#[derive(Clone)]
pub struct Section<'a> {
    pub(super) table: Option<&'a DeTable<'a>>,
    /// Its path in the table of keys, such as `topics.<name>`.
    path: &'static str,
    /// Its path in the file, such as `topics.cats`.
    shown: String,
    /// Whether it is the top level of an included file.
    is_included: bool,
    /// Where it begins.
    pub span: Span,
    /// Where to report problems.
    pub findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// The top level of relay.toml.
    pub fn top(table: &'a DeTable<'a>, file: usize, findings: &'a Findings) -> Self {
        let span = Span { file, bytes: 0..0 };
        Self::open(Some(table), "", String::new(), span, findings)
    }

    /// The top level of an included file.
    pub fn included(table: &'a DeTable<'a>, file: usize, findings: &'a Findings) -> Self {
        let span = Span { file, bytes: 0..0 };
        let top = Self { table: Some(table), path: "", shown: String::new(), is_included: true, span, findings };
        top.tell_unknown();
        top
    }

    /// A table that is absent.
    pub fn absent(path: &'static str, findings: &'a Findings) -> Self {
        Self::open(None, path, path.to_owned(), Span { file: 0, bytes: 0..0 }, findings)
    }

    /// Opens a table and reports its unknown keys.
    fn open(
        table: Option<&'a DeTable<'a>>,
        path: &'static str,
        shown: String,
        span: Span,
        findings: &'a Findings,
    ) -> Self {
        let section = Self { table, path, shown, is_included: false, span, findings };
        section.tell_unknown();
        section
    }

    fn tell_unknown(&self) {
        for (name, value) in self.table.into_iter().flatten() {
            if self.key(name.get_ref()).is_none() {
                self.unknown(name, value.get_ref());
            }
        }
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        keys::find(self.path, name)
    }

    fn unknown(&self, name: &Spanned<Cow<'a, str>>, value: &DeValue<'a>) {
        let has_place = |name: &&str| !self.is_included || keys::INCLUDABLE.contains(name);
        let known: Vec<_> = keys::names(self.path).filter(has_place).collect();
        let suggestion = nearest(name.get_ref(), known.iter().copied());
        let elsewhere = keys::tables_with(name.get_ref()).next().map(|table| {
            let is_here = has_place(&table.split('.').next().unwrap_or_default());
            keys::show_table(table) + if is_here { "" } else { " of relay.toml" }
        });
        let key = name.get_ref().to_string();
        let quoted = value.as_table().and_then(|table| self.meant(name.get_ref(), table));
        let table = keys::show_table(&self.shown);
        let fact = ValueFact::UnknownKey { key, table, suggestion, elsewhere, quoted, known };
        self.findings.report(fact, &self.at(name.span()));
    }

    /// The header that was probably meant, if dots of a topic's name are not quoted: TOML then nests a table for each
    /// part.
    fn meant(&self, name: &str, table: &DeTable<'a>) -> Option<String> {
        let topic = self.shown.strip_prefix("topics.").filter(|_| self.path == "topics.<name>")?;
        let mut full = format!("{}.{name}", topic.trim_matches('"'));
        let mut table = table;
        while let Some((name, value)) = table.iter().next().filter(|(name, _)| self.key(name.get_ref()).is_none()) {
            let Some(inner) = value.get_ref().as_table() else { break };
            full = format!("{full}.{}", name.get_ref());
            table = inner;
        }
        Some(format!("[topics.{full:?}]"))
    }

    /// Whether the table is only part of an unquoted topic name. TOML reads `[topics.orders.eu]` as a table `orders`
    /// with a table `eu` in it. The unknown key `eu` is reported already, so `orders` is not also reported for lacking
    /// a `schema`.
    fn is_part_of_a_name(&self) -> bool {
        self.table.into_iter().flatten().any(|(name, value)| {
            let name = name.get_ref();
            let is_header = value.get_ref().as_table().is_some_and(|table| self.meant(name, table).is_some());
            is_header && self.key(name).is_none() && nearest(name, keys::names(self.path)).is_none()
        })
    }

    pub(super) fn at(&self, bytes: Range<usize>) -> Span {
        Span { file: self.span.file, bytes }
    }

    /// Whether the key is there, even with a malformed value.
    pub fn has(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Whether the key is absent or an empty list.
    pub fn is_blank(&self, name: &str) -> bool {
        let value = self.table.and_then(|table| table.get(name));
        value.is_none_or(|value| value.get_ref().as_array().is_some_and(|items| items.is_empty()))
    }

    /// Names of the keys that are there, with their places.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, Span)> + '_ {
        self.table.into_iter().flatten().map(|(name, _)| (&**name.get_ref(), self.at(name.span())))
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.shown.is_empty() { name.to_owned() } else { format!("{}.{name}", self.shown) }
    }

    /// The value of a key, if it is there. Every look-up passes here, so a key that is not in the table of keys panics.
    pub(super) fn get(&self, name: &'static str) -> Option<(&'static Key, &'a DeValue<'a>, Span)> {
        let key = self.key(name).expect("every key that is decoded is described");
        match self.table.and_then(|table| table.get(name)) {
            Some(value) => Some((key, value.get_ref(), self.at(value.span()))),
            None => {
                // If this is not a table, that has been reported, and no key can be missing in it.
                if key.required() && self.table.is_some() && !self.is_part_of_a_name() {
                    let fact =
                        ValueFact::MissingKey { key: key.name, table: keys::show_table(&self.shown), hint: hint(key) };
                    self.findings.report(fact, &self.span);
                }
                None
            }
        }
    }

    pub(super) fn wrong_type<T>(&self, key: &Key, value: &DeValue<'_>, span: &Span) -> Option<T> {
        let fact = ValueFact::WrongType {
            key: self.path_of(key.name),
            expected: expected(key.value),
            found: found(value),
            doc: key.doc,
        };
        self.findings.report(fact, span);
        None
    }

    /// A table with described keys; an empty one if it is absent.
    pub fn table(&self, name: &'static str) -> Section<'a> {
        let (table, span) = match self.get(name) {
            Some((key, value, span)) => (value.as_table().or_else(|| self.wrong_type(key, value, &span)), span),
            None => (None, self.span.clone()),
        };
        Self::open(table, self.child_path(name), self.path_of(name), span, self.findings)
    }

    /// Tables with names of the user's choice, each with the place of its name. `None` if it is no table, which is then
    /// reported.
    pub fn named(&self, name: &'static str) -> Vec<(&'a str, Span, Option<Section<'a>>)> {
        let Some((key, value, span)) = self.get(name) else { return Vec::new() };
        let Some(tables) = value.as_table().or_else(|| self.wrong_type(key, value, &span)) else { return Vec::new() };
        let path = self.child_path(name);
        let open = |(name_of, value): (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let span = self.at(name_of.span());
            let shown = self.path_of(name) + "." + &quoted(name_of.get_ref());
            let section = match value.get_ref().as_table() {
                Some(table) => Some(Self::open(Some(table), path, shown, span.clone(), self.findings)),
                None => {
                    let found = found(value.get_ref());
                    let doc = "one table, under a header in single brackets";
                    let fact = ValueFact::WrongType { key: shown, expected: expected(Type::Table), found, doc };
                    self.findings.report(fact, &self.at(value.span()));
                    None
                }
            };
            (&**name_of.get_ref(), span, section)
        };
        tables.iter().map(open).collect()
    }

    /// A list of tables.
    pub fn tables(&self, name: &'static str) -> Vec<Section<'a>> {
        let Some((key, value, span)) = self.get(name) else { return Vec::new() };
        let Some(items) = value.as_array().or_else(|| self.wrong_type(key, value, &span)) else { return Vec::new() };
        let path = self.child_path(name);
        let open = |item: &'a Spanned<DeValue<'a>>| {
            let span = self.at(item.span());
            let table = item.get_ref().as_table().or_else(|| self.wrong_type(key, item.get_ref(), &span))?;
            Some(Self::open(Some(table), path, self.path_of(name), span, self.findings))
        };
        items.iter().filter_map(open).collect()
    }

    /// The path in the table of keys for what is under this key, such as `topics.<name>` for `topics`.
    fn child_path(&self, name: &str) -> &'static str {
        let key = keys::find(self.path, name).expect("every key that is decoded is described");
        key.below().expect("every table has keys")
    }
}

fn hint(key: &Key) -> &'static str {
    match key.name {
        "version" => "write `version = 1` at the top",
        "schema" => "write `schema = \"schemas/….json\"`, or `schema = \"any\"` to accept all JSON",
        _ => key.doc,
    }
}

fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

/// The expected value in words, with an article.
fn expected(value: Type) -> &'static str {
    match value {
        Type::Text | Type::Choice(_) => "a string",
        Type::Count(..) => "a whole number",
        Type::Size(..) => "a size such as `\"64 KiB\"`",
        Type::Duration(..) => "a duration such as `\"10 s\"`",
        Type::Rate(_) => "a whole number a second, or `\"off\"`",
        Type::Texts => "a list of strings",
        Type::Time => "a date and time with offset, such as `2027-01-01T00:00:00Z`",
        Type::Json => "a value",
        Type::Table => "a table",
        Type::Named => "a table of tables",
        Type::Tables => "a list of tables",
    }
}

pub(super) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
