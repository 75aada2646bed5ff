//! The subscribers for which one thread reads, and the ledger they share.
//!
//! A worker stays on one thread, so a delivery takes no lock and involves no other thread. The publishers are told of a
//! message only once, when all its subscribers have it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use crate::cli::bench::arguments::Transport;
use crate::cli::bench::event_stream::Stream;
use crate::cli::bench::figures::Figures;
use crate::cli::bench::frame::Heard;
use crate::cli::bench::ledger::{Accepted, Account, Delivery, Ledger, Member};
use crate::cli::bench::websocket::Socket;
use crate::cli::target::Target;
use crate::message::Seq;
use crate::name::TopicName;

/// How many subscribers of a worker may be connecting at a time.
const CONNECTING: usize = 64;
/// How long connecting and subscribing may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clock of a run, in nanoseconds since its start.
#[derive(Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        nanoseconds(self.0.elapsed())
    }
}

/// A duration in nanoseconds, as the clock of a run counts.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What all workers share.
pub(super) struct Run {
    pub(super) target: Target,
    pub(super) transport: Transport,
    pub(super) topics: Vec<TopicName>,
    pub(super) clock: Clock,
    /// The end of the warm-up, once publishing has begun.
    pub(super) warm: OnceLock<u64>,
    pub(super) subscribers: usize,
    pub(super) connected: AtomicUsize,
    /// Signals that all subscribers are connected.
    pub(super) ready: Notify,
    pub(super) live: AtomicUsize,
    /// Deliveries so far, for the progress bar.
    pub(super) delivered: AtomicU64,
}

impl Run {
    /// The end of the warm-up, in nanoseconds since the start of the run.
    pub(super) fn warm(&self) -> u64 {
        self.warm.get().copied().unwrap_or(u64::MAX)
    }
}

/// A worker's channels to and from the rest of the run.
pub(super) struct Lines {
    pub(super) told: mpsc::Receiver<Accepted>,
    pub(super) settled: mpsc::Sender<Seq>,
    /// True when the run is over.
    pub(super) over: watch::Receiver<bool>,
}

/// The results of a worker.
pub(super) struct Outcome {
    pub(super) account: Account,
    pub(super) figures: Figures,
    pub(super) gaps: u64,
    /// Connections that ended before the run did: how many for each code and reason. Code 0 means none was given.
    pub(super) closed: BTreeMap<(u16, String), u64>,
}

/// The subscribers of one thread.
pub(super) struct Worker {
    run: Arc<Run>,
    ledger: RefCell<Ledger>,
    settled: mpsc::Sender<Seq>,
    gaps: Cell<u64>,
    /// How many of its subscribers have subscribed.
    standing: Cell<usize>,
    closed: RefCell<BTreeMap<(u16, String), u64>>,
    /// Tells subscribers that the run is over.
    over: Notify,
    connecting: Semaphore,
}

