//! Suites that others wrote, run against the real server. `.ci/suites` runs them all.
//!
//! The data lies below `$RELAY_SUITES`, or else beside the repository. Where it is missing, each suite says that it was
//! skipped.

mod autobahn;
mod json;
mod json_schema;

use std::path::{Path, PathBuf};

/// The folder with a suite's data, if there is one.
fn suite(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites");
    let folder = std::env::var_os("RELAY_SUITES").map_or_else(beside, PathBuf::from).join(name);
    if !folder.is_dir() {
        eprintln!("skipped: {} is not here", folder.display());
        return None;
    }
    Some(folder)
}
