//! WebSocket framing (RFC 6455, section 5): bytes in, bytes out, no sockets.
//!
//! It lies at the bottom because two sides need it that must not name each other: a protocol writes a message together
//! with its header, once for all subscribers, and a connection reads and answers what its peer sends. A server's frames
//! are not masked, so their bytes are the same for everybody. It does not know what a message means.

pub mod inbound;
mod mask;

use bytes::Bytes;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;

/// The longest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;

/// The kind of a frame (RFC 6455, section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names of the standard")]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == bits)
    }

    fn is_control(self) -> bool {
        self as u8 & 0x08 != 0
    }
}

/// Bytes of the header of a server's frame with a payload of this length.
pub fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Writes the header of an unfragmented server frame; the payload must follow.
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, payload: usize) {
    out.push(FIN | opcode as u8);
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// An unfragmented server frame. The payload of a control frame has at most [`MAX_CONTROL`] bytes.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(header_len(payload.len()) + payload.len());
    put_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// A close frame.
///
/// Without a code its payload is empty, which is how a close without one is answered (RFC 6455, section 5.5.1). A
/// reason over 123 bytes is cut at a character boundary.
pub fn close(code: Option<u16>, reason: &str) -> Bytes {
    let Some(code) = code else { return frame(Opcode::Close, &[]) };
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    frame(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::{Opcode, close, frame, header_len};

    #[test]
    fn the_three_lengths_of_a_header() {
        for (len, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let whole = frame(Opcode::Text, &vec![b'x'; len]);
            assert_eq!(header_len(len), header.len(), "{len}");
            assert_eq!(&whole[..header.len()], header, "{len}");
            assert_eq!(whole.len(), header.len() + len);
        }
    }

    #[test]
    fn a_close_frame_fits_a_control_frame() {
        assert_eq!(&close(None, "unsaid")[..], [0x88, 0]);
        assert_eq!(&close(Some(4101), "slow")[..], [0x88, 6, 0x10, 0x05, b's', b'l', b'o', b'w']);
        // 123 bytes would end in the middle of an é.
        assert_eq!(close(Some(1000), &"é".repeat(80))[..2], [0x88, 124]);
    }
}
