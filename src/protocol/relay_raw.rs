//! `relay.raw`: a server message is a bare payload and nothing else, for readers that know one topic's JSON and no
//! protocol. Commands are those of `relay.v1`.
//!
//! A reader would take anything else for a payload. So this protocol stays silent where nothing is lost (`hello`, `ok`,
//! `synced`, `topic_changed`, and `goaway`, which precedes a close with the same meaning). It closes the connection
//! where silence would hide a loss: a gap, the end of a subscription, a refused command, each with the code that says
//! whether to reconnect. The one exception is the text `pong`, which is not JSON and is only sent on request.

use bytes::Bytes;

use crate::close::Close;
use crate::command::{BadCommand, Command};
use crate::frame::{self, Opcode};
use crate::message::{Epoch, Record};
use crate::notice::{GapReason, Notice};
use crate::plugin::{Encoder, Protocol};
use crate::protocol::command;

/// The protocol; it has no state.
pub struct RelayRaw;

impl Encoder for RelayRaw {
    fn slot(&self) -> usize {
        1
    }

    fn message(&self, _: Epoch, record: &Record) -> Bytes {
        frame::frame(Opcode::Text, record.payload.as_bytes())
    }

    fn notice(&self, notice: &Notice) -> Result<Option<Bytes>, Close> {
        match notice {
            Notice::Gap { reason: GapReason::Lag, .. } => Err(Close::Lagging),
            // A reader that came back with the same position would be closed for it again.
            Notice::Gap { reason: GapReason::Epoch | GapReason::Retention, .. } => Err(Close::Malformed),
            Notice::Unsubscribed { .. } => Err(Close::Forbidden),
            Notice::Error { refusal, .. } => Err(refusal.into()),
            Notice::Pong { .. } | Notice::PongText => Ok(Some(frame::frame(Opcode::Text, b"pong"))),
            Notice::Hello { .. }
            | Notice::Ok { .. }
            | Notice::Synced { .. }
            | Notice::TopicChanged { .. }
            | Notice::Goaway { .. } => Ok(None),
        }
    }
}

impl Protocol for RelayRaw {
    fn name(&self) -> &'static str {
        "relay.raw"
    }

    fn command(&self, text: &str) -> Result<Command, BadCommand> {
        command::parse(text)
    }
}
