//! How many files and sockets the process may have open.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are kept for everything else: files, the admin listener, the connections over the limit.
const RESERVED: usize = 256;

/// Raises the soft limit to the hard one, which a process may do for itself: shells hand out 1,024. Where that is not
/// allowed, nothing changes.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many descriptors the process may have open; `None` is any number.
pub fn limit() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|descriptors| usize::try_from(descriptors).unwrap_or(usize::MAX))
}

/// How many connections there is room for, one at the least.
pub fn room() -> usize {
    limit().map_or(usize::MAX, |descriptors| descriptors.saturating_sub(RESERVED).max(1))
}

/// Whether something failed because the process, or the system, has no descriptor left.
pub fn are_used_up(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
