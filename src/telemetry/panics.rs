//! Logs where a panic happened, but not its text: that is made from values, which may be a payload or a secret.

use std::cell::RefCell;
use std::panic::set_hook;
use std::thread;

use tracing::error;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has every panic of the process logged, as one line.
pub fn log_places() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, thread = thread::current().name(), "a panic; please report it");
        LAST.with_borrow_mut(|last| *last = place);
    }));
}

/// The place of this thread's last panic, for code that has just caught it.
pub fn last_place() -> String {
    LAST.with_borrow_mut(Option::take).unwrap_or_else(|| "an unknown place".to_owned())
}
