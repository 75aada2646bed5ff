//! Reading a peer's frames (RFC 6455, section 5), strictly and without a buffer of its own.
//!
//! The bytes come from a buffer that many connections share. A frame that arrives whole, as nearly all do, is unmasked
//! in place and lent to the caller; only an incomplete one at the end of the bytes is kept, in a box that is freed once
//! it is complete. So an idle connection holds nothing, and a peer that declares much and sends little costs only what
//! it sent: memory grows with the bytes received, never with a declared length. Every violation is refused at the first
//! byte that shows it: a length over the limit at the header, text at the first byte that cannot be UTF-8.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::str;

use crate::close::Close;
use crate::frame::mask::{rotated, unmask};
use crate::frame::{FIN, MASK, MAX_CONTROL, OPCODE, Opcode, RSV};

/// Two bytes, up to eight of length, four of masking key.
const MAX_HEADER: usize = 14;

/// A complete message or control frame from the peer.
#[derive(PartialEq, Eq)]
pub enum Item<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message; only if the connection accepts them.
    Binary(Cow<'a, [u8]>),
    /// To be answered by a pong with the same payload, at most [`MAX_CONTROL`] bytes.
    Ping(Cow<'a, [u8]>),
    /// An answer to a ping, or an unsolicited sign of life.
    Pong(Cow<'a, [u8]>),
    /// The peer closes, with a code that may appear on the wire and is to be echoed. Whatever follows is ignored.
    Close(Option<u16>),
}

/// Shows lengths only: a text may hold a secret.
impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Ping(bytes) => write!(f, "Ping({} bytes)", bytes.len()),
            Self::Pong(bytes) => write!(f, "Pong({} bytes)", bytes.len()),
            Self::Close(code) => write!(f, "Close({code:?})"),
        }
    }
}

/// The reading half of one connection.
#[derive(Debug)]
pub struct Inbound {
    rules: Rules,
    unfinished: Option<Box<Unfinished>>,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    limit: usize,
    binary: bool,
}

impl Inbound {
    /// Creates a reader for text messages of at most `limit` bytes, all fragments together.
    pub fn new(limit: usize) -> Self {
        Self { rules: Rules { limit, binary: false }, unfinished: None }
    }

    /// As [`Inbound::new`], for binary messages too.
    pub fn with_binary(limit: usize) -> Self {
        Self { rules: Rules { limit, binary: true }, unfinished: None }
    }

    /// Takes the next item off the front of the bytes, which are unmasked in place.
    ///
    /// `None` once all bytes are consumed and more are needed; call it until then. After an error or a close, feed
    /// nothing more.
    ///
    /// # Errors
    /// The code to close with (RFC 6455, section 7.4.1): 1002, 1003, 1007 or 1009.
    pub fn next<'a>(&mut self, bytes: &mut &'a mut [u8]) -> Result<Option<Item<'a>>, Close> {
        if let Some(unfinished) = &mut self.unfinished {
            let item = unfinished.next(self.rules, bytes)?;
            if unfinished.is_idle() {
                self.unfinished = None;
            }
            return Ok(item);
        }
        let mut unfinished = Unfinished::default();
        let item = unfinished.next(self.rules, bytes)?;
        if !unfinished.is_idle() {
            self.unfinished = Some(Box::new(unfinished));
        }
        Ok(item)
    }

    /// Bytes of memory held for an incomplete item; 0 when idle.
    pub fn held(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |unfinished| {
            let message = unfinished.message.as_ref().map_or(0, |message| message.bytes.capacity());
            size_of::<Unfinished>() + message + unfinished.control.capacity()
        })
    }
}

/// The received part of an incomplete item.
#[derive(Default)]
struct Unfinished {
    head: [u8; MAX_HEADER],
    head_len: usize,
    /// A frame whose header was read and whose payload is incomplete.
    frame: Option<Frame>,
    /// A message of which only a part has arrived; control frames may come between its fragments.
    message: Option<Message>,
    /// The payload of a control frame, as far as it has arrived.
    control: Vec<u8>,
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unfinished")
    }
}

