//! The task of one connection: what it waits for, and in which order it acts.
//!
//! It reads into a buffer that all connections of a thread share, so that an idle connection holds none. It reads no
//! further command while an answer is unsent, which bounds what it holds for a peer that does not read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use crate::close::Close;
use crate::connections::Permit;
use crate::frame::inbound::{Inbound, Item};
use crate::frame::{self, Opcode};
use crate::hub::connection::{Dead, Written};
use crate::hub::peer::Peer;
use crate::hub::subscriber::Subscriber;
use crate::live::Live;
use crate::notice::Notice;
use crate::plugin::Protocol;
use crate::principal::Principal;
use crate::registrations::Seat;
use crate::ws::command::Incoming;
use crate::ws::ending::Ending;
use crate::ws::vitals::{Vital, Vitals};

/// Bytes read at a time: bounds how much is parsed before it is carried out.
const READ: usize = 8 << 10;
/// A connection is closed at this many messages that are not commands.
pub(super) const MAX_MALFORMED: u8 = 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// The caller of a connection, as far as it is known when the connection begins.
pub(super) enum Caller {
    /// Unknown: the first message may authenticate it.
    Unknown,
    /// Identified by its bearer.
    Known(Arc<Principal>),
    /// Identified by its registration.
    Registered(Arc<Principal>, Box<Seat>),
}

/// One connection.
pub struct Task {
    pub(super) live: Arc<Live>,
    pub(super) subscriber: Subscriber,
    pub(super) protocol: &'static dyn Protocol,
    /// `None` while a credential is needed and has not been shown.
    pub(super) principal: Option<Arc<Principal>>,
    pub(super) seat: Option<Box<Seat>>,
    /// The generation of the configuration by which the principal was last judged.
    pub(super) generation: u64,
    /// The first message may still be `auth`.
    pub(super) may_authenticate: bool,
    pub(super) malformed: u8,
    pub(super) peer: Arc<Peer>,
    inbound: Inbound,
    /// What was read and has not been carried out yet.
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) reply: Reply,
    /// The peer violated the framing: nothing it sends from here on can be understood.
    pub(super) deaf: bool,
    /// The newest unanswered ping; older ones need no answer (RFC 6455, section 5.5.3).
    pong: Option<Bytes>,
    pub(super) vitals: Vitals,
    _permit: Permit,
}

/// Whether the task's own replies have left the process.
#[derive(PartialEq)]
pub(super) enum Reply {
    /// All have, or there was none.
    Sent,
    /// One is held back, to leave in one write with what is pulled next.
    GoesWithNext,
    /// One may be queued behind bytes that the socket has not taken.
    Unsent,
}

pub(super) enum Arrived {
    Message(Incoming),
    Ping(Bytes),
    Close(Option<u16>),
    Violation(Close),
}

enum Next {
    Arrived,
    Pump,
    End(Ending),
}

impl Task {
    pub(super) fn new(
        live: Arc<Live>,
        subscriber: Subscriber,
        protocol: &'static dyn Protocol,
        permit: Permit,
    ) -> Self {
        let limits = &live.snapshot().config.limits;
        Self {
            inbound: match protocol.binary_command() {
                Some(_) => Inbound::with_binary(limits.frame),
                None => Inbound::new(limits.frame),
            },
            vitals: Vitals::new(live.hub.clock()),
            live,
            peer: subscriber.peer().clone(),
            subscriber,
            protocol,
            principal: None,
            seat: None,
            generation: 0,
            may_authenticate: true,
            malformed: 0,
            arrived: VecDeque::new(),
            reply: Reply::Sent,
            deaf: false,
            pong: None,
            _permit: permit,
        }
    }

    /// Serves the connection to its end.
    pub async fn run(mut self: Box<Self>) {
        let ending = self.converse().await;
        // Boxed, like everything that runs once or rarely: otherwise every idle connection's future has room for it.
        Box::pin(self.end(ending)).await;
    }