impl Worker {
    /// Connects the subscribers with these numbers, reads until the run is over, and closes the accounts.
    ///
    /// # Errors
    /// Why the first one that could not subscribe could not.
    pub(super) async fn read(run: Arc<Run>, numbers: Range<usize>, mut lines: Lines) -> Result<Outcome, String> {
        let worker = Rc::new(Self {
            ledger: RefCell::new(Ledger::new(Figures::new(run.warm()))),
            run,
            settled: lines.settled,
            gaps: Cell::new(0),
            standing: Cell::new(0),
            closed: RefCell::default(),
            over: Notify::new(),
            connecting: Semaphore::new(CONNECTING),
        });
        let mut tasks = JoinSet::new();
        let here = LocalSet::new();
        let count = numbers.len();
        for number in numbers {
            let member = worker.ledger.borrow_mut().join(number % worker.run.topics.len());
            tasks.spawn_local_on(subscribe(worker.clone(), member, number), &here);
        }
        here.run_until(async {
            loop {
                tokio::select! {
                    told = lines.told.recv() => match told {
                        Some(told) => worker.told(told),
                        None => break,
                    },
                    Some(ended) = tasks.join_next() => ended.map_err(|error| error.to_string())??,
                    // The channel is closed or the run is over: either way nobody waits for more.
                    _ = lines.over.wait_for(|over| *over) => break,
                }
            }
            while let Ok(told) = lines.told.try_recv() {
                worker.told(told);
            }
            if worker.standing.get() < count {
                return Err("it was ended before all subscribers were connected".to_owned());
            }
            worker.over.notify_waiters();
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(|error| error.to_string())??;
            }
            Ok::<_, String>(())
        })
        .await?;
        drop(here);
        let worker = Rc::into_inner(worker).expect("all its subscribers have ended");
        let (account, figures) = worker.ledger.into_inner().close();
        Ok(Outcome { account, figures, gaps: worker.gaps.get(), closed: worker.closed.into_inner() })
    }

    /// Connects a subscriber, once fewer than [`CONNECTING`] others are connecting.
    ///
    /// # Errors
    /// It could not subscribe.
    async fn connect(&self, number: usize) -> Result<Connection, String> {
        let (target, topic) = (&self.run.target, &self.run.topics[number % self.run.topics.len()]);
        let _turn = self.connecting.acquire().await;
        let open = Connection::open(self.run.transport, target, topic, number);
        let connection = timeout(PATIENCE, open).await.map_err(|_| "no answer within 10 s".to_owned())??;
        self.standing.set(self.standing.get() + 1);
        self.run.live.fetch_add(1, Ordering::Relaxed);
        if self.run.connected.fetch_add(1, Ordering::Relaxed) + 1 == self.run.subscribers {
            self.run.ready.notify_one();
        }
        Ok(connection)
    }

    /// Reads until the connection ends, and notes what arrives.
    async fn hear(&self, member: Member, connection: &mut Connection) {
        loop {
            match connection.next().await {
                (Heard::Message(seq), bytes) => {
                    let delivery = Delivery { seq, at: self.run.clock.now(), bytes: bytes as u64 };
                    self.note(|ledger| ledger.arrived(member, delivery));
                }
                (Heard::Gap(to), _) => {
                    self.gaps.set(self.gaps.get() + 1);
                    self.note(|ledger| ledger.pass(member, to.saturating_add(1)));
                }
                (Heard::End(code, reason), _) => {
                    self.run.live.fetch_sub(1, Ordering::Relaxed);
                    *self.closed.borrow_mut().entry((code, reason)).or_default() += 1;
                    return self.note(|ledger| ledger.closed(member));
                }
                (Heard::Subscribed | Heard::Other, _) => {}
            }
        }
    }

    fn told(&self, told: Accepted) {
        let from = self.run.warm();
        self.note(|ledger| {
            ledger.figures.from = from;
            ledger.told(told);
        });
    }

    fn note(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger.borrow_mut();
        change(&mut ledger);
        for (seq, deliveries) in ledger.take_settled() {
            self.run.delivered.fetch_add(deliveries, Ordering::Relaxed);
            // The channel has room for the whole window. If it did not, the publishers would give the message up.
            let _ = self.settled.try_send(seq);
        }
    }
}

/// Subscribes, and reads until the connection or the run ends.
async fn subscribe(worker: Rc<Worker>, member: Member, number: usize) -> Result<(), String> {
    let connection = worker.connect(number).await;
    let mut connection = connection.map_err(|why| format!("subscriber {} cannot subscribe: {why}", number + 1))?;
    tokio::select! {
        biased;
        () = worker.hear(member, &mut connection) => {}
        () = worker.over.notified() => connection.close().await,
    }
    Ok(())
}

/// A subscriber's connection.
enum Connection {
    Ws(Box<Socket>),
    Sse(Stream),
}

impl Connection {
    async fn open(transport: Transport, target: &Target, topic: &TopicName, number: usize) -> Result<Self, String> {
        match transport {
            Transport::Ws => Socket::open(target, topic, number).await.map(Box::new).map(Self::Ws),
            Transport::Sse => Stream::open(target, topic, number).await.map(Self::Sse),
        }
    }

    /// What comes next, and its size in bytes.
    async fn next(&mut self) -> (Heard, usize) {
        match self {
            Self::Ws(socket) => socket.next().await,
            Self::Sse(stream) => stream.next().await,
        }
    }

    async fn close(self) {
        match self {
            Self::Ws(socket) => socket.close().await,
            Self::Sse(_) => {}
        }
    }
}
