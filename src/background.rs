//! Long work, where it does not hold up the threads that serve: a part of a request in its place ([`in_place`]), and what
//! no request waits for, such as a reload, on a thread of its own ([`on_own_thread`]).

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// How far the work stands back behind serving, as nice(2) counts: enough that deliveries do not wait for it, and not so
/// much that on a busy machine it takes for ever.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// Does what may take long on the calling thread, which hands what else it had to do to others; a runtime of one thread has
/// no others.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs long work on a thread of its own with a lower priority. The thread ends with the work, for it could not raise its
/// priority again.
///
/// # Errors
/// Why there is no answer: it panicked, or there is no thread to be had.
pub async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // Elsewhere it would count for the whole process. Where it is refused, serving is only slower for a while.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(NICE);
        let _ = answer.send(work());
    });
    match thread {
        Ok(_) => answered.await.map_err(|_| "it panicked".to_owned()),
        Err(error) => {
            Err(format!("there is no thread to be had ({error}): raise `TasksMax=`, `pids.max` or `ulimit -u`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::on_own_thread;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        assert_eq!(on_own_thread(|| 7).await, Ok(7));
        assert_eq!(on_own_thread(|| -> u8 { panic!("on purpose") }).await, Err("it panicked".to_owned()));
    }
}
