//! The threads that serve: what takes long is done beside them.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does what may take long where nobody waits for the thread; a runtime of one thread has no such place.
pub fn off_the_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
