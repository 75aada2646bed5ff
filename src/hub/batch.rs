//! Encoded messages put together for one write, with the places where one may stop.

use bytes::{Bytes, BytesMut};

use crate::hub::entry::Cursor;

/// Whole frames in the order of the log.
pub struct Batch {
    bytes: Bytes,
    /// For each frame its end in `bytes` and the cursor behind it.
    ends: Vec<(usize, Cursor)>,
}

impl Batch {
    /// Puts frames together; a single one is not copied.
    pub fn new<'a>(frames: impl ExactSizeIterator<Item = (&'a Bytes, Cursor)> + Clone) -> Self {
        let mut ends = Vec::with_capacity(frames.len());
        let mut end = 0;
        for (frame, cursor) in frames.clone() {
            end += frame.len();
            ends.push((end, cursor));
        }
        let mut frames = frames.map(|(frame, _)| frame);
        let bytes = if ends.len() == 1 {
            frames.next().cloned().unwrap_or_default()
        } else {
            let mut joined = BytesMut::with_capacity(end);
            frames.for_each(|frame| joined.extend_from_slice(frame));
            joined.freeze()
        };
        Self { bytes, ends }
    }

    /// The bytes for the socket.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The first frame.
    pub fn first(&self) -> &[u8] {
        &self.bytes[..self.ends.first().map_or(0, |(end, _)| *end)]
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// After `written` bytes went out: what is left of the frame that was begun, how many frames are done or begun,
    /// and the cursor behind them; `None` when not even the first was begun.
    pub fn cut(&self, written: usize) -> Option<(&[u8], usize, Cursor)> {
        let last = self.ends.partition_point(|(end, _)| *end < written);
        if written == 0 {
            return None;
        }
        let (end, cursor) = self.ends[last];
        Some((&self.bytes[written..end], last + 1, cursor))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Batch;
    use crate::hub::entry::Cursor;

    #[test]
    fn a_batch_is_cut_at_the_frame_that_was_begun() {
        let frames = [Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
        let at = |seq| Cursor { seq, generation: 1 };
        let batch = Batch::new(frames.iter().zip([at(5), at(8)]));
        assert_eq!(batch.bytes(), &b"abcde"[..]);
        assert_eq!(batch.cut(0), None);
        assert_eq!(batch.cut(1), Some((&b"bc"[..], 1, at(5))));
        assert_eq!(batch.cut(3), Some((&b""[..], 1, at(5))));
        assert_eq!(batch.cut(4), Some((&b"e"[..], 2, at(8))));
        assert_eq!(batch.cut(5), Some((&b""[..], 2, at(8))));
    }
}
