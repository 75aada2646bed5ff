//! How a lock is taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, whether somebody panicked with it or not. A panic ends one request or one task, and critical sections
/// leave what they guard whole: who comes next must not fail because of it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
