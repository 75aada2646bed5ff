//! The publishers, and what they share: the window, the pace, and the messages in flight.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::sync::{Semaphore, mpsc};

use crate::cli::bench::arguments::{Arguments, Until};
use crate::cli::bench::figures::Latencies;
use crate::cli::bench::frame::receipt;
use crate::cli::bench::ledger::Accepted;
use crate::cli::bench::worker::{Run, nanoseconds};
use crate::cli::requests::{Requests, refusal, request};
use crate::message::Seq;

/// Marks a publisher that is not waiting for an answer.
const NONE: Seq = Seq::MAX;

/// The state that all publishers share. They run on one thread.
pub(super) struct Publishers {
    run: Arc<Run>,
    payload: Bytes,
    until: Until,
    /// Messages per second; 0 means as fast as possible.
    rate: u32,
    workers: Vec<mpsc::Sender<Accepted>>,
    /// For each topic, the workers that have subscribers of it.
    readers: Vec<Vec<usize>>,
    window: Semaphore,
    /// Accepted messages that some worker has not settled: by how many workers, and when the publish began.
    in_flight: RefCell<HashMap<Seq, (usize, u64)>>,
    /// For each publisher that waits for an answer, the newest seq that was known before it asked.
    asked: RefCell<Vec<Seq>>,
    newest: Cell<Seq>,
    begun: Cell<u64>,
    /// How many of these began after the warm-up.
    measured: Cell<u64>,
    /// When the publishers were opened, in nanoseconds since the start of the run.
    began: u64,
    pub(super) tally: RefCell<Tally>,
}

/// What the publishers have measured, without the warm-up.
pub(super) struct Tally {
    pub(super) published: u64,
    pub(super) answers: Latencies,
    /// When the first publish began and when the last was answered.
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Publishers {
    pub(super) fn open(
        run: Arc<Run>,
        arguments: &Arguments,
        payload: Bytes,
        workers: Vec<mpsc::Sender<Accepted>>,
        readers: Vec<Vec<usize>>,
    ) -> Self {
        let tally = Tally { published: 0, answers: Latencies::new(), first: u64::MAX, last: 0 };
        Self {
            began: run.clock.now(),
            run,
            payload,
            until: arguments.until(),
            rate: arguments.rate,
            workers,
            readers,
            window: Semaphore::new(arguments.window()),
            in_flight: RefCell::default(),
            asked: RefCell::new(vec![NONE; arguments.publishers as usize]),
            newest: Cell::new(0),
            begun: Cell::new(0),
            measured: Cell::new(0),
            tally: RefCell::new(tally),
        }
    }

    /// Publishes as the publisher with this number until there is nothing left to publish.
    ///
    /// # Errors
    /// A publish was refused, or not answered.
    pub(super) async fn publish(&self, number: usize) -> Result<(), String> {
        let mut requests = Requests::open(&self.run.target).await?;
        loop {
            let Ok(place) = self.window.acquire().await else { return Ok(()) };
            let turn = self.begun.replace(self.begun.get() + 1);
            self.keep_pace(turn).await;
            if self.window.is_closed() {
                return Ok(());
            }
            let topic = usize::try_from(turn % self.run.topics.len() as u64).expect("there are few topics");
            let path = format!("/publish/{}", self.run.topics[topic].as_str());
            let request = request(&self.run.target, Method::POST, &path, self.payload.clone())?;
            let Some(begun) = self.begin() else {
                self.stop();
                return Ok(());
            };
            place.forget();
            self.asked.borrow_mut()[number] = self.newest.get();
            let answer = requests.send(request).await?;
            let refused = || {
                let refused = refusal(answer.status, &answer.body);
                format!("a publish to `{}` was refused: {refused}", self.run.topics[topic].as_str())
            };
            if answer.status != StatusCode::OK {
                return Err(refused());
            }
            let seq = receipt(&answer.body).ok_or_else(refused)?;
            self.measure(begun);
            self.tell(number, topic, seq, begun).await;
        }
    }

    /// Stops publishing.
    pub(super) fn stop(&self) {
        self.window.close();
    }

    /// Notes that one worker has settled a message.
    pub(super) fn settled(&self, seq: Seq) {
        let mut in_flight = self.in_flight.borrow_mut();
        if let Some((workers, _)) = in_flight.get_mut(&seq) {
            *workers -= 1;
            if *workers == 0 {
                in_flight.remove(&seq);
                self.window.add_permits(1);
            }
        }
    }

    /// Stops waiting for messages that have been in flight for longer than `patience`.
    pub(super) fn give_up(&self, patience: Duration) {
        let limit = self.run.clock.now().saturating_sub(nanoseconds(patience));
        let mut in_flight = self.in_flight.borrow_mut();
        let before = in_flight.len();
        in_flight.retain(|_, (_, begun)| *begun > limit);
        self.window.add_permits(before - in_flight.len());
    }

    /// Whether every accepted message has reached all its subscribers.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.borrow().is_empty()
    }

