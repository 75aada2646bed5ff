//! Turns for what is costly to judge: the tree of a JSON text takes many times the memory of the text, and much of it takes
//! time.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes up to which a publish is judged at once: what it costs is small, and more at a time than there are threads cannot be.
pub const SMALL: usize = 64 << 10;
/// How much memory the judgement of a JSON text takes at most, for each byte of it. The tree takes most where arrays of one item
/// nest: two bytes, and room for four items.
pub const TREE: usize = 88;
/// How many are judged at a time that are not small, or are slow.
pub const AT_A_TIME: usize = 4;

/// See the module's documentation.
pub struct Judging(Semaphore);

impl Judging {
    /// Waits for a turn, in order; it ends when what is answered is dropped. Safe to drop.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.0.acquire().await.expect("it is never closed")
    }
}

impl Default for Judging {
    fn default() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }
}
