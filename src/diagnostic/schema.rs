//! Facts about schema files are [`SchemaFaultKind`]s; here is what makes diagnostics of them.

use super::{About, Severity};
use crate::schema::compile::SchemaFaultKind;

pub(super) fn about(fault: &SchemaFaultKind) -> About {
    let severity = if fault.is_warning() { Severity::Warning } else { Severity::Error };
    About { code: fault.code(), severity, help: fault.help().into_owned() }
}
