//! One publisher and many subscribers in a closed loop: the cost of a delivery.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::Target;
use crate::payload::Payloads;
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::subscribers::Subscribers;

/// Connections in progress at a time, in loads that do not measure connecting.
const AT_ONCE: usize = 64;

/// How much is published, and how fast.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Messages that are measured.
    pub messages: u64,
    /// Messages published before these, for warm-up.
    pub warmup: u64,
    /// Most messages that may be outstanding.
    pub window: u64,
    /// Messages a second; `None` means as fast as the window allows.
    pub rate: Option<f64>,
}

struct Loop<'a> {
    target: Target,
    plan: &'a Plan,
    pace: Pace,
    subscribers: Subscribers,
    publisher: Publisher,
    payloads: Payloads,
    /// Messages published to each topic.
    published: Vec<u64>,
    /// Messages published to all topics.
    sent: u64,
    /// Deliveries that these messages must cause.
    due: u64,
}

/// Publishes round-robin over the plan's topics, to all of its connections, beside `stalled` subscribers of the first
/// topic that do not read.
///
/// # Errors
/// A delivery was lost or doubled, or a connection failed.
pub fn deliver(target: Target, plan: &Plan, stalled: usize, size: usize, pace: Pace) -> io::Result<Value> {
    let payloads = Payloads::new(size);
    let count = plan.connections();
    let mut beside = Subscribers::stalled()?;
    beside.open(target.address, None, stalled, AT_ONCE, |_| plan.subscribe(0), &payloads)?;
    let mut subscribers = Subscribers::new()?;
    subscribers.open(target.address, None, count, AT_ONCE, |number| plan.subscribe(number), &payloads)?;
    subscribers.settle(Duration::from_millis(300), &payloads)?;
    let publisher = Publisher::connect(target.address)?;
    let published = vec![0; plan.topic_count()];
    let mut run = Loop { target, plan, pace, subscribers, publisher, payloads, published, sent: 0, due: 0 };
    let memory = target.process.memory()?;
    run.run(pace.warmup)?;
    let (before, delivered, spent) = (Instant::now(), run.subscribers.seen.messages, target.process.time()?);
    run.subscribers.seen.ages = Some(Vec::new());
    run.run(pace.messages)?;
    let (seconds, spent) = (before.elapsed().as_secs_f64(), target.process.time()?.since(spent));
    let grown = target.process.memory()? - memory;
    let deliveries = run.subscribers.seen.messages - delivered;
    run.account()?;
    let mut ages = run.subscribers.seen.ages.take().unwrap_or_default();
    ages.sort_unstable();
    let micros = |part: f64| match ages.len() {
        0 => 0.0,
        all => ages[((all - 1) as f64 * part) as usize].as_secs_f64() * 1e6,
    };
    let (messages, all) = (pace.messages as f64, deliveries as f64);
    Ok(json!({
        "connections": count, "topics": plan.topic_count(), "size": run.payloads.size(), "window": pace.window,
        "messages": pace.messages, "deliveries": deliveries, "seconds": seconds,
        "us_per_publish": spent.total / messages, "us_per_delivery": spent.total / all,
        "user_us_per_delivery": spent.user / all,
        "payload_bytes_per_s": all * run.payloads.size() as f64 / seconds,
        "p50_us": micros(0.5), "p99_us": micros(0.99), "max_us": micros(1.0), "pings": run.subscribers.seen.pings,
        "stalled": stalled, "grown_bytes": grown,
    }))
}

impl Loop<'_> {
    /// Publishes `messages` and waits for all of their deliveries, without ever sleeping.
    fn run(&mut self, messages: u64) -> io::Result<()> {
        let (began, first) = (Instant::now(), self.sent);
        let mut last = (began, self.subscribers.seen.messages);
        while self.sent - first < messages || self.subscribers.seen.messages < self.due || self.publisher.waits() {
            self.publisher.advance()?;
            let allowed = match self.pace.rate {
                Some(rate) => ((began.elapsed().as_secs_f64() * rate) as u64 + 1).min(messages),
                None => messages,
            };
            if self.sent - first < allowed && !self.publisher.waits() {
                self.publish()?;
            }
            self.subscribers.turn(Some(Duration::ZERO), &self.payloads)?;
            self.subscribers.check()?;
            let seen = self.subscribers.seen.messages;
            if seen != last.1 || (seen == self.due && !self.publisher.waits()) {
                last = (Instant::now(), seen);
            } else if last.0.elapsed() > self.target.stall {
                return Err(io::Error::other(format!("{} deliveries of {} were lost", self.due - seen, self.due)));
            }
        }
        Ok(())
    }

    /// Publishes one message, if the window allows it.
    fn publish(&mut self) -> io::Result<()> {
        let topic = (self.sent % self.published.len() as u64) as usize;
        let (name, readers) = self.plan.topic(topic);
        if self.due + readers > self.subscribers.seen.messages + self.pace.window * readers {
            return Ok(());
        }
        self.published[topic] += 1;
        self.sent += 1;
        self.due += readers;
        self.publisher.publish(name, &mut self.payloads)
    }

    /// Checks each connection's count on its own, so that one's loss cannot hide behind another's duplicate.
    fn account(&mut self) -> io::Result<()> {
        self.subscribers.settle(Duration::from_millis(50), &self.payloads)?;
        for (number, received) in self.subscribers.received().enumerate() {
            let due = self.plan.due(number, &self.published);
            if received != due {
                return Err(io::Error::other(format!("connection {number} got {received} messages and not {due}")));
            }
        }
        Ok(())
    }
}
