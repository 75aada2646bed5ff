//! How a lock is taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, whether somebody panicked with it or not. A panic ends one request or one task, and critical sections
/// leave what they guard whole: who comes next must not fail because of it.
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
