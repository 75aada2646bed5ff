//! One run, from the first connection to the last account.

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
use crate::cli::bench::crew::{Clock, Crew, Lines, Outcome, Run};
use crate::cli::bench::ledger::Accepted;
use crate::cli::bench::payload::Work;
use crate::cli::bench::progress::Progress;
use crate::cli::bench::publisher::{Desk, Tally, nanoseconds};
use crate::cli::bench::report::Report;
use crate::cli::target::Target;
use crate::message::Seq;

/// How long is waited for a message that does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long subscribers are heard after publishing has failed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often is looked.
const TICK: Duration = Duration::from_millis(100);

type Crews<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Result<Outcome, String>> + 'a>>>;

/// The crews at work, and the lines to them.
struct Field<'a> {
    run: Arc<Run>,
    crews: Crews<'a>,
    told: Vec<mpsc::Sender<Accepted>>,
    settled: mpsc::Receiver<Seq>,
    over: watch::Sender<bool>,
    readers: Vec<Vec<usize>>,
}

/// How publishing ended.
#[derive(Default)]
struct End {
    interrupted: bool,
    failure: Option<String>,
}

/// Subscribes, publishes, waits until everything has come, and adds up.
///
/// # Errors
/// Nothing could be measured: it could not connect, or was interrupted before.
pub(super) async fn conduct(arguments: &Arguments, target: Target, work: Work) -> Result<Report<'_>, String> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|error: Error| error.to_string())?;
    let progress = Progress::start(arguments.subscribers());
    let mut field = Field::enter(arguments, target, &work)?;
    field.connect(&progress, &mut interrupts).await?;
    let connected = Duration::from_nanos(field.run.clock.now());
    let warm = field.run.clock.now().saturating_add(nanoseconds(arguments.warmup));
    field.run.warm.set(warm).expect("it is set here alone");
    let (told, readers) = (std::mem::take(&mut field.told), std::mem::take(&mut field.readers));
    let desk = Desk::open(field.run.clone(), arguments, work.payload.clone(), told, readers);
    let end = field.publish(&desk, arguments.publishers as usize, &progress, &mut interrupts).await;
    if end.failure.is_some() {
        field.hear_out().await;
    }
    progress.end();
    let outcomes = field.leave().await?;
    let Tally { published, answers, first, last } = desk.tally.into_inner();
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

impl<'a> Field<'a> {
    /// Sets the crews to work. The first shares this thread, each other has one of its own.
    fn enter(arguments: &Arguments, target: Target, work: &Work) -> Result<Self, String> {
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
        // What a crew has not settled is within the window, but for what has been given up.
        let room = arguments.window() * shares.len().max(1) + 1;
        let (settle, settled) = mpsc::channel(room);
        let (over, is_over) = watch::channel(false);
        let (crews, mut told) = (Crews::new(), Vec::new());
        let readers = readers(&shares, work.topics.len());
        for (place, numbers) in shares.into_iter().enumerate() {
            let (tell, lines) = mpsc::channel(room);
            told.push(tell);
            let lines = Lines { told: lines, settled: settle.clone(), over: is_over.clone() };
            let run = run.clone();
            if place == 0 {
                crews.push(Box::pin(Crew::read(run, numbers, lines)));
            } else {
                let thread = tokio::task::spawn_blocking(move || {
                    let alone = runtime::Builder::new_current_thread().enable_all().build();
                    alone.map_err(|error| error.to_string())?.block_on(Crew::read(run, numbers, lines))
                });
                crews.push(Box::pin(async { thread.await.map_err(|error| error.to_string())? }));
            }
        }
        Ok(Self { run, crews, told, settled, over, readers })
    }