impl Unfinished {
    fn is_idle(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    fn next<'a>(&mut self, rules: Rules, bytes: &mut &'a mut [u8]) -> Result<Option<Item<'a>>, Close> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => Some(frame),
                None => self.header(rules, bytes)?,
            };
            let Some(mut frame) = frame else { return Ok(None) };
            let part = take(bytes, frame.remaining);
            frame.unmask(part);
            let item = if frame.opcode.is_control() { self.control(frame, part) } else { self.data(frame, part) }?;
            if item.is_some() {
                return Ok(item);
            }
            if frame.remaining > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
        }
    }

    /// Reads the next frame's header if it is complete; otherwise keeps what there is of it.
    fn header(&mut self, rules: Rules, bytes: &mut &mut [u8]) -> Result<Option<Frame>, Close> {
        while !bytes.is_empty() {
            let (header, used) = if self.head_len == 0
                && let Some(header) = Header::parse(bytes)?
            {
                header
            } else {
                self.head[self.head_len] = take(bytes, 1)[0];
                self.head_len += 1;
                let Some((header, _)) = Header::parse(&self.head[..self.head_len])? else { continue };
                (header, 0)
            };
            take(bytes, used);
            self.head_len = 0;
            return self.admit(rules, header).map(Some);
        }
        Ok(None)
    }

    /// Checks that a frame may come now and is not too long (RFC 6455, section 5.4).
    fn admit(&self, rules: Rules, Header { opcode, fin, length, key }: Header) -> Result<Frame, Close> {
        match (opcode, &self.message) {
            (Opcode::Text | Opcode::Binary, Some(_)) | (Opcode::Continuation, None) => {
                return Err(Close::ProtocolError);
            }
            (Opcode::Binary, None) if !rules.binary => return Err(Close::UnsupportedData),
            _ => {}
        }
        let remaining = usize::try_from(length).map_err(|_| Close::TooBig)?;
        let held = self.message.as_ref().map_or(0, |message| message.bytes.len());
        if !opcode.is_control() && remaining > rules.limit.saturating_sub(held) {
            return Err(Close::TooBig);
        }
        Ok(Frame { opcode, fin, key, remaining })
    }

    fn control<'a>(&mut self, frame: Frame, part: &'a [u8]) -> Result<Option<Item<'a>>, Close> {
        let payload = if frame.remaining == 0 && self.control.is_empty() {
            Cow::Borrowed(part)
        } else {
            self.control.extend_from_slice(part);
            if frame.remaining > 0 {
                return Ok(None);
            }
            Cow::Owned(mem::take(&mut self.control))
        };
        match frame.opcode {
            Opcode::Ping => Ok(Some(Item::Ping(payload))),
            Opcode::Pong => Ok(Some(Item::Pong(payload))),
            _ => close(&payload).map(Some),
        }
    }

    fn data<'a>(&mut self, frame: Frame, part: &'a [u8]) -> Result<Option<Item<'a>>, Close> {
        let ends = frame.fin && frame.remaining == 0;
        if ends && self.message.is_none() {
            return if frame.opcode == Opcode::Text {
                let text = str::from_utf8(part).map_err(|_| Close::InvalidText)?;
                Ok(Some(Item::Text(text.into())))
            } else {
                Ok(Some(Item::Binary(part.into())))
            };
        }
        let message = self.message.get_or_insert_with(|| Message::new(frame.opcode));
        message.push(part)?;
        match self.message.take_if(|_| ends) {
            Some(message) => message.finish().map(Some),
            None => Ok(None),
        }
    }
}

/// A frame whose header was read.
#[derive(Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// The masking key, rotated for the next byte.
    key: [u8; 4],
    /// Bytes of payload still to come.
    remaining: usize,
}

impl Frame {
    fn unmask(&mut self, part: &mut [u8]) {
        unmask(part, self.key);
        self.key = rotated(self.key, part.len());
        self.remaining -= part.len();
    }
}

/// A header as on the wire; nothing is allocated for the length it declares.
struct Header {
    opcode: Opcode,
    fin: bool,
    length: u64,
    key: [u8; 4],
}

impl Header {
    /// Parses a header at the front, and returns it with its length; `None` if it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Close> {
        let Some(first) = bytes.first() else { return Ok(None) };
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Close::ProtocolError)?;
        let fin = first & FIN != 0;
        if first & RSV != 0 || (opcode.is_control() && !fin) {
            return Err(Close::ProtocolError);
        }
        let Some(second) = bytes.get(1) else { return Ok(None) };
        let short = second & !MASK;
        if second & MASK == 0 || (opcode.is_control() && usize::from(short) > MAX_CONTROL) {
            return Err(Close::ProtocolError);
        }
        let rest = &bytes[2..];
        let (length, used, least) = match short {
            126 => (rest.first_chunk().map(|b| u16::from_be_bytes(*b).into()), 2, 126),
            127 => (rest.first_chunk().map(|b| u64::from_be_bytes(*b)), 8, 0x1_0000),
            _ => (Some(u64::from(short)), 0, 0),
        };
        let Some(length) = length else { return Ok(None) };
        // The shortest form must be used, and the highest bit must be 0.
        if length < least || length >> 63 != 0 {
            return Err(Close::ProtocolError);
        }
        let Some(key) = rest[used..].first_chunk() else { return Ok(None) };
        Ok(Some((Self { opcode, fin, length, key: *key }, 2 + used + key.len())))
    }
}

/// A message of which only a part has arrived.
struct Message {
    text: bool,
    bytes: Vec<u8>,
    /// Number of leading bytes that are whole characters; at most three bytes after them begin another.
    valid: usize,
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        Self { text: opcode == Opcode::Text, bytes: Vec::new(), valid: 0 }
    }

    fn push(&mut self, part: &[u8]) -> Result<(), Close> {
        self.bytes.extend_from_slice(part);
        if self.text {
            match str::from_utf8(&self.bytes[self.valid..]) {
                Ok(_) => self.valid = self.bytes.len(),
                Err(e) if e.error_len().is_none() => self.valid += e.valid_up_to(),
                Err(_) => return Err(Close::InvalidText),
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Item<'static>, Close> {
        if self.text {
            let text = String::from_utf8(self.bytes).map_err(|_| Close::InvalidText)?;
            Ok(Item::Text(text.into()))
        } else {
            Ok(Item::Binary(self.bytes.into()))
        }
    }
}

/// Reads the payload of a close frame (RFC 6455, sections 5.5.1 and 7.4).
fn close<'a>(payload: &[u8]) -> Result<Item<'a>, Close> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(Item::Close(None)) } else { Err(Close::ProtocolError) };
    };
    let code = u16::from_be_bytes(*code);
    // 1004 to 1006 and 1015 never appear on the wire; 1012 to 1014 were registered after the standard.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Close::ProtocolError);
    }
    str::from_utf8(reason).map_err(|_| Close::InvalidText)?;
    Ok(Item::Close(Some(code)))
}

/// Splits off the first `n` bytes, or all if there are fewer.
fn take<'a>(bytes: &mut &'a mut [u8], n: usize) -> &'a mut [u8] {
    let all = mem::take(bytes);
    let (front, rest) = all.split_at_mut(n.min(all.len()));
    *bytes = rest;
    front
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
