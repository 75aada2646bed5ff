//! The refusal of a batch: which item it names first, and how much it says about each.

use serde_json::{Value, json};

use crate::problem::Refusal;

/// How many errors of a batch are reported before each further item gets only one.
pub(super) const TOLD_IN_FULL: usize = 256;

impl Refusal {
    /// The index of the first item it names; 0 if it names none.
    pub fn first_index(&self) -> usize {
        match self {
            Self::Batch(items) => items.first().map_or(0, |(index, _)| *index),
            _ => 0,
        }
    }

    /// The refusal of the only item, for a caller that sent one message and knows of no batch. Others stay as they are.
    pub fn only(self) -> Self {
        match self {
            Self::Batch(mut items) if items.len() == 1 => items.remove(0).1,
            other => other,
        }
    }
}

/// The errors of all items. After the first [`TOLD_IN_FULL`], each item gets only one, so that the answer stays in
/// proportion to the request.
pub(super) fn errors(items: &[(usize, Refusal)]) -> Vec<Value> {
    items.iter().fold(Vec::new(), |mut all, item| {
        let errors = errors_of(item);
        let most = if all.len() < TOLD_IN_FULL { errors.len() } else { 1 };
        all.extend(errors.into_iter().take(most));
        all
    })
}

fn errors_of((index, refusal): &(usize, Refusal)) -> Vec<Value> {
    let with_index = |mut error: Value| {
        error["index"] = (*index).into();
        error
    };
    match refusal {
        Refusal::ValidationFailed { violations, .. } => violations.iter().map(|v| with_index(json!(v))).collect(),
        other => {
            let mut error = other.to_json();
            // Its type already implies these.
            if let Some(members) = error.as_object_mut() {
                members.retain(|member, _| member != "title" && member != "status");
            }
            vec![with_index(error)]
        }
    }
}
