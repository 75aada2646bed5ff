//! Facts about schema files are [`SchemaFaultKind`]s; here is what makes diagnostics of them.

use super::{About, Severity};
use crate::schema::compile::SchemaFaultKind;

/// Codes of this part.
pub const CODES: &[&str] = &[
    "schema-unreadable",
    "schema-too-large",
    "schema-syntax",
    "schema-duplicate-key",
    "schema-too-deep",
    "schema-unknown-dialect",
    "schema-invalid",
    "schema-unknown-keyword",
    "schema-void-keyword",
    "schema-invalid-uri",
    "schema-duplicate-id",
    "schema-ref-unreadable",
    "schema-ref-outside",
    "schema-ref-remote",
    "schema-ref-nowhere",
    "schema-ref-not-a-schema",
    "schema-ref-cycle",
    "schema-exponential",
    "schema-regex-look-around",
    "schema-regex-back-reference",
    "schema-regex-too-big",
    "schema-regex-invalid",
    "schema-unknown-format",
    "schema-unsatisfiable",
    "schema-uncompilable",
];

pub(super) fn about(fault: &SchemaFaultKind) -> About {
    let severity = if fault.is_warning() { Severity::Warning } else { Severity::Error };
    About { code: fault.code(), severity, help: Some(fault.help().into_owned()) }
}
