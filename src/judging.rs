//! Turns for what is large: to judge it takes many times the memory of its text, and time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::background;
use crate::problem::Refusal;

/// Bytes up to which a text is judged at once: what that costs is small, and no more at a time than there are threads.
pub const SMALL: usize = 64 << 10;
/// Bytes of memory that judging takes at most for each byte of text: its tree and, where it is refused, the `Value` that
/// explains it. Nested arrays of one item are the worst: two bytes of text, and a list with room for four.
pub const COST: usize = 136;
/// How many large ones are judged at a time.
pub const AT_A_TIME: usize = 4;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub struct Judging(Semaphore);

/// A turn; it ends when this is dropped.
pub enum Turn<'j> {
    /// Without waiting, where what calls runs.
    AtOnce,
    /// Of something large, beside those who serve.
    Large(SemaphorePermit<'j>),
}

impl Judging {
    /// Waits for the turn of so many bytes, in order. Safe to drop.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when it has waited for too long.
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
    /// Does what the turn is for.
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
