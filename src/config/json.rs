//! Turns TOML values into JSON, for examples.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

/// What JSON cannot represent, and its place unless that is the whole value.
pub type NotJson = (String, Option<Range<usize>>);

/// The value as JSON; a date or time becomes text.
///
/// # Errors
/// What an example cannot hold, as a sentence: infinity, NaN, and numbers beyond 64 bits.
pub fn to_json(value: &DeValue<'_>) -> Result<Value, NotJson> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok();
            let json = parsed
                .and_then(|n| i64::try_from(n).map(Number::from).or_else(|_| u64::try_from(n).map(Number::from)).ok());
            Value::Number(
                json.ok_or_else(|| (format!("`{number}` has more than 64 bits: an example cannot hold it"), None))?,
            )
        }
        DeValue::Float(number) => {
            let json = number.as_str().parse().ok().and_then(Number::from_f64);
            let is_too_large = number.as_str().contains(|c: char| c.is_ascii_digit());
            let why = if is_too_large { "is too large for a double" } else { "is no number in JSON" };
            Value::Number(json.ok_or_else(|| (format!("`{number}` {why}: an example cannot hold it"), None))?)
        }
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(moment) => Value::String(moment.to_string()),
        DeValue::Array(items) => {
            let json =
                |item: &toml::Spanned<DeValue<'_>>| to_json(item.get_ref()).map_err(|why| placed(why, item.span()));
            Value::Array(items.iter().map(json).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let mut map = Map::new();
            for (name, value) in table {
                let json = to_json(value.get_ref()).map_err(|why| placed(why, value.span()))?;
                map.insert(name.get_ref().to_string(), json);
            }
            Value::Object(map)
        }
    })
}

fn placed((what, at): NotJson, span: Range<usize>) -> NotJson {
    (what, at.or(Some(span)))
}
