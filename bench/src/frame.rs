//! WebSocket frames (RFC 6455, section 5): a server's read as they come in pieces, both sides' written.

/// Bytes kept of the beginning of each frame: enough for a whole ping, and for what precedes a payload in a message.
const KEPT: usize = 192;
/// Those of a frame from the subscriber: any key will do where nobody eavesdrops.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A text message.
pub const TEXT: u8 = 1;
/// The end.
pub const CLOSE: u8 = 8;
/// A question for a sign of life.
pub const PING: u8 = 9;
/// Its answer.
pub const PONG: u8 = 10;

/// Reads a server's frames, of which it keeps the beginning.
pub struct Frames {
    header: [u8; 10],
    header_len: usize,
    /// Bytes of payload that have not come; `None` in a header.
    left: Option<u64>,
    kept: [u8; KEPT],
    kept_len: usize,
}

/// A frame that is complete.
#[derive(Debug, PartialEq)]
pub struct Frame<'a> {
    /// What it is.
    pub opcode: u8,
    /// The beginning of its payload.
    pub begins: &'a [u8],
}

impl Default for Frames {
    fn default() -> Self {
        Self { header: [0; 10], header_len: 0, left: None, kept: [0; KEPT], kept_len: 0 }
    }
}

impl Frames {
    /// Takes bytes off the front until a frame is complete; `None` when all are taken.
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

/// The length that a server's header says, once it is complete.
fn length(header: &[u8]) -> Option<u64> {
    match (*header.get(1)? & 0x7f, header.len()) {
        (126, 4) => Some(u16::from_be_bytes([header[2], header[3]]).into()),
        (127, 10) => header[2..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        (126 | 127, _) => None,
        (short, _) => Some(short.into()),
    }
}

/// Writes a frame's first byte and its length, for a payload that must follow.
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

/// A subscriber's frame.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + payload.len());
    put_header(&mut out, opcode, true, payload.len());
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Reads a subscriber's frame off the front: its opcode, its payload in the clear, and how long all of it is; `None`
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
