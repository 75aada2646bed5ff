//! Runs long work on a thread of its own with a lower priority. The thread ends with the work, for it could not raise its
//! priority again.

use tokio::sync::oneshot;

/// How far the work stands back behind serving, as nice(2) counts: enough that deliveries do not wait for it, and not so
/// much that on a busy machine it takes for ever.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// Runs it.
///
/// # Errors
/// Why there is no answer: it panicked, or there is no thread to be had.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
        // Elsewhere it would count for the whole process. Where it is refused, serving is only slower for a while.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(NICE);
        let _ = answer.send(work());
    });
    match thread {
        Ok(_) => answered.await.map_err(|_| "it panicked".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::aside;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        assert_eq!(aside(|| 7).await, Ok(7));
        assert_eq!(aside(|| -> u8 { panic!("on purpose") }).await, Err("it panicked".to_owned()));
    }
}
