//! How a configuration's files are reached, and what is remembered of having reached them.
//!
//! Every file is read at most once for one load, so that all of it is judged by the same bytes; the hash and the
//! watched paths come from the same memory. Knows no file system.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::path::below;

/// The most bytes of relay.toml, of an included file and of a secret.
pub const MAX_FILE: usize = 16 << 20;

/// Where files come from. Paths are relative to relay.toml's directory, with `/` between their parts.
pub trait Files {
    /// Reads a file that lies in relay.toml's directory or below it, symlinks followed.
    ///
    /// # Errors
    /// [`FileError`].
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FileError>;

    /// Reads relay.toml itself, wherever it leads.
    ///
    /// # Errors
    /// [`FileError`].
    fn main(&self) -> Result<Vec<u8>, FileError>;

    /// Reads a file with a secret, which may lie anywhere; its path may be absolute.
    ///
    /// # Errors
    /// [`FileError`].
    fn secret(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// The names of the files of a directory, sorted; `""` is relay.toml's own.
    ///
    /// # Errors
    /// [`FileError`].
    fn list(&self, directory: &str) -> Result<Vec<String>, FileError>;

    /// An environment variable, if it is set and is Unicode.
    fn env(&self, name: &str) -> Option<String>;

    /// The path as people are to be shown it.
    fn shown(&self, path: &str) -> String;

    /// The name of relay.toml in its directory.
    fn main_name(&self) -> &str;
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// It is not there.
    NotFound,
    /// It lies outside relay.toml's directory.
    Outside,
    /// A directory, a pipe or a device.
    NotAFile,
    /// Its name is not UTF-8.
    BadName,
    /// More bytes than this.
    TooLarge(usize),
    /// The process may not read it; what the operating system says.
    Denied(String),
    /// The process, or the machine, has as many files open as it may; what the operating system says.
    NoDescriptor(String),
    /// What the operating system says.
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

/// Why a file is read: the same path can be judged differently for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Main,
    Inside,
    Secret,
    Directory,
}

impl Role {
    fn read(self, files: &dyn Files, path: &str, limit: usize) -> Answer {
        let read = match self {
            Self::Main => files.main(),
            Self::Inside => files.read(path, limit),
            Self::Secret => files.secret(path),
            Self::Directory => files.list(path).map(|names| names.join(BETWEEN).into_bytes()),
        };
        read.map(Arc::from)
    }
}

/// Separates the names of a listing: a file's name cannot hold it, but it can hold a line break.
const BETWEEN: &str = "\0";

type Answer = Result<Arc<[u8]>, FileError>;

/// One load's view of the files: what was read once stays as it was.
pub struct Reading<'a> {
    files: &'a dyn Files,
    seen: RefCell<BTreeMap<(Role, String), Seen>>,
}

/// What came of a file, and the limit that it was read against.
struct Seen {
    answer: Answer,
    limit: usize,
}

impl<'a> Reading<'a> {
    /// Nothing has been read yet.
    pub fn new(files: &'a dyn Files) -> Self {
        Self { files, seen: RefCell::default() }
    }

