//! Connections themselves: how many a second, what an idle one takes in memory, and what keeping them alive costs.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::load::Target;
use crate::payload::Payloads;
use crate::plan::Plan;
use crate::subscribers::Subscribers;

/// Opens `connections`, each upgraded and subscribed to one topic, with at most `at_once` in progress at any time.
///
/// # Errors
/// A connection cannot be opened or subscribed.
pub fn connects(target: Target, connections: usize, at_once: usize) -> io::Result<Value> {
    let (plan, payloads, mut subscribers) = (Plan::one_topic(connections), Payloads::new(0), Subscribers::new()?);
    let spent = target.process.time()?;
    let took = subscribers.open(target.address, None, connections, at_once, |at| plan.subscribe(at), &payloads)?;
    let spent = target.process.time()?.since(spent);
    Ok(json!({
        "connections": connections, "at_once": at_once, "seconds": took.as_secs_f64(),
        "connects_per_s": connections as f64 / took.as_secs_f64(),
        "us_per_connect": spent.total / connections as f64,
    }))
}

/// Opens `connections`, plain or through TLS, and holds them for `hold` without any message.
///
/// # Errors
/// A connection cannot be opened, or ends early.
pub fn idle(target: Target, tls: Option<&Arc<ClientConfig>>, connections: usize, hold: Duration) -> io::Result<Value> {
    const SETTLE: Duration = Duration::from_secs(2);
    let (plan, payloads, mut subscribers) = (Plan::one_topic(connections), Payloads::new(0), Subscribers::new()?);
    let before = target.process.memory()?;
    subscribers.open(target.address, tls, connections, 64, |at| plan.subscribe(at), &payloads)?;
    subscribers.settle(SETTLE, &payloads)?;
    let after = target.process.memory()?;
    let (began, spent, pings) = (Instant::now(), target.process.time()?, subscribers.seen.pings);
    while began.elapsed() < hold {
        subscribers.turn(Some(Duration::from_millis(50)), &payloads)?;
    }
    subscribers.check()?;
    let (seconds, spent) = (began.elapsed().as_secs_f64(), target.process.time()?.since(spent));
    Ok(json!({
        "connections": connections, "tls": tls.is_some(), "bytes_per_connection": (after - before) / connections as f64,
        "seconds": seconds, "pings": subscribers.seen.pings - pings,
        "processor_percent": if seconds < 1.0 { 0.0 } else { spent.total / 1e4 / seconds },
    }))
}
