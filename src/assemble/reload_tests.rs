//! When the files are read again.

use std::cell::Cell;

use super::{READS, load_whole};
use crate::config::files::{Access, FileError, Files};
use crate::schema::compile::SchemaCache;

/// A relay.toml that differs at each of its first `changes` reads and then stays the same.
struct Written {
    changes: usize,
    reads: Cell<usize>,
}

impl Files for Written {
    fn read(&self, _: Access, _: &str, _: usize) -> Result<Vec<u8>, FileError> {
        self.reads.set(self.reads.get() + 1);
        let version = self.reads.get().min(self.changes + 1);
        Ok(format!("version = 1\n[topics.t{version}]\nschema = \"any\"\n").into_bytes())
    }

    fn list(&self, _: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::NotFound)
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn shown(&self, path: &str) -> String {
        path.to_owned()
    }

    fn main_name(&self) -> &str {
        "relay.toml"
    }
}

#[test]
fn what_changes_while_it_is_read_is_read_again_but_not_for_ever() {
    // Each load reads the file twice: once for its content, and once to see whether that has changed.
    for (changes, loads, stood_still) in [(0, 1, true), (1, 2, true), (4, 3, true), (99, READS, false)] {
        let files = Written { changes, reads: Cell::default() };
        let (loaded, is_whole) = load_whole(&files, &SchemaCache::default());
        assert_eq!((files.reads.get(), is_whole), (2 * loads, stood_still), "{changes}");
        let topic = loaded.config.expect("a good one").topics[0].name.to_string();
        assert!(!is_whole || topic == format!("t{}", changes + 1), "{topic}");
    }
}
