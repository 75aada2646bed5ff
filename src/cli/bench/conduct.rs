//! Conducts one run, from the first connection to the final accounts.

use std::future::pending;
use std::io::Error;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli::bench::arguments::Arguments;
use crate::cli::bench::ledger::Accepted;
use crate::cli::bench::payload::Work;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::publisher::{Publishers, Tally};
use crate::cli::bench::report::Report;
use crate::cli::bench::worker::{Clock, Lines, Outcome, Run, Worker, nanoseconds};
use crate::cli::target::Target;
use crate::message::Seq;

/// How long to wait for a message that does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long subscribers are still heard after publishing has failed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often progress is checked.
const TICK: Duration = Duration::from_millis(100);

type Tasks<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Result<Outcome, String>> + 'a>>>;

/// The workers, and the channels to and from them.
struct Workers<'a> {
    run: Arc<Run>,
    tasks: Tasks<'a>,
    settled: mpsc::Receiver<Seq>,
    over: watch::Sender<bool>,
}

/// How publishing ended.
#[derive(Default)]
struct End {
    interrupted: bool,
    failure: Option<String>,
}

/// Subscribes, publishes, waits until everything has arrived, and adds up the results.
///
/// # Errors
/// Nothing could be measured, because a connection failed or an interrupt came too early.
pub(super) async fn conduct(arguments: &Arguments, target: Target, work: Work) -> Result<Report<'_>, String> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|error: Error| error.to_string())?;
    let progress = Progress::start(arguments.subscribers());
    let (mut workers, told, readers) = Workers::start(arguments, target, &work);
    workers.connect(&progress, &mut interrupts).await?;
    let connected = Duration::from_nanos(workers.run.clock.now());
    let warm = workers.run.clock.now().saturating_add(nanoseconds(arguments.warmup));
    workers.run.warm.set(warm).expect("it is set here alone");
    let publishers = Publishers::open(workers.run.clone(), arguments, work.payload.clone(), told, readers);
    let end = workers.publish(&publishers, arguments.publishers as usize, &progress, &mut interrupts).await;
    if end.failure.is_some() {
        workers.hear_out().await;
    }
    progress.end();
    let outcomes = workers.end().await?;
    let Tally { published, answers, first, last } = publishers.tally.into_inner();
    let mut report = Report::new(arguments, work, connected, published, answers);
    for outcome in outcomes {
        report.add(outcome);
    }
    let until = last.max(report.figures.last);
    report.measured = Duration::from_nanos(until.saturating_sub(first));
    report.interrupted = end.interrupted;
    report.failure = end.failure;
    Ok(report)
}

impl<'a> Workers<'a> {
    /// Starts the workers: the first on this thread, each other on its own. Also returns the channel that tells each
    /// worker what was accepted, and the workers that read each topic.
    fn start(
        arguments: &Arguments,
        target: Target,
        work: &Work,
    ) -> (Self, Vec<mpsc::Sender<Accepted>>, Vec<Vec<usize>>) {
        let run = Arc::new(Run {
            target,
            transport: arguments.transport,
            topics: work.topics.clone(),
            clock: Clock::start(),
            warm: OnceLock::new(),
            subscribers: arguments.subscribers(),
            connected: AtomicUsize::new(0),
            ready: Notify::new(),
            live: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
        });
        let shares = shares(arguments.subscribers(), arguments.threads());
        // What a worker has not settled is within the window, except for what was given up.
        let room = arguments.window() * shares.len().max(1) + 1;
        let (settle, settled) = mpsc::channel(room);
        let (over, is_over) = watch::channel(false);
        let (tasks, mut told) = (Tasks::new(), Vec::new());
        let readers = readers(&shares, work.topics.len());
        for (place, numbers) in shares.into_iter().enumerate() {
            let (tell, lines) = mpsc::channel(room);
            told.push(tell);
            let lines = Lines { told: lines, settled: settle.clone(), over: is_over.clone() };
            let run = run.clone();
            if place == 0 {
                tasks.push(Box::pin(Worker::read(run, numbers, lines)));
            } else {
                let thread = tokio::task::spawn_blocking(move || {
                    let alone = runtime::Builder::new_current_thread().enable_all().build();
                    alone.map_err(|error| error.to_string())?.block_on(Worker::read(run, numbers, lines))
                });
                tasks.push(Box::pin(async { thread.await.map_err(|error| error.to_string())? }));
            }
        }
        (Self { run, tasks, settled, over }, told, readers)
    }

