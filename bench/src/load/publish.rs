//! Publishers without subscribers, each in a closed loop: requests a second.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::Target;
use crate::payload::Payloads;
use crate::publisher::Publisher;
use crate::readiness::Readiness;

/// Publishes over `connections` keep-alive connections; each sends its next request as soon as the last is answered.
///
/// # Errors
/// A connection failed, or an answer was not 200.
pub fn publish(target: Target, connections: usize, size: usize, requests: u64, warmup: u64) -> io::Result<Value> {
    let mut payloads = Payloads::new(size);
    let mut readiness = Readiness::new()?;
    let mut publishers = Vec::with_capacity(connections);
    for number in 0..connections {
        let publisher = Publisher::connect(target.address)?;
        readiness.watch(&publisher, number as u64)?;
        publishers.push(publisher);
    }
    let mut run = |requests: u64| {
        let (mut begun, mut answered) = (0, 0);
        for publisher in publishers.iter_mut().take(usize::try_from(requests).unwrap_or(usize::MAX)) {
            publisher.publish("bench", &mut payloads)?;
            begun += 1;
        }
        let mut last = Instant::now();
        while answered < requests {
            for number in readiness.ready(Some(Duration::ZERO))? {
                let publisher = &mut publishers[number as usize];
                if publisher.advance()? {
                    answered += 1;
                    last = Instant::now();
                    if begun < requests {
                        publisher.publish("bench", &mut payloads)?;
                        begun += 1;
                    }
                }
            }
            if last.elapsed() > target.stall {
                return Err(io::Error::other(format!("{answered} of {requests} publishes were answered")));
            }
        }
        Ok(())
    };
    run(warmup)?;
    let (before, spent) = (Instant::now(), target.process.time()?);
    run(requests)?;
    let (seconds, spent) = (before.elapsed().as_secs_f64(), target.process.time()?.since(spent));
    Ok(json!({
        "connections": connections, "size": payloads.size(), "requests": requests, "seconds": seconds,
        "requests_per_s": requests as f64 / seconds, "us_per_publish": spent.total / requests as f64,
        "user_us_per_publish": spent.user / requests as f64,
    }))
}
