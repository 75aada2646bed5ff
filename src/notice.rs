//! What a server tells a subscriber besides messages. How a notice is written is up to the protocol.

use std::str::FromStr;

use crate::message::{BadPosition, Position, Seq};
use crate::name::Pattern;
use crate::problem::Refusal;

/// The id that a command carries and its answer repeats.
pub type CommandId = serde_json::Value;

/// One notice for one subscriber.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The first thing on a connection.
    Hello {
        /// This connection's id, for logs.
        connection: uuid::Uuid,
        /// Largest inbound message, in bytes.
        frame: usize,
        /// Most subscriptions on one connection.
        subscriptions: usize,
        /// Most commands in one second.
        commands: u32,
        /// Generation of the configuration.
        generation: u64,
    },
    /// A command was carried out.
    Ok {
        /// The command's id.
        id: Option<CommandId>,
        /// For a publish: the id of the message.
        message: Option<Position>,
    },
    /// A command was refused; the connection stays.
    Error {
        /// The command's id, where it could be read.
        id: Option<CommandId>,
        /// Why.
        refusal: Refusal,
    },
    /// Everything up to the position has been sent; what follows is live.
    Synced {
        /// The subscribe command's id.
        id: Option<CommandId>,
        /// The position up to which everything was sent.
        position: Position,
    },
    /// Messages of these topics after `from` up to `to` may have been missed.
    Gap {
        /// The topic, or the subscribed pattern when the topic is gone.
        topics: Pattern,
        /// Exclusive.
        from: Position,
        /// Inclusive.
        to: Position,
        /// Why.
        reason: GapReason,
    },
    /// The topic's schema has changed; what follows matches the new one.
    TopicChanged {
        /// As declared; or as subscribed, if that is a single topic or there are too many changed names to tell one by
        /// one.
        topics: Pattern,
        /// The configuration that changed it.
        generation: u64,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// As subscribed.
        topics: Pattern,
        /// Why.
        reason: UnsubscribedReason,
        /// The position up to which everything was sent.
        position: Position,
    },
    /// Go and reconnect later.
    Goaway {
        /// Why.
        reason: GoawayReason,
        /// How long to wait, in milliseconds.
        reconnect_after_ms: u64,
    },
    /// Answer to a `ping` command.
    Pong {
        /// The command's id.
        id: Option<CommandId>,
    },
    /// Answer to the text `ping`.
    PongText,
}

/// Why messages may have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The topic no longer retained them when they were asked for.
    Retention,
    /// The subscriber was too slow: they were evicted before it had read them.
    Lag,
    /// The position belongs to another log.
    Epoch,
}

impl GapReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Lag => "lag",
            Self::Epoch => "epoch",
        }
    }
}

/// Why a subscription ended without being asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsubscribedReason {
    /// The grant is gone.
    Forbidden,
    /// The topic is gone.
    TopicRemoved,
}

impl UnsubscribedReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::TopicRemoved => "topic_removed",
        }
    }
}

/// Why a subscriber is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoawayReason {
    /// The server is shutting down.
    Draining,
    /// The server is at a limit.
    Overloaded,
}

impl GoawayReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
        }
    }
}

/// A place to resume from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// From now on.
    Live,
    /// From the oldest that is retained.
    Earliest,
    /// After this position.
    Position(Position),
    /// After a text that is not a position; told as a gap with reason `epoch`.
    Foreign,
}

/// What a subscriber may write: a position, or `earliest`.
impl FromStr for After {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        if text == "earliest" { Ok(Self::Earliest) } else { text.parse().map(Self::Position) }
    }
}

impl After {
    /// The seq to start after; `None` if the position is not one of this log.
    pub fn seq_in(self, epoch: crate::message::Epoch, head: Seq) -> Option<Seq> {
        match self {
            Self::Live => Some(head),
            Self::Earliest => Some(0),
            Self::Position(p) if p.epoch == epoch && p.seq <= head => Some(p.seq),
            Self::Position(_) | Self::Foreign => None,
        }
    }
}