    /// Says hello, and parses `head`: the bytes that followed the upgrade request.
    pub(super) fn begin(&mut self, caller: Result<Caller, Close>, head: &[u8]) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        let limits = &snapshot.config.limits;
        let hello = Notice::Hello {
            connection: self.peer.connection,
            frame: limits.frame,
            subscriptions: limits.subscriptions,
            commands: limits.commands,
            generation: snapshot.generation,
        };
        match caller? {
            Caller::Known(principal) => self.become_principal(principal)?,
            Caller::Registered(principal, seat) => {
                self.seat = Some(seat);
                self.become_principal(principal)?;
            }
            Caller::Unknown if snapshot.admits_anonymous() => {
                self.subscriber.identify(&snapshot.anonymous);
                self.principal = Some(snapshot.anonymous.clone());
            }
            Caller::Unknown => {
                let place = self.live.unauthenticated.enter(
                    limits.unauthenticated,
                    self.peer.address,
                    self.subscriber.connection(),
                );
                self.vitals.place = Some(Box::new(place.ok_or(Close::OverCapacity)?));
            }
        }
        let principal = Principal::name_of(self.principal.as_deref());
        debug!(connection = %self.peer.connection, peer = %self.peer.address, principal, protocol = self.protocol.name(), "a WebSocket has begun");
        self.tell(&hello)?;
        self.take_up()?;
        self.parse(&mut head.to_vec());
        Ok(())
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
                Next::Arrived => Ok(()),
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
            Arrived::Violation(close) => {
                self.deaf = true;
                Err(close.into())
            }
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
                return Poll::Ready(Next::Arrived);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Next::Arrived),
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

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = std::task::ready!(self.subscriber.connection().poll_read(cx, scratch));
            match read {
                Ok(0) => Poll::Ready(Err(Ending::Gone("the peer closed the connection without a close frame"))),
                Ok(n) => {
                    self.vitals.heard(self.live.hub.clock());
                    self.parse(&mut scratch[..n]);
                    Poll::Ready(Ok(()))
                }
                Err(error) => {
                    debug!(connection = %self.peer.connection, %error, "a socket could not be read");
                    Poll::Ready(Err(Dead.into()))
                }
            }
        })
    }

    /// Parses what was read. Whatever follows a close or a violation is ignored.
    fn parse(&mut self, mut bytes: &mut [u8]) {
        loop {
            let arrived = match self.inbound.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(Item::Text(text))) => Arrived::Message(Incoming::Text(text.into())),
                Ok(Some(Item::Ping(payload))) => Arrived::Ping(Bytes::copy_from_slice(&payload)),
                Ok(Some(Item::Pong(_))) => continue,
                Ok(Some(Item::Binary(bytes))) => Arrived::Message(Incoming::Binary(bytes.into())),
                Ok(Some(Item::Close(code))) => Arrived::Close(code),
                Err(close) => Arrived::Violation(close),
            };
            let last = matches!(arrived, Arrived::Close(_) | Arrived::Violation(_));
            self.arrived.push_back(arrived);
            if last {
                return;
            }
        }
    }

    /// Answers the newest ping, unless something is still unsent.
    pub(super) fn answer_ping(&mut self) -> Result<(), Ending> {
        if self.subscriber.connection().has_rest() {
            return Ok(());
        }
        match self.pong.take() {
            Some(payload) => self.send(frame::frame(Opcode::Pong, &payload)),
            None => Ok(()),
        }
    }

    /// Sends a notice now, or queues it behind what is unsent.
    pub(super) fn tell(&mut self, notice: &Notice) -> Result<(), Ending> {
        match self.protocol.notice(notice)? {
            Some(bytes) => self.send(bytes),
            None => Ok(()),
        }
    }

    pub(super) fn send(&mut self, bytes: Bytes) -> Result<(), Ending> {
        let written = self.subscriber.reply(&bytes);
        if matches!(written, Written::Part(_)) && self.reply == Reply::Sent {
            self.reply = Reply::Unsent;
        }
        if written == Written::Broken { Err(Dead.into()) } else { Ok(()) }
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
            return Some(Next::Arrived);
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
#[path = "task_tests.rs"]
mod tests;
