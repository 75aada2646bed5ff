//! Remembers what one load has read of a configuration's files.
//!
//! Every file is read at most once per load, so that all checks see the same bytes. The hash and the watched paths come
//! from the same memory.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::files::{Access, FileError, Files, MAX_FILE};
use crate::hex::hex;

/// How a path is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    File(Access),
    Directory,
}

impl Role {
    fn read(self, files: &dyn Files, path: &str, limit: usize) -> Answer {
        let read = match self {
            Self::File(access) => files.read(access, path, limit),
            Self::Directory => files.list(path).map(|names| names.join(BETWEEN).into_bytes()),
        };
        read.map(Arc::from)
    }
}

/// Separates the names of a listing: a file's name cannot hold it, but it can hold a line break.
const BETWEEN: &str = "\0";

type Answer = Result<Arc<[u8]>, FileError>;

/// One load's view of the files: whatever was read once stays the same.
pub struct Reading<'a> {
    files: &'a dyn Files,
    seen: RefCell<BTreeMap<(Role, String), Seen>>,
}

/// The result of reading a file, and the limit on its size.
struct Seen {
    answer: Answer,
    limit: usize,
}

impl<'a> Reading<'a> {
    /// Starts with nothing read.
    pub fn new(files: &'a dyn Files) -> Self {
        Self { files, seen: RefCell::default() }
    }

    /// Reads relay.toml.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn main(&self) -> Answer {
        self.read(Access::Main, self.files.main_name(), MAX_FILE)
    }

    /// See [`Files::read`].
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&self, access: Access, path: &str, limit: usize) -> Answer {
        self.once(Role::File(access), path, limit)
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

    /// SHA-256, in hex, over every file that was read and every error. Listings are left out unless they failed: a new
    /// file counts once it is read.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for ((role, path), Seen { answer, .. }) in self.seen.borrow().iter() {
            let role = match role {
                Role::File(access) => *access as u8,
                Role::Directory if answer.is_err() => u8::MAX,
                Role::Directory => continue,
            };
            let bytes = told(answer);
            hash.update([role, u8::from(answer.is_ok())]);
            hash.update((path.len() as u64).to_be_bytes());
            hash.update(path);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(&*bytes);
        }
        hex(&hash.finalize())
    }

    /// What was read, for cheap checks whether it is still the same.
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

/// Everything that a load read or tried to read, listings included, each with a digest of the result.
#[derive(Debug, Clone, Default)]
pub struct Inputs(Vec<Input>);

#[derive(Debug, Clone)]
struct Input {
    role: Role,
    path: String,
    limit: usize,
    digest: [u8; 32],
    /// Whether the result says nothing about the file.
    is_unseen: bool,
}

impl Inputs {
    /// The paths that were read or tried, including listed directories: what a watcher has to watch. They are relative
    /// to relay.toml's directory, except absolute paths, which only secrets and other files of `Access::Anywhere` may
    /// have.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<_> = self.0.iter().map(|input| &*input.path).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Whether something could not be read because too many files were open.
    pub fn are_incomplete(&self) -> bool {
        self.0.iter().any(|input| input.is_unseen)
    }

    /// Whether reading everything again gives the same results.
    pub fn are_unchanged(&self, files: &dyn Files) -> bool {
        self.0.iter().all(|before| digest(&before.role.read(files, &before.path, before.limit)) == before.digest)
    }
}

fn digest(answer: &Answer) -> [u8; 32] {
    Sha256::new().chain_update([u8::from(answer.is_ok())]).chain_update(told(answer)).finalize().into()
}

/// The content for hash and digest. The text of an error counts, because it is in the diagnostic: another error is a
/// change.
fn told(answer: &Answer) -> Cow<'_, [u8]> {
    match answer {
        Ok(bytes) => Cow::Borrowed(bytes),
        Err(error) => Cow::Owned(error.to_string().into_bytes()),
    }
}