    /// Waits until every subscription stands.
    async fn connect(&mut self, progress: &Progress, interrupts: &mut Signal) -> Result<(), String> {
        let mut ticks = interval(TICK);
        if self.run.subscribers == 0 {
            return Ok(());
        }
        loop {
            tokio::select! {
                () = self.run.ready.notified() => return Ok(()),
                Some(ended) = self.crews.next() => {
                    ended?;
                }
                _ = interrupts.recv() => return Err("it was interrupted before all subscribers were connected".to_owned()),
                _ = ticks.tick() => progress.connected(self.run.connected.load(Ordering::Relaxed)),
            }
        }
    }

    /// Publishes until there is nothing more to publish, and waits until everybody has everything.
    async fn publish(&mut self, desk: &Desk, publishers: usize, progress: &Progress, interrupts: &mut Signal) -> End {
        let mut end = End::default();
        let mut publishing: FuturesUnordered<_> = (0..publishers).map(|number| desk.publish(number)).collect();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut moved, mut newest) = (Instant::now(), 0);
        while !(publishing.is_empty() && desk.is_settled()) {
            tokio::select! {
                biased;
                Some(seq) = self.settled.recv() => {
                    desk.settled(seq);
                    moved = Instant::now();
                }
                Some(ended) = publishing.next() => {
                    if let Err(why) = ended {
                        desk.stop();
                        end.failure.get_or_insert(why);
                    }
                }
                Some(ended) = next(&mut self.crews) => {
                    end.failure = Some(ended.err().unwrap_or_else(|| "a crew ended before its time".to_owned()));
                    break;
                }
                _ = interrupts.recv() => {
                    if end.interrupted {
                        break;
                    }
                    end.interrupted = true;
                    desk.stop();
                }
                _ = ticks.tick() => {
                    progress.publishing(desk, &self.run);
                    desk.give_up(PATIENCE);
                    if self.run.subscribers > 0 && self.run.live.load(Ordering::Relaxed) == 0 {
                        end.failure = Some("no subscriber is left: the relay has ended every connection".to_owned());
                        break;
                    }
                    if newest != desk.newest() {
                        (moved, newest) = (Instant::now(), desk.newest());
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

    /// A relay that ends refuses publishers first: why it does, it tells the subscribers a moment later.
    async fn hear_out(&mut self) {
        let mut ticks = interval(TICK);
        let until = Instant::now() + LAST_WORDS;
        while self.run.live.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            tokio::select! {
                Some(_) = next(&mut self.crews) => return,
                _ = ticks.tick() => {}
            }
        }
    }

    /// Sends the crews home and hears what came of them.
    async fn leave(mut self) -> Result<Vec<Outcome>, String> {
        self.over.send_replace(true);
        let mut outcomes = Vec::new();
        while let Some(ended) = self.crews.next().await {
            outcomes.push(ended?);
        }
        Ok(outcomes)
    }
}

/// The next crew that ends; without crews, none ever.
async fn next(crews: &mut Crews<'_>) -> Option<Result<Outcome, String>> {
    if crews.is_empty() { pending().await } else { crews.next().await }
}

/// The numbers of the subscribers of each crew.
fn shares(subscribers: usize, crews: usize) -> Vec<Range<usize>> {
    let cut = |crew: usize| subscribers * crew / crews;
    (0..crews).map(|crew| cut(crew)..cut(crew + 1)).filter(|share| !share.is_empty()).collect()
}

/// For each topic the crews that have subscribers of it.
fn readers(shares: &[Range<usize>], topics: usize) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); topics];
    for (crew, numbers) in shares.iter().enumerate() {
        for number in numbers.clone().take(topics) {
            readers[number % topics].push(crew);
        }
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::{readers, shares};

    #[test]
    fn every_subscriber_is_in_one_crew_and_every_topic_knows_its_crews() {
        assert_eq!(shares(10, 3), [0..3, 3..6, 6..10]);
        assert!(shares(0, 1).is_empty());
        assert_eq!(readers(&shares(10, 3), 2), [[0, 1, 2], [0, 1, 2]]);
        assert_eq!(readers(&shares(4, 2), 4), [[0], [0], [1], [1]]);
        assert_eq!(readers(&shares(1, 1), 2), [vec![0], vec![]]);
    }
}
