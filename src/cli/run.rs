//! `relay run`

use std::path::Path;
use std::process::ExitCode;

use super::{BAD_CONFIG, print_diagnostics};
use crate::assemble::load;
use crate::diagnostic::render;
use crate::files::Disk;
use crate::message::Time;
use crate::schema::compile::SchemaCache;

/// Loads the configuration and, if it is good, runs the server until it is told to stop.
pub(super) fn run(config: &Path) -> ExitCode {
    let loaded = load(&Disk::new(config), &SchemaCache::default(), Time::now());
    print_diagnostics(&loaded);
    if loaded.config.is_none() {
        eprintln!("{}", render::summary(&config.display().to_string(), &loaded.diagnostics));
        return ExitCode::from(BAD_CONFIG);
    }
    ExitCode::SUCCESS
}
