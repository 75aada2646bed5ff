//! WebSocket frames (RFC 6455, section 5): reads a server's frames as they arrive in pieces, and writes those of both
//! sides.

/// Bytes kept from the start of each payload: enough for a whole ping, and for what precedes `data` in a message.
const KEPT: usize = 192;
/// The mask of a subscriber's frames. Any key will do, since there is no intermediary to protect.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Opcode of a text message.
pub const TEXT: u8 = 1;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// Reads a server's frames, keeping only the start of each payload.
pub struct Frames {
    header: [u8; 10],
    header_len: usize,
    /// Bytes of the payload that are still to come; `None` while the header is being read.
    left: Option<u64>,
    kept: [u8; KEPT],
    kept_len: usize,
}

/// A complete frame.
#[derive(Debug, PartialEq)]
pub struct Frame<'a> {
    /// The opcode.
    pub opcode: u8,
    /// The start of its payload.
    pub begins: &'a [u8],
}

impl Default for Frames {
    fn default() -> Self {
        Self { header: [0; 10], header_len: 0, left: None, kept: [0; KEPT], kept_len: 0 }
    }
}

impl Frames {
    /// Consumes bytes from the front until a frame is complete; `None` once all are consumed.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame<'_>> {
        loop {
            let left = match self.left {
                Some(left) => left,
                None => {
                    self.header[self.header_len] = *bytes.split_off_first()?;
                    self.header_len += 1;
                    let Some(length) = length(&self.header[..self.header_len]) else { continue };
                    self.kept_len = 0;
                    length
                }
            };
            let part = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let part = bytes.split_off(..part)?;
            let keep = part.len().min(KEPT - self.kept_len);
            self.kept[self.kept_len..self.kept_len + keep].copy_from_slice(&part[..keep]);
            self.kept_len += keep;
            let left = left - part.len() as u64;
            if left > 0 {
                self.left = Some(left);
                return None;
            }
            (self.left, self.header_len) = (None, 0);
            return Some(Frame { opcode: self.header[0] & 0x0f, begins: &self.kept[..self.kept_len] });
        }
    }
}

/// The payload length in a server's header, once the header is complete.
fn length(header: &[u8]) -> Option<u64> {
    match (*header.get(1)? & 0x7f, header.len()) {
        (126, 4) => Some(u16::from_be_bytes([header[2], header[3]]).into()),
        (127, 10) => header[2..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        (126 | 127, _) => None,
        (short, _) => Some(short.into()),
    }
}

/// Writes the first byte and the length of a frame. The caller appends the mask and the payload.
pub fn put_header(out: &mut Vec<u8>, opcode: u8, mask: bool, length: usize) {
    let mask = if mask { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(mask | short),
        (_, Ok(medium)) => {
            out.push(mask | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A frame as a subscriber sends it.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + payload.len());
    put_header(&mut out, opcode, true, payload.len());
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Reads a subscriber's frame off the front: its opcode, its unmasked payload, and its whole length in bytes; `None`
/// when it is incomplete.
pub fn unmask(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (length, used) = match *bytes.get(1)? & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let key: [u8; 4] = *bytes.get(used..)?.first_chunk()?;
    let payload = bytes.get(used + 4..)?.get(..length)?;
    let clear = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((bytes[0] & 0x0f, clear, used + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::{Frames, KEPT, PING, TEXT, masked, put_header, unmask};

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let mut wire = Vec::new();
        let lengths = [0, 1, 125, 126, 65_535, 65_536];
        for length in lengths {
            put_header(&mut wire, TEXT, false, length);
            wire.extend(std::iter::repeat_n(b'x', length));
            put_header(&mut wire, PING, false, 2);
            wire.extend_from_slice(b"hi");
        }
        for step in [1, 2, 3, 7, 1_000, wire.len()] {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for mut part in wire.chunks(step) {
                while let Some(frame) = frames.next(&mut part) {
                    seen.push((frame.opcode, frame.begins.len()));
                }
            }
            let expected: Vec<_> = lengths.iter().flat_map(|l| [(TEXT, *l.min(&KEPT)), (PING, 2)]).collect();
            assert_eq!(seen, expected, "{step}");
        }
    }

    #[test]
    fn what_a_subscriber_writes_the_floor_reads() {
        for length in [0, 5, 126, 70_000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let wire = masked(TEXT, &payload);
            assert_eq!(unmask(&wire), Some((TEXT, payload, wire.len())));
            assert_eq!(unmask(&wire[..wire.len() - 1]), None);
        }
    }
}
