//! The files that `relay bench` reads, and the one it writes.

use std::fs::{File, remove_file};
use std::io::{self, Read, Write};
use std::path::Path;

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read `{}`: {error}", path.display());
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let mut text = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut text).map_err(|error| cannot(&error))?;
    if text.len() > limit {
        return Err(cannot(&format_args!("it has over {limit} bytes")));
    }
    Ok(text)
}

/// A file that is written at the end of a run. It is opened before the run, which an unwritable path would waste.
pub(super) struct Output<'a> {
    path: &'a Path,
    file: File,
    /// Whether it did not exist before and is still empty.
    is_new: bool,
}

impl<'a> Output<'a> {
    /// Opens the file without changing it.
    pub(super) fn open(path: &'a Path) -> Result<Self, String> {
        let is_new = !path.exists();
        let file = File::options().create(true).truncate(false).write(true).open(path);
        file.map(|file| Self { path, file, is_new }).map_err(|error| unwritable(path, &error))
    }

    /// Replaces its content with the text.
    pub(super) fn write(mut self, text: &str) -> Result<(), String> {
        self.is_new = false;
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(|error| unwritable(self.path, &error))
    }
}

impl Drop for Output<'_> {
    /// Removes the empty file that a failed run would leave.
    fn drop(&mut self) {
        if self.is_new {
            let _ = remove_file(self.path);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write `{}`: {error}", path.display())
}
