//! Serves a connection that is behind: each step takes its cursor towards the head.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::timeout;

use crate::delivery::{self, Frames, Step};
use crate::ws::ending::Ending;
use crate::ws::task::Task;

/// How long a peer may take to answer a close frame, and to read what comes before it.
pub(super) const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Bytes encoded for one write, unless a single message is larger: about what a socket takes at once. What it does not
/// take of the store's messages is read and encoded again.
const WRITE: usize = 128 << 10;

impl Task {
    /// Takes one step: sends what comes next, or hands the connection to its shard if nothing does.
    pub(super) async fn pump(&mut self) -> Result<(), Ending> {
        self.answer_ping()?;
        if self.advance().await? {
            self.subscriber.join();
        }
        Ok(())
    }

    /// Sends everything up to the head of the log, as long as the peer keeps reading. The shard must have let go of the
    /// connection.
    pub(super) async fn catch_up(&mut self) -> Result<(), Ending> {
        let connection = self.subscriber.connection().clone();
        loop {
            let rest = poll_fn(|cx| connection.poll_rest(cx, || self.live.hub.clock()));
            match timeout(CLOSE_WAIT, rest).await {
                Ok(written) => written?,
                Err(_) => return Ok(()),
            }
            if self.advance().await? {
                return Ok(());
            }
        }
    }

    /// Sends what comes next; returns `true` if there was nothing.
    async fn advance(&mut self) -> Result<bool, Ending> {
        let next = delivery::next(&self.live, &mut self.subscriber, self.protocol, WRITE).await?;
        let Some((step, pulled)) = next else { return Ok(true) };
        let sent = match step {
            Step::Send(frames) => self.write(&frames)?,
            Step::Evaluate(mark) => {
                self.evaluate(Some(&mark))?;
                1
            }
        };
        delivery::settle(&self.live, &mut self.subscriber, pulled, sent);
        // If all of it was for others, nothing was written, and nothing else in this loop yields to other tasks.
        tokio::task::consume_budget().await;
        Ok(false)
    }

    /// Writes the frames; returns how many items that sends. The rest of a frame that was begun is kept, and counts as
    /// sent.
    fn write(&mut self, frames: &Frames) -> Result<usize, Ending> {
        let Some(batch) = frames.batch() else { return Ok(frames.sendable) };
        let taken = self.subscriber.write(&batch)?;
        Ok(frames.items_in(taken))
    }
}
