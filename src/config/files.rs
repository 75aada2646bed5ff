//! How the files of a configuration are reached. Knows no file system.

use std::collections::BTreeMap;
use std::fmt;

use crate::path::below;

/// The largest relay.toml, included file or secret, in bytes.
pub const MAX_FILE: usize = 16 << 20;

/// Why a file is read. The same path may be allowed for one purpose and not for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// relay.toml itself, wherever its path leads.
    Main,
    /// A file that must be in relay.toml's directory or below it, symlinks followed.
    Inside,
    /// A file that may be anywhere, such as a secret. Its path may be absolute.
    Anywhere,
}

/// The source of files. Paths are relative to relay.toml's directory, with `/` between their parts.
pub trait Files {
    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FileError`].
    fn read(&self, access: Access, path: &str, limit: usize) -> Result<Vec<u8>, FileError>;

    /// The sorted names of the files in a directory; `""` is relay.toml's own.
    ///
    /// # Errors
    /// [`FileError`].
    fn list(&self, directory: &str) -> Result<Vec<String>, FileError>;

    /// The value of an environment variable, if it is set and is Unicode.
    fn env(&self, name: &str) -> Option<String>;

    /// The path as shown to people.
    fn shown(&self, path: &str) -> String;

    /// The name of relay.toml in its directory.
    fn main_name(&self) -> &str;
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// It does not exist.
    NotFound,
    /// It lies outside relay.toml's directory.
    Outside,
    /// It is a directory, a pipe or a device.
    NotAFile,
    /// Its name is not UTF-8.
    BadName,
    /// It has more than this many bytes.
    TooLarge(usize),
    /// The process may not read it. Holds the message of the operating system.
    Denied(String),
    /// The process or the machine has too many files open. Holds the message of the operating system.
    NoDescriptor(String),
    /// Any other message of the operating system.
    Other(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file"),
            Self::Outside => f.write_str("it lies outside relay.toml's directory"),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::BadName => f.write_str("its name is not UTF-8"),
            Self::TooLarge(limit) => write!(f, "it has more than {limit} bytes"),
            Self::Denied(cause) | Self::NoDescriptor(cause) | Self::Other(cause) => f.write_str(cause),
        }
    }
}

/// Files in memory, for tests and for texts that are not on disk.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    /// The files by path; relay.toml is `relay.toml`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
}

impl Memory {
    /// A configuration of one text.
    pub fn new(relay_toml: &str) -> Self {
        Self::default().with("relay.toml", relay_toml)
    }

    /// Adds a file.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.as_bytes().to_vec());
        self
    }
}

impl Files for Memory {
    fn read(&self, access: Access, path: &str, limit: usize) -> Result<Vec<u8>, FileError> {
        if access == Access::Inside && below("", path).is_none() {
            return Err(FileError::Outside);
        }
        let bytes = self.files.get(path).ok_or(FileError::NotFound)?;
        if bytes.len() > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes.clone()) }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut within = self.files.keys().filter_map(|path| path.strip_prefix(&prefix)).peekable();
        if within.peek().is_none() {
            return Err(FileError::NotFound);
        }
        Ok(within.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn shown(&self, path: &str) -> String {
        path.to_owned()
    }

    fn main_name(&self) -> &str {
        "relay.toml"
    }
}
