//! What a subscriber can ask of its connection. How a command is written is up to the protocol.

use std::fmt;

use secrecy::SecretString;

use crate::name::{Pattern, TopicName};
use crate::notice::{After, CommandId};
use crate::problem::Refusal;

/// One command, with the id that its answer repeats.
#[derive(Debug)]
pub struct Command {
    /// Chosen by the sender: a JSON string or number.
    pub id: Option<CommandId>,
    /// What is asked.
    pub kind: CommandKind,
}

/// What a command asks.
pub enum CommandKind {
    /// Authenticate; only as the first message.
    Auth(SecretString),
    /// Subscribe to all of these or to none.
    Subscribe(Vec<(Pattern, After)>),
    /// End these subscriptions.
    Unsubscribe(Vec<Pattern>),
    /// Replace the subscription list by this one, live.
    Replace(Vec<Pattern>),
    /// Publish one message; the body is JSON text as it was written.
    Publish {
        /// The concrete topic to publish to.
        topic: TopicName,
        /// The payload, still to be validated.
        body: Box<str>,
        /// The byte offset of the payload in the command, to which faults in it are added.
        at: usize,
        /// The JSON Pointer of the payload in the command, which precedes pointers to faults in it; empty if a command of
        /// this protocol is no JSON.
        pointer: &'static str,
    },
    /// Answered by a `pong` notice.
    Ping,
    /// The bare text `ping`, answered by the bare text `pong`.
    PingText,
}

/// Shows no payload: it may hold anything.
impl fmt::Debug for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(_) => f.write_str("Auth"),
            Self::Subscribe(topics) => f.debug_tuple("Subscribe").field(topics).finish(),
            Self::Unsubscribe(topics) => f.debug_tuple("Unsubscribe").field(topics).finish(),
            Self::Replace(topics) => f.debug_tuple("Replace").field(topics).finish(),
            Self::Publish { topic, body, .. } => write!(f, "Publish({topic:?}, {} bytes)", body.len()),
            Self::Ping => f.write_str("Ping"),
            Self::PingText => f.write_str("PingText"),
        }
    }
}

/// A message that cannot be carried out; its sender is told why.
#[derive(Debug)]
pub struct BadCommand {
    /// The command's id, where it could be read.
    pub id: Option<CommandId>,
    /// What is wrong with it.
    pub refusal: Box<Refusal>,
    /// It is not a command at all, rather than one with unusable content: the tenth of these closes the connection.
    pub malformed: bool,
}
