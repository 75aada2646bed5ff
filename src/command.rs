//! What a subscriber can ask of its connection. How it is written is a protocol's business.

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
#[derive(Debug)]
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
        /// Where to.
        topic: TopicName,
        /// The payload, still to be validated.
        body: Box<str>,
    },
    /// Answered by a `pong` notice.
    Ping,
    /// The bare text `ping`, answered by the bare text `pong`.
    PingText,
}

/// A message that is no command; its sender is told, and closed at the tenth.
#[derive(Debug)]
pub struct BadCommand {
    /// The command's id, where it could be read.
    pub id: Option<CommandId>,
    /// What is wrong with it.
    pub refusal: Box<Refusal>,
}
