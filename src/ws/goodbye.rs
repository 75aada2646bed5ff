//! The goodbye to a peer.

use std::future::poll_fn;

use tracing::info;

use crate::close::Close;
use crate::frame;
use crate::principal::Principal;
use crate::reconnect;
use crate::telemetry::stats::EndedBy;
use crate::ws::ending::Ending;
use crate::ws::pump::CLOSE_WAIT;
use crate::ws::task::{Arrived, Task};

impl Task {
    /// Says goodbye: sends what is unsent and a close frame, and waits for the peer's, all within [`CLOSE_WAIT`].
    pub(super) async fn end(&mut self, mut ending: Ending) {
        // The shard must not write after the close frame.
        self.subscriber.take_back();
        // A drain loses no acknowledged message: a peer that keeps reading gets all of them first.
        if matches!(ending, Ending::Close(Close::Draining))
            && let Err(sooner) = self.catch_up().await
        {
            ending = sooner;
        }
        let goaway = match &ending {
            Ending::Close(close) => reconnect::goaway(*close, &self.live.snapshot().config.limits),
            _ => None,
        };
        let goaway = goaway.and_then(|goaway| self.protocol.notice(&goaway).ok().flatten());
        let (code, reason) = match &ending {
            Ending::Close(close) if goaway.is_none() => (Some(close.code()), close.reason_alone()),
            Ending::Close(close) => (Some(close.code()), close.reason()),
            Ending::Answer(code) => (*code, ""),
            Ending::Gone(why) => (None, *why),
        };
        let by = match &ending {
            Ending::Close(_) => EndedBy::Server,
            Ending::Answer(_) => EndedBy::Peer,
            Ending::Gone(_) => EndedBy::Nobody,
        };
        self.live.stats.websockets_ended.count(by, code);
        info!(
            connection = %self.subscriber.peer().connection,
            peer = %self.subscriber.peer().address,
            principal = Principal::name_of(self.principal.as_deref()),
            user = self.principal.as_deref().and_then(Principal::user_id),
            code,
            reason,
            "a WebSocket has ended"
        );
        if matches!(ending, Ending::Gone(_)) {
            return;
        }
        // What is unsent takes the memory that is needed, and a close frame could only come behind it.
        if matches!(ending, Ending::Close(Close::Shed)) && self.subscriber.connection().has_rest() {
            return;
        }
        if goaway.is_some_and(|goaway| self.send(goaway).is_err()) {
            return;
        }
        let answered = match ending {
            Ending::Answer(_) => true,
            Ending::Close(close) if close.is_violation() => true,
            _ => self.has_closed(),
        };
        if self.send(frame::close(code, reason)).is_err() {
            return;
        }
        let _ = tokio::time::timeout(CLOSE_WAIT, self.wait_closed(answered)).await;
    }

    /// Lets the server close its side first (RFC 6455, section 7.1.1): once both close frames are through, or at once
    /// if nothing sensible can be expected of the peer. Then reads to the end, so that no reset overtakes the close
    /// frame.
    async fn wait_closed(&mut self, mut answered: bool) {
        let connection = self.subscriber.connection().clone();
        if poll_fn(|cx| connection.poll_rest(cx, || self.live.hub.clock())).await.is_err() {
            return;
        }
        while !answered {
            self.arrived.clear();
            if poll_fn(|cx| self.poll_read(cx)).await.is_err() {
                return;
            }
            answered = self.has_closed();
        }
        poll_fn(|cx| connection.poll_shutdown(cx)).await;
        let mut ignored = [0; 512];
        while matches!(poll_fn(|cx| connection.poll_read(cx, &mut ignored)).await, Ok(1..)) {}
    }

    /// Whether the last item read is the peer's close, or a violation, after which none can be expected.
    fn has_closed(&self) -> bool {
        matches!(self.arrived.back(), Some(Arrived::Close(_) | Arrived::Violation(_)))
    }
}
