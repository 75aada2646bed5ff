//! The refusal of a batch: which item it names first, and how much it tells of each item.

use serde_json::{Value, json};

use crate::problem::Refusal;

/// How many errors of a batch are told with all the violations of their items.
pub(super) const TOLD_IN_FULL: usize = 256;

impl Refusal {
    /// The index of the item that it names first; 0 if it names none.
    pub fn first_index(&self) -> usize {
        match self {
            Self::Batch(items) => items.first().map_or(0, |(index, _)| *index),
            _ => 0,
        }
    }

    /// The refusal of a single item, for a caller that sent just one and knows of no batch; any other unchanged.
    pub fn only(self) -> Self {
        match self {
            Self::Batch(mut items) if items.len() == 1 => items.remove(0).1,
            other => other,
        }
    }
}

/// If many items are wrong, those after the first [`TOLD_IN_FULL`] errors are told with one error each, which keeps the
/// answer in proportion to the request.
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
            // The problem's type says so already.
            if let Some(members) = error.as_object_mut() {
                members.retain(|member, _| member != "title" && member != "status");
            }
            vec![with_index(error)]
        }
    }
}
