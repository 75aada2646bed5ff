//! Serving a connection that is behind: one step from the cursor towards the head.

use std::future::poll_fn;

use tokio::time::timeout;
use tracing::error;

use crate::close::Close;
use crate::delivery::{self, Frames, Step};
use crate::hub::subscriber::Pulled;
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
        let pulled = match self.subscriber.pull().await {
            Ok(Some(pulled)) => pulled,
            Ok(None) => return Ok(true),
            Err(error) => {
                error!(connection = %self.peer.connection, ?error, "the store could not be read");
                return Err(Close::Internal.into());
            }
        };
        self.deliver(pulled)?;
        // Where all of it is for others nothing is written, and nothing else lets other tasks run.
        tokio::task::consume_budget().await;
        Ok(false)
    }

    fn deliver(&mut self, pulled: Pulled) -> Result<(), Ending> {
        match Step::new(&self.live, self.protocol, &pulled, WRITE) {
            Step::Send(frames) => {
                let sent = self.write(&frames)?;
                delivery::count(&self.live, &pulled, sent);
                self.subscriber.settle(pulled, sent);
            }
            Step::Evaluate(mark) => {
                self.evaluate(Some(&mark))?;
                self.subscriber.settle(pulled, 1);
            }
            Step::End(close) => return Err(close.into()),
        }
        Ok(())
    }

    /// Answers how many items are sent; the rest of the frame that was begun is kept.
    fn write(&mut self, frames: &Frames) -> Result<usize, Ending> {
        let Some(batch) = frames.batch() else { return Ok(frames.sendable) };
        let taken = self.subscriber.write(&batch)?;
        Ok(frames.items_in(taken))
    }
}
