//! Encoded messages joined for one write, with the places where it may be cut.

use bytes::{Bytes, BytesMut};

/// Whole frames in the order of the log.
pub struct Batch {
    bytes: Bytes,
    /// The end of each frame in `bytes`.
    ends: Vec<usize>,
}

impl Batch {
    /// Joins frames; a single one is not copied.
    pub fn new<'a>(mut frames: impl ExactSizeIterator<Item = &'a Bytes> + Clone) -> Self {
        let mut ends = Vec::with_capacity(frames.len());
        let mut end = 0;
        for frame in frames.clone() {
            end += frame.len();
            ends.push(end);
        }
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
        &self.bytes[..self.ends.first().copied().unwrap_or(0)]
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// After `written` bytes were sent: the rest of the frame that was begun, and how many frames are done or begun.
    ///
    /// `None` if not even the first was begun.
    pub fn cut(&self, written: usize) -> Option<(&[u8], usize)> {
        if written == 0 {
            return None;
        }
        let last = self.ends.partition_point(|end| *end < written);
        Some((&self.bytes[written..self.ends[last]], last + 1))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Batch;

    #[test]
    fn a_batch_is_cut_at_the_frame_that_was_begun() {
        let frames = [Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
        let batch = Batch::new(frames.iter());
        assert_eq!(batch.bytes(), &b"abcde"[..]);
        assert_eq!(batch.cut(0), None);
        assert_eq!(batch.cut(1), Some((&b"bc"[..], 1)));
        assert_eq!(batch.cut(3), Some((&b""[..], 1)));
        assert_eq!(batch.cut(4), Some((&b"e"[..], 2)));
        assert_eq!(batch.cut(5), Some((&b""[..], 2)));
    }
}