    /// Waits until every subscriber is subscribed.
    async fn connect(&mut self, progress: &Progress, interrupts: &mut Signal) -> Result<(), String> {
        let mut ticks = interval(TICK);
        if self.run.subscribers == 0 {
            return Ok(());
        }
        loop {
            tokio::select! {
                () = self.run.ready.notified() => return Ok(()),
                Some(ended) = self.tasks.next() => {
                    ended?;
                }
                _ = interrupts.recv() => return Err("it was interrupted before all subscribers were connected".to_owned()),
                _ = ticks.tick() => progress.connected(self.run.connected.load(Ordering::Relaxed)),
            }
        }
    }

    /// Publishes until nothing is left to publish, and waits until everybody has everything.
    async fn publish(
        &mut self,
        publishers: &Publishers,
        n: usize,
        progress: &Progress,
        interrupts: &mut Signal,
    ) -> End {
        let mut end = End::default();
        let mut publishing: FuturesUnordered<_> = (0..n).map(|number| publishers.publish(number)).collect();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut moved, mut newest) = (Instant::now(), 0);
        while !(publishing.is_empty() && publishers.is_settled()) {
            tokio::select! {
                biased;
                Some(seq) = self.settled.recv() => {
                    publishers.settled(seq);
                    moved = Instant::now();
                }
                Some(ended) = publishing.next() => {
                    if let Err(why) = ended {
                        publishers.stop();
                        end.failure.get_or_insert(why);
                    }
                }
                Some(ended) = next(&mut self.tasks) => {
                    end.failure = Some(ended.err().unwrap_or_else(|| "a worker ended early".to_owned()));
                    break;
                }
                _ = interrupts.recv() => {
                    if end.interrupted {
                        break;
                    }
                    end.interrupted = true;
                    publishers.stop();
                }
                _ = ticks.tick() => {
                    progress.publishing(publishers, &self.run);
                    publishers.give_up(PATIENCE);
                    if self.run.subscribers > 0 && self.run.live.load(Ordering::Relaxed) == 0 {
                        end.failure = Some("no subscriber is left: the relay has ended every connection".to_owned());
                        break;
                    }
                    if newest != publishers.newest() {
                        (moved, newest) = (Instant::now(), publishers.newest());
                    }
                    if publishing.is_empty() && moved.elapsed() > PATIENCE {
                        break;
                    }
                    if moved.elapsed() > 2 * PATIENCE {
                        end.failure = Some("the relay has not answered a publish for 20 s".to_owned());
                        break;
                    }
                }
            }
        }
        end
    }

    /// Waits for the reasons of a failure. A relay that shuts down refuses publishers first, and tells subscribers why
    /// a moment later.
    async fn hear_out(&mut self) {
        let mut ticks = interval(TICK);
        let until = Instant::now() + LAST_WORDS;
        while self.run.live.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            tokio::select! {
                Some(_) = next(&mut self.tasks) => return,
                _ = ticks.tick() => {}
            }
        }
    }

    /// Ends the workers and returns the outcome of each.
    async fn end(mut self) -> Result<Vec<Outcome>, String> {
        self.over.send_replace(true);
        let mut outcomes = Vec::new();
        while let Some(ended) = self.tasks.next().await {
            outcomes.push(ended?);
        }
        Ok(outcomes)
    }
}

/// The next worker that ends; never resolves without workers.
async fn next(tasks: &mut Tasks<'_>) -> Option<Result<Outcome, String>> {
    if tasks.is_empty() { pending().await } else { tasks.next().await }
}

/// Divides the subscribers, by their numbers, among the workers.
fn shares(subscribers: usize, workers: usize) -> Vec<Range<usize>> {
    let cut = |worker: usize| subscribers * worker / workers;
    (0..workers).map(|worker| cut(worker)..cut(worker + 1)).filter(|share| !share.is_empty()).collect()
}

/// For each topic, the workers that have subscribers of it.
fn readers(shares: &[Range<usize>], topics: usize) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); topics];
    for (worker, numbers) in shares.iter().enumerate() {
        for number in numbers.clone().take(topics) {
            readers[number % topics].push(worker);
        }
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::{readers, shares};

    #[test]
    fn every_subscriber_has_one_worker_and_every_topic_knows_its_workers() {
        assert_eq!(shares(10, 3), [0..3, 3..6, 6..10]);
        assert!(shares(0, 1).is_empty());
        assert_eq!(readers(&shares(10, 3), 2), [[0, 1, 2], [0, 1, 2]]);
        assert_eq!(readers(&shares(4, 2), 4), [[0], [0], [1], [1]]);
        assert_eq!(readers(&shares(1, 1), 2), [vec![0], vec![]]);
    }
}
