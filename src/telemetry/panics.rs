//! What is said of a panic: where, and not what. Its text is made from values, and those may be anybody's: a payload, a
//! secret.

use std::cell::RefCell;
use std::panic::set_hook;
use std::thread;

use tracing::error;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on every panic of the process is one line of the log.
pub fn log_places() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, thread = thread::current().name(), "a panic; please report it");
        LAST.with_borrow_mut(|last| *last = place);
    }));
}

/// Where the last panic of this thread was, for whoever has just caught it.
pub fn last_place() -> String {
    LAST.with_borrow_mut(Option::take).unwrap_or_else(|| "an unknown place".to_owned())
}
