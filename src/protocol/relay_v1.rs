//! `relay.v1`: one JSON object in each text message, both ways. It tells every notice.

use bytes::Bytes;

use crate::close::Close;
use crate::command::{BadCommand, Command};
use crate::frame::{self, Opcode};
use crate::message::{Epoch, Record};
use crate::notice::Notice;
use crate::plugin::{Encoder, Protocol};
use crate::protocol::{command, written};

/// The protocol; it has no state.
pub struct RelayV1;

impl Encoder for RelayV1 {
    fn slot(&self) -> usize {
        0
    }

    fn message(&self, epoch: Epoch, record: &Record) -> Bytes {
        let len = written::message_len(record);
        let mut out = Vec::with_capacity(frame::header_len(len) + len);
        frame::put_header(&mut out, Opcode::Text, len);
        written::put_message(&mut out, epoch, record);
        out.into()
    }

    fn notice(&self, notice: &Notice) -> Result<Option<Bytes>, Close> {
        Ok(Some(frame::frame(Opcode::Text, &written::notice(notice))))
    }
}

impl Protocol for RelayV1 {
    fn name(&self) -> &'static str {
        "relay.v1"
    }

    fn command(&self, text: &str) -> Result<Command, BadCommand> {
        command::parse(text)
    }
}
