//! The compatibility gate: what a change of a schema does to publishers and to subscribers.
//!
//! Knows nothing of topics and reloads. A change is safe for publishers if the new schema covers the old one, and for
//! subscribers if the old one covers the new one. What is not covered can be shown, as a schema and as a value. An
//! uncertain answer never counts as a yes.

#[cfg(test)]
mod evolutions;
#[cfg(test)]
pub(super) mod properties;
#[cfg(test)]
mod tests;

use jsonschema::canonical::{CanonicalSchema, Containment};
use serde_json::Value;

use crate::schema::canon::guard;
use crate::schema::example::Effort;
use crate::schema::json::Tree;
use crate::schema::{Schema, alternatives, example};

/// The reason when the schemas can be compared but the comparison proves nothing.
const UNDECIDED: &str = "it could be neither proved nor disproved by an example";

/// The effect of a change on one side.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// It breaks nothing.
    Yes,
    /// It breaks something.
    No {
        /// The values that publishers lose, or that are new to subscribers, as a schema if one can be written.
        lost: Option<Value>,
        /// One such value, if one was found; the real validators confirm it.
        example: Option<Value>,
    },
    /// Nothing is proved either way. Counts as a break.
    Unknown {
        /// Why.
        why: String,
        /// Whether the two can be compared at all. If so, more may be known of smaller changes.
        is_comparable: bool,
    },
}

/// Whether everything that may be published under the old schema may still be under the new one.
pub fn publishers(old: &Schema, new: &Schema) -> Side {
    side(new, old)
}

/// Whether everything that may be published under the new schema was possible under the old one.
pub fn subscribers(old: &Schema, new: &Schema) -> Side {
    side(old, new)
}

/// Whether `wide` accepts everything that `narrow` accepts.
fn side(wide: &Schema, narrow: &Schema) -> Side {
    if wide.is_same(narrow) || wide.judge.is_none() || wide.canon.judges_alike(&narrow.canon) {
        return Side::Yes;
    }
    match covers(wide, narrow) {
        Ok(Containment::Yes) => match counterexample(wide, narrow, None, Effort::Little) {
            // The validators have the last word: their counterexample outweighs a proof by the algebra.
            Some(example) => Side::No { lost: None, example: Some(example) },
            None => Side::Yes,
        },
        Ok(Containment::No) => {
            let lost = lost(wide, narrow);
            Side::No { example: counterexample(wide, narrow, lost.as_ref(), Effort::Full), lost }
        }
        unknown => {
            let lost = lost(wide, narrow);
            match counterexample(wide, narrow, lost.as_ref(), Effort::Full) {
                Some(example) => Side::No { lost, example: Some(example) },
                None => Side::Unknown {
                    is_comparable: unknown.is_ok(),
                    why: unknown.err().unwrap_or_else(|| UNDECIDED.to_owned()),
                },
            }
        }
    }
}

/// A value that `narrow` accepts and `wide` refuses. `lost` describes such values, if known.
fn counterexample(wide: &Schema, narrow: &Schema, lost: Option<&Value>, effort: Effort) -> Option<Value> {
    let [own, other] = [narrow, wide].map(|schema| schema.canon.document());
    let schemas = [(lost, None), (own, other), (other, own)].into_iter();
    let schemas = schemas.filter_map(|(schema, other)| Some((schema?, other)));
    example::find(schemas, effort, |guess| {
        let guess = Tree::from(guess);
        narrow.accepts(&guess) && !wide.accepts(&guess)
    })
}

fn covers(wide: &Schema, narrow: &Schema) -> Result<Containment, String> {
    let (wide, narrow) = forms(wide, narrow)?;
    guard(|| wide.covers(&narrow))?.map_err(|e| e.to_string())
}

/// The most work that writing a difference may take, in bytes of schema times number of schemas.
const DIFFERENCE: usize = 256 << 10;

/// The schema of what `narrow` accepts and `wide` refuses, if it is small enough to be useful. Each member that differs
/// adds an alternative that repeats all members.
fn lost(wide: &Schema, narrow: &Schema) -> Option<Value> {
    let costs = |schema: &Schema| {
        let document = schema.canon.document()?;
        Some(alternatives::schemas(document).saturating_mul(document.to_string().len()))
    };
    if costs(wide)?.max(costs(narrow)?) > DIFFERENCE {
        return None;
    }
    let (wide, narrow) = forms(wide, narrow).ok()?;
    let lost = guard(|| narrow.subtract(&wide).map(|lost| lost.to_json_schema())).ok()?.ok()?;
    (lost != Value::Bool(false)).then_some(lost)
}

/// The canonical forms of both, in one dialect.
fn forms(wide: &Schema, narrow: &Schema) -> Result<(CanonicalSchema, CanonicalSchema), String> {
    // A boolean means the same in every dialect, so the other schema decides.
    let is_boolean = |schema: &Schema| schema.canon.document().is_some_and(Value::is_boolean);
    let draft = if is_boolean(wide) { narrow.canon.draft() } else { wide.canon.draft() };
    let form = |schema: &Schema| {
        if schema.canon.draft() == draft {
            schema.canon.form().cloned().map_err(str::to_owned)
        } else {
            schema.canon.form_in(draft)
        }
    };
    Ok((form(wide)?, form(narrow)?))
}
