//! The files that `relay bench` is given, and the one that it writes.

use std::fs;
use std::io::Read;
use std::path::Path;

/// Reads a file of at most so many bytes.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read `{}`: {error}", path.display());
    let file = fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut text = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut text).map_err(|error| cannot(&error))?;
    if text.len() > limit {
        return Err(cannot(&format_args!("it has over {limit} bytes")));
    }
    Ok(text)
}

/// Writes a file.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
