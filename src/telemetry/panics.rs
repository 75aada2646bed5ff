//! What is said of a panic: where, and not what. Its text is made from values, and those may be anybody's: a payload, a
//! secret.

use std::panic::set_hook;
use std::thread;

use tracing::error;

/// From now on every panic of the process is one line of the log.
pub fn log_places() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, thread = thread::current().name(), "a panic; please report it");
    }));
}