    /// Relay.toml.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn main(&self) -> Answer {
        self.once(Role::Main, self.files.main_name(), MAX_FILE)
    }

    /// See [`Files::read`].
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&self, path: &str, limit: usize) -> Answer {
        self.once(Role::Inside, path, limit)
    }

    /// See [`Files::secret`].
    ///
    /// # Errors
    /// [`FileError`].
    pub fn secret(&self, path: &str) -> Answer {
        self.once(Role::Secret, path, MAX_FILE)
    }

    /// See [`Files::list`].
    ///
    /// # Errors
    /// [`FileError`].
    pub fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let names = self.once(Role::Directory, directory, MAX_FILE)?;
        let names = String::from_utf8_lossy(&names);
        Ok(names.split(BETWEEN).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// See [`Files::env`].
    pub fn env(&self, name: &str) -> Option<String> {
        self.files.env(name)
    }

    /// See [`Files::shown`].
    pub fn shown(&self, path: &str) -> String {
        self.files.shown(path)
    }

    /// The name of relay.toml in its directory.
    pub fn main_name(&self) -> &str {
        self.files.main_name()
    }

    /// SHA-256, in hex, over every file that was read and every one that could not be. Listings are left out: a new
    /// file counts once it is read.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for ((role, path), Seen { answer, .. }) in
            self.seen.borrow().iter().filter(|((role, _), _)| *role != Role::Directory)
        {
            let bytes = told(answer);
            hash.update([*role as u8, u8::from(answer.is_ok())]);
            hash.update((path.len() as u64).to_be_bytes());
            hash.update(path);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(&*bytes);
        }
        hex(&hash.finalize())
    }

    /// What was read, so that it can be seen cheaply whether it is still the same.
    pub fn inputs(&self) -> Inputs {
        let seen = self.seen.borrow();
        let inputs = seen.iter().map(|((role, path), Seen { answer, limit })| Input {
            role: *role,
            path: path.clone(),
            limit: *limit,
            digest: digest(answer),
            is_unseen: matches!(answer, Err(FileError::NoDescriptor(_))),
        });
        Inputs(inputs.collect())
    }

    /// The paths that were read or tried, directories that were listed among them: what a watcher watches. Relative to
    /// relay.toml's directory, except for secrets that are not.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.seen.borrow().keys().map(|(_, path)| path.clone()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn once(&self, role: Role, path: &str, limit: usize) -> Answer {
        let key = (role, path.to_owned());
        if let Some(seen) = self.seen.borrow().get(&key) {
            return seen.answer.clone();
        }
        let answer = role.read(self.files, path, limit);
        self.seen.borrow_mut().insert(key, Seen { answer: answer.clone(), limit });
        answer
    }
}

/// Everything that one load read or tried, listings included, each with a digest of what came of it.
#[derive(Debug, Clone, Default)]
pub struct Inputs(Vec<Input>);

#[derive(Debug, Clone)]
struct Input {
    role: Role,
    path: String,
    limit: usize,
    digest: [u8; 32],
    /// What came of it says nothing of the file.
    is_unseen: bool,
}

impl Inputs {
    /// Whether something could not be looked at for want of descriptors.
    pub fn are_incomplete(&self) -> bool {
        self.0.iter().any(|input| input.is_unseen)
    }

    /// Whether reading all of it again comes to the same.
    pub fn are_unchanged(&self, files: &dyn Files) -> bool {
        self.0.iter().all(|before| digest(&before.role.read(files, &before.path, before.limit)) == before.digest)
    }
}

fn digest(answer: &Answer) -> [u8; 32] {
    Sha256::new().chain_update([u8::from(answer.is_ok())]).chain_update(told(answer)).finalize().into()
}

/// What is read, or why it cannot be: people are told, and have to be told when it is for another reason.
fn told(answer: &Answer) -> Cow<'_, [u8]> {
    match answer {
        Ok(bytes) => Cow::Borrowed(bytes),
        Err(error) => Cow::Owned(error.to_string().into_bytes()),
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Files in memory, for tests and for texts that are not on a disk.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    /// Files by path; relay.toml is `relay.toml`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
}

impl Memory {
    /// A configuration that is one text.
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
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FileError> {
        if below("", path).is_none() {
            return Err(FileError::Outside);
        }
        let bytes = self.files.get(path).ok_or(FileError::NotFound)?;
        if bytes.len() > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes.clone()) }
    }

    fn main(&self) -> Result<Vec<u8>, FileError> {
        self.read(self.main_name(), MAX_FILE)
    }

    fn secret(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.files.get(path).cloned().ok_or(FileError::NotFound)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let names = self.files.keys().filter_map(|path| path.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
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
