//! Limits how many large texts are judged at a time: judging one takes many times its size in memory, and long.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::background;
use crate::problem::Refusal;

/// Texts of up to this many bytes are judged at once: each costs little, and there are no more at a time than threads.
pub const SMALL: usize = 64 << 10;
/// Most bytes of memory that judging takes for each byte of text: its tree and, if it is refused, the `Value` that
/// explains why. The worst are nested arrays of one item: two bytes of text, and a list with capacity for four.
pub const COST: usize = 136;
/// Number of large texts judged at a time.
pub const AT_A_TIME: usize = 4;
/// How long a large text waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub struct Judging(Semaphore);

/// Permission to judge; given back when this is dropped.
pub enum Turn<'j> {
    /// A small text: no wait, on the calling thread.
    AtOnce,
    /// A large text: off the threads that serve.
    Large(SemaphorePermit<'j>),
}

impl Judging {
    /// Waits for permission to judge so many bytes, first come, first served. Cancel-safe.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] after waiting for too long.
    pub async fn turn(&self, bytes: usize) -> Result<Turn<'_>, Refusal> {
        if bytes <= SMALL {
            return Ok(Turn::AtOnce);
        }
        match tokio::time::timeout(PATIENCE, self.0.acquire()).await {
            Ok(permit) => Ok(Turn::Large(permit.expect("it is never closed"))),
            Err(_) => Err(Refusal::Overloaded {
                what: "too many messages of more than 64 KiB wait to be validated",
                retry_after: Duration::from_secs(1),
            }),
        }
    }
}

impl Turn<'_> {
    /// Runs the work that the permission is for.
    pub fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::AtOnce => work(),
            Self::Large(_) => background::in_place(work),
        }
    }
}

impl Default for Judging {
    fn default() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{Judging, SMALL};
    use crate::background::others_have_a_turn;

    #[test]
    fn what_is_large_is_judged_beside_those_who_serve() {
        assert!(others_have_a_turn(|has_turn| {
            let judging = Judging::default();
            let turn = judging.turn(SMALL + 1).now_or_never().expect("nobody else has one");
            turn.is_ok_and(|turn| turn.take(has_turn))
        }));
    }
}
