//! What the task of a connection waits for, and in which order it acts.
//!
//! It reads no further command while an answer is unsent, which bounds what it holds for a peer that does not read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::frame::{self, Opcode};
use crate::ws::ending::Ending;
use crate::ws::task::{Arrived, Reply, Task};
use crate::ws::vitals::Vital;

enum Next {
    Again,
    Pump,
    End(Ending),
}

impl Task {
    /// Serves the connection to its end.
    pub async fn run(mut self: Box<Self>) {
        let ending = self.converse().await;
        // Boxed, like everything that runs once or rarely: otherwise every idle connection's future has room for it.
        Box::pin(self.end(ending)).await;
    }

    async fn converse(&mut self) -> Ending {
        let mut timer = pin!(sleep_until(self.due()));
        loop {
            while self.reply == Reply::Sent
                && let Some(arrived) = self.arrived.pop_front()
            {
                if let Err(ending) = self.handle(arrived).await {
                    return ending;
                }
            }
            if self.arrived.is_empty() {
                self.arrived = VecDeque::new();
            }
            // A command or a reload may have brought a deadline forward, such as the end of a credential.
            self.hasten(timer.as_mut());
            // A peer that never stops sending keeps `poll_next` from reaching its timer.
            let ticked = if timer.deadline() <= Instant::now() { self.tick(timer.as_mut()) } else { None };
            let next = match ticked {
                Some(next) => next,
                None => poll_fn(|cx| self.poll_next(cx, timer.as_mut())).await,
            };
            let done = match next {
                Next::Again => Ok(()),
                Next::Pump => Box::pin(self.pump()).await,
                Next::End(ending) => Err(ending),
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    async fn handle(&mut self, arrived: Arrived) -> Result<(), Ending> {
        match arrived {
            Arrived::Message(message) => Box::pin(self.command(message)).await,
            Arrived::Ping(payload) => {
                self.pong = Some(payload);
                self.answer_ping()
            }
            Arrived::Close(code) => Err(Ending::Answer(code)),
            Arrived::Violation(close) => Err(close.into()),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Next> {
        self.subscriber.connection().register(cx);
        if let Some(close) = self.subscriber.connection().ending() {
            return Poll::Ready(Next::End(close.into()));
        }
        if self.subscriber.is_live() {
            self.reply = Reply::Sent;
        } else if self.reply == Reply::GoesWithNext {
            self.reply = Reply::Unsent;
            return Poll::Ready(Next::Pump);
        } else {
            let Self { live, vitals, subscriber, .. } = self;
            let taken = || {
                let now = live.hub.clock();
                vitals.heard(now);
                now
            };
            match subscriber.connection().poll_rest(cx, taken) {
                Poll::Ready(Ok(())) => {
                    self.reply = Reply::Sent;
                    // Read even while it catches up, however long that takes: what it sends shows that it is alive.
                    // What was read before is carried out first.
                    let read = if self.arrived.is_empty() { self.poll_read(cx) } else { Poll::Pending };
                    return Poll::Ready(match read {
                        Poll::Ready(Err(ending)) => Next::End(ending),
                        Poll::Ready(Ok(())) | Poll::Pending => Next::Pump,
                    });
                }
                Poll::Ready(Err(dead)) => return Poll::Ready(Next::End(dead.into())),
                Poll::Pending => self.hasten(timer.as_mut()),
            }
        }
        if self.reply == Reply::Sent {
            if !self.arrived.is_empty() {
                return Poll::Ready(Next::Again);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Next::Again),
                Poll::Ready(Err(ending)) => return Poll::Ready(Next::End(ending)),
                Poll::Pending => {}
            }
        }
        while timer.as_mut().poll(cx).is_ready() {
            if let Some(next) = self.tick(timer.as_mut()) {
                return Poll::Ready(next);
            }
        }
        Poll::Pending
    }

    /// Brings the timer forward if something is due sooner.
    fn hasten(&self, timer: Pin<&mut Sleep>) {
        let due = self.due();
        if due < timer.deadline() {
            timer.reset(due);
        }
    }

    fn next_vital(&self) -> (Duration, Vital) {
        let snapshot = self.live.snapshot();
        let clock = self.live.hub.clock();
        self.vitals.next(&snapshot.config.limits, clock, self.subscriber.connection(), self.principal.as_deref())
    }

    fn due(&self) -> Instant {
        // One millisecond is the timer's resolution; and a tick that finds nothing due must not spin.
        Instant::now() + self.next_vital().0 + Duration::from_millis(1)
    }

    /// Does what is due and resets the timer; returns what the loop is to do next, if anything.
    fn tick(&mut self, timer: Pin<&mut Sleep>) -> Option<Next> {
        let now = self.live.hub.clock();
        let done = match self.next_vital() {
            (wait, _) if !wait.is_zero() => Ok(()),
            (_, Vital::Ping) => {
                self.vitals.pinged(now);
                self.send(frame::frame(Opcode::Ping, b""))
            }
            (_, Vital::End(close)) => Err(close.into()),
            (_, Vital::Stalled) => Err(Ending::Gone("nothing could be written for `limits.write_stall`")),
        };
        timer.reset(self.due());
        if let Err(ending) = done {
            return Some(Next::End(ending));
        }
        if self.reply == Reply::Unsent {
            // The ping found the socket full, and only the next `poll_next` registers a waker for it.
            return Some(Next::Again);
        }
        let may_be_told = self.vitals.may_be_told(&self.live.snapshot().config.limits, now);
        if !may_be_told || !self.subscriber.refresh_position() {
            return None;
        }
        self.vitals.told(now);
        Some(Next::Pump)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
