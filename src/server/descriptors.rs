//! How many files and sockets the process may have open.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for everything else: files, the admin listener, connections over the limit.
const RESERVED: usize = 256;

/// Raises the soft limit to the hard one, as any process may: shells set it to 1,024. If that fails, nothing changes.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many descriptors the process may have open; `None` if there is no limit.
pub fn limit() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|descriptors| usize::try_from(descriptors).unwrap_or(usize::MAX))
}

/// Number of connections that the descriptors allow, at least one.
pub fn room() -> usize {
    limit().map_or(usize::MAX, |descriptors| descriptors.saturating_sub(RESERVED).max(1))
}

/// Whether something failed because the process or the system has no descriptor left.
pub fn are_used_up(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
