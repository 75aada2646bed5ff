//! The compatibility gate: what a change of a schema does to those who publish and to those who subscribe.
//!
//! Knows nothing of topics and reloads. Its idea: to publishers a change is good when the new schema covers the old one,
//! to subscribers when the old one covers the new one; what is not covered can be shown, as a schema and as a value. An
//! answer that is not certain is not a yes.

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

/// Why nothing is known of what could be compared.
const UNDECIDED: &str = "it could be neither proved nor disproved by an example";

/// What a change does to one side.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// Nothing.
    Yes,
    /// It breaks something.
    No {
        /// What is lost (for publishers) or unheard of (for subscribers), as a schema, where it can be written.
        lost: Option<Value>,
        /// One such value, where one was found: the real validators agree on it.
        example: Option<Value>,
    },
    /// It could not be found out. Counts as a no.
    Unknown {
        /// Why.
        why: String,
        /// Whether the two can be compared at all, so that more may be known of a part of the change.
        is_comparable: bool,
    },
}

/// Whether everything that could be published under the schema in force still can be under the one that is to replace it.
pub fn publishers(old: &Schema, new: &Schema) -> Side {
    side(new, old)
}

/// Whether everything that will be delivered could have been before.
pub fn subscribers(old: &Schema, new: &Schema) -> Side {
    side(old, new)
}

/// Whether `wide` accepts all that `narrow` accepts.
fn side(wide: &Schema, narrow: &Schema) -> Side {
    if wide.is_same(narrow) || wide.judge.is_none() || wide.canon.judges_alike(&narrow.canon) {
        return Side::Yes;
    }
    match covers(wide, narrow) {
        Ok(Containment::Yes) => match counterexample(wide, narrow, None, Effort::Little) {
            // A counterexample of the validators outweighs a proof of the algebra.
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

/// A value that `narrow` accepts and `wide` refuses. `lost` is what such values look like, where it is known.
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

/// The most that a difference may take to write, in bytes of schema times the schemas in it.
const DIFFERENCE: usize = 256 << 10;

/// What `narrow` accepts and `wide` does not, where that is small enough to be of use: each member that differs gives an
/// alternative that has all members.
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

/// Both in one dialect.
fn forms(wide: &Schema, narrow: &Schema) -> Result<(CanonicalSchema, CanonicalSchema), String> {
    // A boolean means the same everywhere, so the other one decides.
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
