//! Facts about the files of a configuration and their syntax.

use std::fmt;

use super::About;
use crate::config::files::FileError;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum FileFact {
    Unreadable { path: String, error: FileError },
    NotUtf8,
    Syntax { detail: String },
    DuplicateKey { key: String },
    BadInclude { pattern: String },
    IncludeOutside { pattern: String },
    IncludeEmpty { pattern: String },
    IncludeNowhere { pattern: String, directory: String },
    IncludeUnreadable { path: String, error: FileError },
    NotInInclude { key: String },
}

impl FileFact {
    pub(super) fn about(&self) -> About {
        match self {
            Self::Unreadable { error, .. } => About::error("config-unreadable", unreadable(error)),
            Self::NotUtf8 => About::error("not-utf8", "save the file as UTF-8"),
            Self::Syntax { .. } => About::error("toml-syntax", "the file is TOML 1.1: https://toml.io"),
            Self::DuplicateKey { .. } => About::error("duplicate-key", "keep one of them"),
            Self::BadInclude { .. } => About::error(
                "bad-include",
                "write a path relative to relay.toml, with `*` in its last part only, such as `topics.d/*.toml`",
            ),
            Self::IncludeOutside { .. } => {
                About::error("include-outside", "move the file into relay.toml's directory or below it")
            }
            Self::IncludeEmpty { .. } => About::warning("include-empty", "check the path, or remove it from `include`"),
            Self::IncludeNowhere { .. } => About::error(
                "include-unreadable",
                "create the directory (it may be empty; Git keeps it with a file `.gitkeep` in it), or remove the \
                 pattern from `include`",
            ),
            Self::IncludeUnreadable { error, .. } => About::error("include-unreadable", not_included(error)),
            Self::NotInInclude { .. } => {
                About::error("not-in-include", "move it to relay.toml: included files may have `topics` and `tokens`")
            }
        }
    }
}

/// What to do if an included file cannot be read.
fn not_included(error: &FileError) -> &'static str {
    match error {
        FileError::NotFound => "check the path: it is relative to relay.toml",
        FileError::NotAFile => "name files, `*` stands for part of a name: `topics.d/*.toml`",
        FileError::TooLarge(_) => "divide it into several",
        other => unreadable(other),
    }
}

/// What to do if relay.toml itself cannot be read.
fn unreadable(error: &FileError) -> &'static str {
    match error {
        FileError::NotFound => {
            "name the file with `--config`, or write one: README, \"Five minutes\", begins with a small one; a relay that \
             runs keeps its configuration until the file is back"
        }
        FileError::Denied(_) => "let the user that relay runs as read the file, and enter the directories above it",
        FileError::NotAFile => {
            "name a file with `--config`, not a directory or a pipe: it is read again at each reload"
        }
        FileError::BadName => "rename the file",
        FileError::TooLarge(_) => "move topics and tokens to files of their own: `include = [\"topics.d/*.toml\"]`",
        FileError::NoDescriptor(_) => "raise the limit of open files (`ulimit -n`), and try again",
        FileError::Outside | FileError::Other(_) => "fix what the system reports, and try again",
    }
}

impl fmt::Display for FileFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "cannot read `{path}`: {error}"),
            Self::NotUtf8 => f.write_str("the file is not UTF-8"),
            Self::Syntax { detail } => f.write_str(detail),
            Self::DuplicateKey { key } => write!(f, "`{key}` appears twice in the same table"),
            Self::BadInclude { pattern } => write!(f, "`{pattern}` is not a path that can be included"),
            Self::IncludeOutside { pattern } => write!(f, "`{pattern}` leads out of relay.toml's directory"),
            Self::IncludeEmpty { pattern } => write!(f, "no file matches `{pattern}`"),
            Self::IncludeNowhere { pattern, directory } => {
                write!(f, "cannot include `{pattern}`: there is no directory `{directory}`")
            }
            Self::IncludeUnreadable { path, error } => write!(f, "cannot read the included `{path}`: {error}"),
            Self::NotInInclude { key } => write!(f, "`{key}` is not allowed in an included file"),
        }
    }
}
