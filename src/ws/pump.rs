//! Serving a connection that is behind: one step from the cursor towards the head.

use std::future::poll_fn;

use tokio::time::timeout;

use crate::delivery::{self, Frames, Step};
use crate::ws::ending::{CLOSE_WAIT, Ending};
use crate::ws::task::Task;

/// Bytes that are encoded for one write, or one message: about what a socket takes at once. What it does not take is
/// encoded again.
const WRITE: usize = 128 << 10;

impl Task {
    /// One step: sends what comes next, or gives the connection to its shard when nothing does.
    pub(super) async fn pump(&mut self) -> Result<(), Ending> {
        self.answer_ping()?;
        if self.advance().await? {
            self.subscriber.join();
        }
        Ok(())
    }

    /// Sends everything that is in the log, to a peer that goes on taking it.
    pub(super) async fn catch_up(&mut self) -> Result<(), Ending> {
        self.subscriber.take_back();
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

    /// Sends what comes next; answers whether nothing did.
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
        // Where all of it is for others nothing is written, and nothing else lets other tasks run.
        tokio::task::consume_budget().await;
        Ok(false)
    }

    /// Answers how many items are sent; the rest of the frame that was begun is kept.
    fn write(&mut self, frames: &Frames) -> Result<usize, Ending> {
        let Some(batch) = frames.batch() else { return Ok(frames.sendable) };
        let taken = self.subscriber.write(&batch)?;
        Ok(frames.items_in(taken))
    }
}
