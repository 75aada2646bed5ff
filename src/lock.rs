//! Locking without poisoning.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, even if another thread panicked while holding it.
///
/// A panic ends one request or one task, and critical sections never leave what they guard half-changed. So those that
/// come later must not fail because of it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use super::lock;

    #[test]
    fn it_is_taken_after_a_panic() {
        let mutex = Mutex::new(7);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = lock(&mutex);
            panic!("on purpose");
        }));
        assert!(panicked.is_err() && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 7);
    }
}
