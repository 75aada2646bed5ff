//! Makes numbers that a schema may accept.

use serde_json::{Map, Number, Value};

/// Guesses for a schema of numbers: those within its bounds first.
pub(super) fn numbers(schema: &Map<String, Value>, integer: bool) -> Vec<Value> {
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let step = number("multipleOf").unwrap_or(1.0);
    let bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map(number);
    let mut guesses = vec![0.0];
    for bound in bounds.into_iter().flatten() {
        let near = (bound / step).round() * step;
        guesses.extend([bound, near, near + step, near - step, bound + 0.5, bound - 0.5]);
    }
    let [minimum, maximum, above, below] = bounds;
    guesses.extend(minimum.or(above).zip(maximum.or(below)).map(|(least, most)| f64::midpoint(least, most)));
    guesses.extend([step, -step, 0.5, 1e9, -1e9]);
    if integer {
        guesses.retain(|guess| guess.fract() == 0.0);
    }
    let is_outside = |guess: &f64| {
        minimum.is_some_and(|least| *guess < least)
            || maximum.is_some_and(|most| *guess > most)
            || above.is_some_and(|bound| *guess <= bound)
            || below.is_some_and(|bound| *guess >= bound)
            || (guess / step).fract() != 0.0 && schema.contains_key("multipleOf")
    };
    guesses.sort_by_key(is_outside);
    guesses.into_iter().filter_map(written).collect()
}

/// The JSON for a number, written without a fraction if it is whole.
fn written(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}
