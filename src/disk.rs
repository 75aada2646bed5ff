//! The disk as a source of configurations.
//!
//! Everything except relay.toml itself and the secrets must lie in relay.toml's directory as it was named, or below it,
//! after following symlinks. Kubernetes mounts a file as a link through `..data`, which is inside.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::config::files::{Access, FileError, Files};

/// A relay.toml on the disk and what lies around it.
#[derive(Debug, Clone)]
pub struct Disk {
    directory: PathBuf,
    name: String,
}

impl Disk {
    /// The configuration at this path. Nothing is read yet.
    pub fn new(relay_toml: &Path) -> Self {
        match relay_toml.file_name() {
            Some(name) => Self {
                directory: relay_toml.parent().map(Path::to_path_buf).unwrap_or_default(),
                name: name.to_string_lossy().into_owned(),
            },
            // `.` or `/`: reading it reports that it is not a file.
            None => Self { directory: relay_toml.to_path_buf(), name: String::new() },
        }
    }

    /// Where a path of the configuration is.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The target of a path, if it lies inside.
    fn inside(&self, path: &str) -> Result<PathBuf, FileError> {
        let here = if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory };
        let directory = fs::canonicalize(here).map_err(file_error)?;
        let target = fs::canonicalize(here.join(path)).map_err(|error| missing(path, error))?;
        if target.starts_with(&directory) { Ok(target) } else { Err(FileError::Outside) }
    }
}

impl Files for Disk {
    fn read(&self, access: Access, path: &str, limit: usize) -> Result<Vec<u8>, FileError> {
        let place = match access {
            Access::Inside => self.inside(path)?,
            Access::Main | Access::Anywhere => self.resolve(path),
        };
        if access == Access::Main {
            fs::metadata(&place).map_err(|error| missing(path, error))?;
        }
        read(&place, limit)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.inside(directory)?).map_err(file_error)? {
            let entry = entry.map_err(file_error)?;
            // Links are followed. A broken one is listed, so that reading it reports the error.
            if !fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn env(&self, name: &str) -> Option<String> {
        // No variable has a name with `=` or NUL, and on some systems asking for one would panic.
        if name.is_empty() || name.contains(['=', '\0']) { None } else { std::env::var(name).ok() }
    }

    fn shown(&self, path: &str) -> String {
        self.resolve(path).display().to_string()
    }

    fn main_name(&self) -> &str {
        &self.name
    }
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    // Checked before opening, because opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(file_error)?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes)).map_err(file_error)?;
    if bytes.len() > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes) }
}

/// Such a path contains the replacement for a byte that is not UTF-8, so it does not exist under this name.
fn missing(path: &str, error: io::Error) -> FileError {
    match file_error(error) {
        FileError::NotFound if path.contains(char::REPLACEMENT_CHARACTER) => FileError::BadName,
        error => error,
    }
}

fn file_error(error: io::Error) -> FileError {
    match (error.kind(), Errno::from_io_error(&error)) {
        (io::ErrorKind::NotFound, _) => FileError::NotFound,
        (io::ErrorKind::PermissionDenied, _) => FileError::Denied(error.to_string()),
        (_, Some(Errno::MFILE | Errno::NFILE)) => FileError::NoDescriptor(error.to_string()),
        _ => FileError::Other(error.to_string()),
    }
}
