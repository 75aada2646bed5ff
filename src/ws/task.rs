//! One connection: what its task knows, what it hears from the peer, and what it tells the peer.
//!
//! It reads into a buffer that all connections of a thread share, so that an idle connection holds none.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tracing::debug;

use crate::close::Close;
use crate::connections::Permit;
use crate::frame::inbound::{Inbound, Item};
use crate::frame::{self, Opcode};
use crate::hub::connection::{Dead, Written};
use crate::hub::subscriber::Subscriber;
use crate::live::Live;
use crate::notice::Notice;
use crate::plugin::Protocol;
use crate::principal::Principal;
use crate::registrations::Seat;
use crate::unauthenticated::Place;
use crate::ws::ending::Ending;
use crate::ws::vitals::Vitals;

/// Bytes read at a time: bounds how much is parsed before it is carried out.
const READ: usize = 8 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
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
    inbound: Inbound,
    /// What was read and has not been carried out yet.
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) reply: Reply,
    /// The newest unanswered ping; older ones need no answer (RFC 6455, section 5.5.3).
    pub(super) pong: Option<Bytes>,
    pub(super) vitals: Vitals,
    /// Its place among the unauthenticated connections. Boxed: few have one, and none for long.
    pub(super) place: Option<Box<Place>>,
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

/// A complete message from the peer.
pub(super) enum Incoming {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl Incoming {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// What was read from the peer and calls for something.
pub(super) enum Arrived {
    Message(Incoming),
    Ping(Bytes),
    Close(Option<u16>),
    Violation(Close),
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
            subscriber,
            protocol,
            principal: None,
            seat: None,
            generation: 0,
            may_authenticate: true,
            malformed: 0,
            arrived: VecDeque::new(),
            reply: Reply::Sent,
            pong: None,
            place: None,
            _permit: permit,
        }
    }

    /// Reads and parses what has arrived.
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
                    debug!(connection = %self.subscriber.peer().connection, %error, "a socket could not be read");
                    Poll::Ready(Err(Dead.into()))
                }
            }
        })
    }

    /// Parses what was read. Whatever follows a close or a violation is ignored.
    pub(super) fn parse(&mut self, mut bytes: &mut [u8]) {
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
}
