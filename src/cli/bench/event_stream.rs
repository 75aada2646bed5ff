//! One subscriber over server-sent events.

use std::pin::pin;

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use memchr::memmem;

use crate::cli::bench::frame::Heard;
use crate::cli::requests::{Driver, open_stream, refusal};
use crate::cli::target::Target;
use crate::name::TopicName;

/// The largest refusal, in bytes.
const MAX_REFUSAL: usize = 1 << 20;
/// Ends an event.
const END: &[u8] = b"\n\n";

/// A stream of one topic.
pub(super) struct Stream {
    body: Incoming,
    driver: Driver,
    /// What has arrived.
    bytes: Vec<u8>,
    /// How much of it has been read.
    read: usize,
}

impl Stream {
    /// Connects the subscriber with this number, and subscribes to a topic.
    ///
    /// # Errors
    /// It could not.
    pub(super) async fn open(target: &Target, topic: &TopicName, number: usize) -> Result<Self, String> {
        let path = format!("/events?topic={topic}");
        let (response, mut driver) = open_stream(target, number, &path).await?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK {
            return Ok(Self { body, driver, bytes: Vec::new(), read: 0 });
        }
        let refused = pin!(Limited::new(body, MAX_REFUSAL).collect());
        let refused = driver.drive(refused).await.map(|body| body.to_bytes()).unwrap_or_default();
        Err(refusal(head.status, &refused))
    }

    /// What comes next, and its size in bytes.
    pub(super) async fn next(&mut self) -> (Heard, usize) {
        loop {
            let unread = &self.bytes[self.read..];
            if let Some(len) = memmem::find(unread, END) {
                let heard = heard(&unread[..len]);
                self.read += len + END.len();
                return (heard, len + END.len());
            }
            self.bytes.drain(..std::mem::take(&mut self.read));
            let frame = pin!(self.body.frame());
            match self.driver.drive(frame).await {
                Some(Ok(frame)) => self.bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return (Heard::End(0, error.to_string()), 0),
                None => return (Heard::End(0, "the stream ended".to_owned()), 0),
            }
        }
    }
}

/// Reads one event.
fn heard(block: &[u8]) -> Heard {
    let data = if block.starts_with(b"data: ") { Some(0) } else { memmem::find(block, b"\ndata: ").map(|at| at + 1) };
    data.map_or(Heard::Other, |at| {
        let line = &block[at + "data: ".len()..];
        Heard::read(&line[..memchr::memchr(b'\n', line).unwrap_or(line.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::heard;
    use crate::cli::bench::frame::Heard;

    #[test]
    fn events_are_told_apart() {
        let message =
            "id: 9f3c21aa-8\ndata: {\"type\":\"message\",\"topic\":\"a\",\"id\":\"9f3c21aa-8\",\"time\":\"\"}";
        let close = "retry: 1\nevent: close\ndata: {\"type\":\"close\",\"code\":4010,\"reason\":\"gone\"}";
        for (block, expected) in [
            (message, Heard::Message(8)),
            (close, Heard::End(4010, "gone".into())),
            ("retry: 100", Heard::Other),
            (":", Heard::Other),
        ] {
            assert_eq!(heard(block.as_bytes()), expected, "{block}");
        }
    }
}
