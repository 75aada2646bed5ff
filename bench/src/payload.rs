//! What the loads publish: JSON of a given size that `bench/bench.json` accepts, with the moment at which it was made.

use std::io::Write;
use std::time::{Duration, Instant};

use memchr::memmem;

/// Added to every number, so that all have the same count of digits and none starts with a zero.
const T0: u64 = 1_000_000_000_000_000_000;
const N0: u64 = 10_000_000;
/// Bytes of a payload without padding.
const LEAST: usize = 45;

/// Makes payloads, and computes the age of one from its beginning.
pub struct Payloads {
    began: Instant,
    made: u64,
    padding: Vec<u8>,
}

impl Payloads {
    /// Makes payloads of `size` bytes, 45 at least.
    pub fn new(size: usize) -> Self {
        Self { began: Instant::now(), made: 0, padding: vec![b'x'; size.saturating_sub(LEAST)] }
    }

    /// Bytes of each payload.
    pub fn size(&self) -> usize {
        LEAST + self.padding.len()
    }

    /// Appends the next payload to `out`.
    pub fn put(&mut self, out: &mut Vec<u8>) {
        self.made += 1;
        let now = T0 + self.now();
        write!(out, "{{\"t\":{now},\"n\":{},\"d\":\"", N0 + self.made).expect("a Vec takes everything");
        out.extend_from_slice(&self.padding);
        out.extend_from_slice(b"\"}");
    }

    /// How long ago the payload in these bytes was made; its beginning is enough.
    pub fn age(&self, bytes: &[u8]) -> Option<Duration> {
        const KEY: &[u8] = b"\"t\":";
        let at = memmem::find(bytes, KEY)? + KEY.len();
        let digits = str::from_utf8(bytes.get(at..at + 19)?).ok()?;
        let then = digits.parse::<u64>().ok()?.checked_sub(T0)?;
        Some(Duration::from_nanos(self.now().saturating_sub(then)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Payloads;

    #[test]
    fn a_payload_has_its_size_and_tells_its_age() {
        for size in [45, 100, 16 << 10] {
            let mut payloads = Payloads::new(size);
            let mut out = Vec::new();
            payloads.put(&mut out);
            assert_eq!(out.len(), size);
            assert_eq!(payloads.size(), size);
            assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            assert!(payloads.age(&[b"{\"type\":\"message\",\"data\":", &out[..]].concat()).is_some());
        }
    }
}
