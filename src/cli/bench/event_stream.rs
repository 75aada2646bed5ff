//! One subscriber over server-sent events.

use std::pin::pin;

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use memchr::memmem;

use crate::cli::bench::frame::Heard;
use crate::cli::bench::ledger::Member;
use crate::cli::bench::worker::Worker;
use crate::cli::requests::{Driver, open_stream, refusal};

/// The largest refusal, in bytes.
const MAX_REFUSAL: usize = 1 << 20;

/// Subscribes, and reads until the run or the stream ends.
///
/// # Errors
/// It could not subscribe.
pub(super) async fn read(worker: &Worker, member: Member, number: usize) -> Result<(), String> {
    let (mut body, mut driver) = worker.connect(open(worker, number)).await?;
    let mut over = pin!(worker.over.notified());
    worker.subscribed();
    let mut rest = Vec::new();
    loop {
        let frame = pin!(body.frame());
        let frame = tokio::select! {
            biased;
            frame = driver.drive(frame) => frame,
            () = &mut over => return Ok(()),
        };
        let bytes = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => {
                worker.closed(member, 0, error.to_string());
                return Ok(());
            }
            None => {
                worker.closed(member, 0, "the stream ended".to_owned());
                return Ok(());
            }
        };
        rest.extend_from_slice(&bytes);
        let mut from = 0;
        while let Some(length) = memmem::find(&rest[from..], b"\n\n") {
            let block = &rest[from..from + length];
            from += length + 2;
            match heard(block) {
                Heard::Message(seq) => worker.arrived(member, seq, length + 2),
                Heard::Gap(to) => worker.gap(member, to),
                Heard::End(code, reason) => {
                    worker.closed(member, code, reason);
                    return Ok(());
                }
                Heard::Subscribed | Heard::Other => {}
            }
        }
        rest.drain(..from);
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

async fn open(worker: &Worker, number: usize) -> Result<(Incoming, Driver), String> {
    let path = format!("/events?topic={}", worker.topic(number).as_str());
    let (response, mut driver) = open_stream(&worker.run.target, number, &path).await?;
    let (head, body) = response.into_parts();
    if head.status == StatusCode::OK {
        return Ok((body, driver));
    }
    let refused = pin!(Limited::new(body, MAX_REFUSAL).collect());
    let refused = driver.drive(refused).await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(refusal(head.status, &refused))
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