    /// The seq of the newest accepted message.
    pub(super) fn newest(&self) -> Seq {
        self.newest.get()
    }

    /// When the publishers were opened, in nanoseconds since the start of the run.
    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// The part of the run that is done, from 0 to 1.
    pub(super) fn progress(&self) -> f64 {
        let now = self.run.clock.now();
        match self.until {
            Until::Messages(messages) => self.tally.borrow().published as f64 / messages as f64,
            Until::Elapsed(_) => {
                now.saturating_sub(self.began) as f64 / self.end().saturating_sub(self.began).max(1) as f64
            }
        }
    }

    /// When to stop, in nanoseconds since the start of the run.
    fn end(&self) -> u64 {
        match self.until {
            Until::Messages(_) => u64::MAX,
            Until::Elapsed(duration) => self.run.warm().saturating_add(nanoseconds(duration)),
        }
    }

    /// Begins a message, and returns the time; `None` if there is nothing left to publish.
    fn begin(&self) -> Option<u64> {
        let now = self.run.clock.now();
        let mut left = now < self.end();
        if let Until::Messages(messages) = self.until
            && now >= self.run.warm()
        {
            let measured = self.measured.replace(self.measured.get() + 1);
            left &= measured < messages;
        }
        left.then_some(now)
    }

    async fn keep_pace(&self, turn: u64) {
        if self.rate == 0 {
            return;
        }
        let due = Duration::from_secs_f64(turn as f64 / f64::from(self.rate));
        let due = Duration::from_nanos(self.began).saturating_add(due);
        tokio::time::sleep(due.saturating_sub(Duration::from_nanos(self.run.clock.now()))).await;
    }

    fn measure(&self, begun: u64) {
        if begun < self.run.warm() {
            return;
        }
        let now = self.run.clock.now();
        let mut tally = self.tally.borrow_mut();
        tally.published += 1;
        tally.answers.record(now - begun);
        tally.first = tally.first.min(begun);
        tally.last = tally.last.max(now);
    }

    /// Tells the workers about an accepted message.
    async fn tell(&self, number: usize, topic: usize, seq: Seq, begun: u64) {
        self.newest.set(self.newest.get().max(seq));
        let readers = &self.readers[topic];
        if readers.is_empty() {
            self.window.add_permits(1);
        } else {
            self.in_flight.borrow_mut().insert(seq, (readers.len(), begun));
        }
        // A publisher that still waits will get a seq above the newest one known when it asked.
        let others =
            self.asked.borrow().iter().enumerate().filter(|(other, _)| *other != number).map(|(_, asked)| *asked).min();
        let floor = seq.min(others.unwrap_or(NONE));
        for reader in readers {
            // A worker that has ended reports why by itself.
            let _ = self.workers[*reader].send(Accepted { topic, seq, begun, floor }).await;
        }
        self.asked.borrow_mut()[number] = NONE;
    }
}
