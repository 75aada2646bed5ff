//! Limits how many texts are judged at a time of those that are large, as judging one takes many times its size in
//! memory, and long; and of those whose schema has lately been slow.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::background;
use crate::problem::Refusal;

/// Texts of up to this many bytes are judged at once: each costs little, and there are no more at a time than threads.
pub const SMALL: usize = 64 << 10;
/// Most bytes of memory that judging takes for each byte of text: its tree and, if it is refused, the `Value` that
/// explains why. The worst are nested arrays of one item: two bytes of text, and a list with capacity for four.
pub const COST: usize = 136;
/// Number of large or slow texts judged at a time.
pub const AT_A_TIME: usize = 4;
/// How long a large or slow text waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub struct Judging(Semaphore);

/// Why texts were not accepted.
pub enum Unaccepted {
    /// For this reason.
    Refused(Refusal),
    /// Judging them may take long, so it needs a turn [`Turn::Aside`].
    Slow,
}

impl From<Refusal> for Unaccepted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Permission to judge; given back when this is dropped.
pub enum Turn<'j> {
    /// A small text: no wait, on the calling thread.
    AtOnce,
    /// A large or slow text: off the threads that serve.
    Aside(SemaphorePermit<'j>),
}

impl Judging {
    /// Waits for permission to judge so many bytes, first come, first served. Cancel-safe.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] after waiting for too long.
    pub async fn turn(&self, bytes: usize) -> Result<Turn<'_>, Refusal> {
        if bytes <= SMALL { Ok(Turn::AtOnce) } else { self.aside().await }
    }

    /// Judges in this turn, or if that may take long in one aside. Cancel-safe.
    ///
    /// # Errors
    /// Why it was refused, or [`Refusal::Overloaded`] after waiting for too long.
    pub async fn judge<'j, T>(
        &'j self,
        turn: &mut Turn<'j>,
        judge: impl Fn(&Turn<'j>) -> Result<T, Unaccepted>,
    ) -> Result<T, Refusal> {
        loop {
            match turn.take(|| judge(turn)) {
                Ok(judged) => return Ok(judged),
                Err(Unaccepted::Refused(refusal)) => return Err(refusal),
                Err(Unaccepted::Slow) => *turn = self.aside().await?,
            }
        }
    }

    /// Waits for permission to judge what may take long, first come, first served. Who has a turn aside already must
    /// not wait for another. Cancel-safe.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] after waiting for too long.
    pub async fn aside(&self) -> Result<Turn<'_>, Refusal> {
        match tokio::time::timeout(PATIENCE, self.0.acquire()).await {
            Ok(permit) => Ok(Turn::Aside(permit.expect("it is never closed"))),
            Err(_) => Err(Refusal::Overloaded {
                what: "too many messages that are larger than 64 KiB or slow to validate wait for their turn",
                retry_after: Duration::from_secs(1),
            }),
        }
    }
}

impl Turn<'_> {
    /// Whether the work runs on the calling thread, so that it must be short.
    pub fn is_at_once(&self) -> bool {
        matches!(self, Self::AtOnce)
    }

    /// Runs the work that the permission is for.
    pub fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::AtOnce => work(),
            Self::Aside(_) => background::in_place(work),
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

    use super::Judging;
    use crate::background::others_have_a_turn;

    #[test]
    fn what_takes_long_is_judged_beside_those_who_serve() {
        assert!(others_have_a_turn(|has_turn| {
            let judging = Judging::default();
            let turn = judging.aside().now_or_never().expect("nobody else has one");
            turn.is_ok_and(|turn| turn.take(has_turn))
        }));
    }
}
