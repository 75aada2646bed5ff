//! The typed look-ups of a [`Section`]: text, numbers, sizes, durations, lists, times, and any JSON value.

use std::time::Duration;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::json::to_json;
use super::keys::{Absent, Type};
use super::model::Span;
use super::section::{Placed, Section, found};
use super::units::{parse_duration, parse_size, show_duration, show_size};
use crate::diagnostic::{TokenFact, TopicFact, ValueFact};
use crate::spelling::nearest;
use crate::time::Time;

impl<'a> Section<'a> {
    /// Text.
    pub fn text(&self, name: &'static str) -> Option<Placed<&'a str>> {
        let (key, value, span) = self.get(name)?;
        match value.as_str() {
            Some(text) => Some((text, span)),
            None => self.wrong_type(key, value, &span),
        }
    }

    /// One of the texts that the key allows.
    pub fn choice(&self, name: &'static str) -> Option<&'a str> {
        let (text, span) = self.text(name)?;
        let choices = match self.key(name)?.value {
            Type::Choice(choices) => choices,
            _ => return Some(text),
        };
        if choices.contains(&text) {
            return Some(text);
        }
        let suggestion = nearest(text, choices.iter().copied());
        let fact = ValueFact::BadChoice { key: self.path_of(name), value: text.to_owned(), choices, suggestion };
        self.findings.report(fact, &span);
        None
    }

    /// A list of texts. Items that are not text are reported and left out.
    pub fn texts(&self, name: &'static str) -> Option<Vec<Placed<&'a str>>> {
        let (key, value, span) = self.get(name)?;
        let Some(items) = value.as_array() else { return self.wrong_type(key, value, &span) };
        let text = |item: &'a Spanned<DeValue<'a>>| match item.get_ref().as_str() {
            Some(text) => Some((text, self.at(item.span()))),
            None => self.wrong_type(key, item.get_ref(), &self.at(item.span())),
        };
        Some(items.iter().filter_map(text).collect())
    }

    /// A whole number in the range of the key.
    pub fn count(&self, name: &'static str) -> Option<Placed<u64>> {
        let (key, value, span) = self.get(name)?;
        let Some(number) = integer(value) else { return self.wrong_type(key, value, &span) };
        let range = match key.value {
            Type::Count(min, max) => min..=max,
            Type::Rate(max) => 1..=max,
            _ => return self.wrong_type(key, value, &span),
        };
        let (min, max) = (range.start().to_string(), range.end().to_string());
        match u64::try_from(number).ok().filter(|n| range.contains(n)) {
            Some(number) => Some((number, span)),
            None => self.out_of_range(name, shown(value), min, max, &span),
        }
    }

    /// A number per second; `None` for `"off"`.
    pub fn rate(&self, name: &'static str) -> Option<u32> {
        let (_, value, _) = self.get(name)?;
        if value.as_str() == Some("off") {
            return None;
        }
        u32::try_from(self.count(name)?.0).ok()
    }

    /// A size in bytes.
    pub fn size(&self, name: &'static str) -> Option<Placed<usize>> {
        let (key, value, span) = self.get(name)?;
        let bytes = match value {
            DeValue::Integer(_) => integer(value).map(|n| u64::try_from(n).unwrap_or(u64::MAX)),
            DeValue::String(text) => match parse_size(text) {
                Some(bytes) => Some(bytes),
                None => {
                    let fact = ValueFact::BadSize { key: self.path_of(name), value: text.to_string() };
                    self.findings.report(fact, &span);
                    return None;
                }
            },
            _ => None,
        };
        let (Some(bytes), Type::Size(min, max)) = (bytes, key.value) else { return self.wrong_type(key, value, &span) };
        if !(min..=max).contains(&bytes) {
            return self.out_of_range(name, shown(value), show_size(min), show_size(max), &span);
        }
        usize::try_from(bytes).ok().map(|bytes| (bytes, span))
    }

    /// A duration.
    pub fn duration(&self, name: &'static str) -> Option<Duration> {
        let (key, value, span) = self.get(name)?;
        let parsed = match value {
            DeValue::String(text) => parse_duration(text),
            DeValue::Integer(_) => None,
            _ => return self.wrong_type(key, value, &span),
        };
        let (Some(duration), Type::Duration(min, max)) = (parsed, key.value) else {
            self.findings.report(ValueFact::BadDuration { key: self.path_of(name), value: shown(value) }, &span);
            return None;
        };
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        if !(min..=max).contains(&duration) {
            return self.out_of_range(name, shown(value), show_duration(min), show_duration(max), &span);
        }
        Some(duration)
    }

    fn out_of_range<T>(&self, name: &str, value: String, min: String, max: String, span: &Span) -> Option<T> {
        let or_off = self.key(name).is_some_and(|key| matches!(key.value, Type::Rate(_)));
        self.findings.report(ValueFact::OutOfRange { key: self.path_of(name), value, min, max, or_off }, span);
        None
    }

    /// A whole number in the range of the key, or its default.
    pub fn count_or_default<T: TryFrom<u64>>(&self, name: &'static str) -> T {
        let count = self.count(name).and_then(|(count, _)| T::try_from(count).ok());
        count.unwrap_or_else(|| self.default(name, |text| T::try_from(text.parse().ok()?).ok()))
    }

    /// A size in bytes, or the key's default.
    pub fn size_or_default(&self, name: &'static str) -> usize {
        self.size(name).map_or_else(|| self.default_size(name), |(bytes, _)| bytes)
    }

    /// The key's default, in bytes.
    pub fn default_size(&self, name: &str) -> usize {
        self.default(name, |text| usize::try_from(parse_size(text)?).ok())
    }

    /// A duration, or the key's default.
    pub fn duration_or_default(&self, name: &'static str) -> Duration {
        self.duration(name).unwrap_or_else(|| self.default(name, parse_duration))
    }

    fn default<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let default = self.key(name).and_then(|key| match key.default {
            Absent::Value(text) => read(text),
            _ => None,
        });
        default.expect("the table of keys writes a default as a file does")
    }

    /// A point in time.
    pub fn time(&self, name: &'static str) -> Option<Placed<Time>> {
        let (key, value, span) = self.get(name)?;
        let DeValue::Datetime(moment) = value else { return self.wrong_type(key, value, &span) };
        let text = moment.to_string();
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some((Time(at.as_millisecond()), span)),
            Err(_) => {
                self.findings.report(TokenFact::BadNotAfter { value: text }, &span);
                None
            }
        }
    }

    /// The place of the key's value, whatever that is.
    pub fn place(&self, name: &str) -> Option<Span> {
        Some(self.at(self.table?.get(name)?.span()))
    }

    /// Whether the key's value is text.
    pub fn is_text(&self, name: &str) -> bool {
        self.table.and_then(|table| table.get(name)).is_some_and(|value| value.get_ref().is_str())
    }

    /// A value that JSON can represent.
    pub fn json(&self, name: &'static str) -> Option<Placed<Value>> {
        let (_, value, span) = self.get(name)?;
        match to_json(value) {
            Ok(json) => Some((json, span)),
            Err((what, bytes)) => {
                let span = bytes.map_or(span, |bytes| self.at(bytes));
                self.findings.report(TopicFact::NotJson { what }, &span);
                None
            }
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    // A number with too many digits is out of every range.
    Some(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        _ => found(value).to_owned(),
    }
}
