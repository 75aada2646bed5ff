//! One stream of server-sent events: a cursor that is pulled while the reader reads.
//!
//! hyper polls it; the hub only wakes it. However it ends, the last event says why, if the reader takes one: an HTTP
//! answer itself does not tell its reader why it ended.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::info;

use crate::close::Close;
use crate::delivery::{self, Step};
use crate::evaluate;
use crate::http::call::Call;
use crate::http::flow::Flow;
use crate::hub::entry::Mark;
use crate::hub::subscriber::Subscriber;
use crate::live::Live;
use crate::notice::Notice;
use crate::plugin::Encoder;
use crate::principal::Principal;
use crate::protocol::sse::{self, Sse};
use crate::reconnect;
use crate::registrations::Seat;
use crate::telemetry::stats::EndedBy;
use crate::time::Time;

/// Bytes in one chunk, unless a single message is larger: the most held for a reader that does not read.
const CHUNK: usize = 16 << 10;

/// One stream.
pub struct Events {
    live: Arc<Live>,
    subscriber: Subscriber,
    principal: Arc<Principal>,
    seat: Option<Box<Seat>>,
    flow: Flow,
    timer: Pin<Box<Sleep>>,
    stage: Stage,
}

/// How far the stream is.
enum Stage {
    /// Has these to tell first. It was admitted by the configuration of this generation.
    Begins(Vec<Notice>, u64),
    Goes,
    Ended(Close),
}

enum Next {
    Pull,
    Look,
    End(Close),
}

impl Events {
    /// Creates a stream for a subscriber whose subscriptions the call's configuration allows; `first` is told before
    /// anything else.
    pub fn new(
        call: &Call,
        subscriber: Subscriber,
        principal: Arc<Principal>,
        seat: Option<Box<Seat>>,
        first: Vec<Notice>,
    ) -> Self {
        let (live, flow) = (call.live().clone(), call.link.flow.clone());
        flow.serve(subscriber.connection().clone());
        live.stats.streams.add(1);
        let timer = Box::pin(sleep_until(Instant::now()));
        let stage = Stage::Begins(first, call.snapshot.generation);
        Self { live, subscriber, principal, seat, flow, timer, stage }
    }

    /// The next chunk; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        let told = match std::mem::replace(&mut self.stage, Stage::Goes) {
            Stage::Ended(close) => {
                self.stage = Stage::Ended(close);
                return None;
            }
            Stage::Begins(first, generation) => self.begin(first, generation).map(Some),
            Stage::Goes => Ok(None),
        };
        let chunk = match told {
            Ok(Some(chunk)) => chunk,
            Ok(None) => self.wait().await,
            Err(close) => self.end(close),
        };
        self.flow.hand_over(chunk.len());
        let due = self.due();
        self.timer.as_mut().reset(due);
        Some(chunk)
    }

    fn begin(&mut self, mut first: Vec<Notice>, generation: u64) -> Result<Bytes, Close> {
        // If another was committed before the subscription existed, its mark is behind the cursor and will never be
        // pulled: judge again.
        if generation != self.live.snapshot().generation {
            first.extend(self.judge(None)?);
        }
        let mut chunk = BytesMut::from(&sse::retry(reconnect::after_loss())[..]);
        self.tell(&first, &mut chunk)?;
        Ok(chunk.freeze())
    }

    async fn wait(&mut self) -> Bytes {
        loop {
            let done = match poll_fn(|cx| self.poll_next(cx)).await {
                // Checked before each pull too: with always something to send, the timer is never reached.
                Next::Pull | Next::Look if self.principal.expired(Time::now()) => Err(Close::TokenExpired),
                Next::Pull => self.pull().await,
                Next::Look if self.subscriber.refresh_position() => Ok(None),
                Next::Look => Ok(Some(sse::HEARTBEAT)),
                Next::End(close) => Err(close),
            };
            match done {
                Ok(Some(chunk)) => return chunk,
                Ok(None) => tokio::task::consume_budget().await,
                Err(close) => return self.end(close),
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.subscriber.connection().register(cx);
        let ending = self.subscriber.connection().ending();
        if let Some(close) = ending.filter(|close| *close != Close::Draining) {
            return Poll::Ready(Next::End(close));
        }
        std::task::ready!(self.flow.poll_flushed(cx));
        // The drain loses no acknowledged message: a reader gets all of them first.
        if ending.is_some() {
            self.subscriber.take_back();
        }
        if !self.subscriber.is_live() {
            return Poll::Ready(Next::Pull);
        }
        self.timer.as_mut().poll(cx).map(|()| Next::Look)
    }

    /// When the next heartbeat is due, or the credential expires.
    fn due(&self) -> Instant {
        let wait = self.live.snapshot().config.limits.ping_interval.min(self.principal.lasts());
        // One millisecond is the timer's resolution.
        Instant::now() + wait + Duration::from_millis(1)
    }

    /// Takes one step towards the head; `None` if there was nothing to tell.
    async fn pull(&mut self) -> Result<Option<Bytes>, Close> {
        let Some((step, pulled)) = delivery::next(&self.live, &mut self.subscriber, &Sse, CHUNK).await? else {
            if let Some(close) = self.subscriber.connection().ending() {
                return Err(close);
            }
            self.subscriber.join();
            return Ok(None);
        };
        let (chunk, sent) = match step {
            Step::Send(frames) => (frames.batch().map(|batch| batch.bytes().clone()), frames.sendable),
            Step::Evaluate(mark) => (self.evaluate(&mark)?, 1),
        };
        delivery::settle(&self.live, &mut self.subscriber, pulled, sent);
        Ok(chunk)
    }

    /// What a mark in the log has to tell.
    fn evaluate(&mut self, mark: &Mark) -> Result<Option<Bytes>, Close> {
        let notices = self.judge(Some(mark))?;
        let mut chunk = BytesMut::new();
        self.tell(&notices, &mut chunk)?;
        Ok((!chunk.is_empty()).then(|| chunk.freeze()))
    }

    /// Re-evaluates everything under the newest configuration; returns what to tell.
    fn judge(&mut self, mark: Option<&Mark>) -> Result<Vec<Notice>, Close> {
        let snapshot = self.live.snapshot();
        let registration = self.seat.as_deref().map(|seat| &*seat.registration);
        self.principal = evaluate::renew(&snapshot, registration, &self.principal)?;
        // The credential may now expire sooner.
        let due = self.due().min(self.timer.deadline());
        self.timer.as_mut().reset(due);
        Ok(evaluate::evaluate(&snapshot, &self.principal, &mut self.subscriber, mark))
    }

    /// Adds notices to the chunk, and ends a stream that has no subscription left.
    fn tell(&mut self, notices: &[Notice], chunk: &mut BytesMut) -> Result<(), Close> {
        for notice in notices {
            chunk.extend_from_slice(&Sse.notice(notice)?.unwrap_or_default());
        }
        if self.subscriber.subscriptions().len() == 0 {
            chunk.extend_from_slice(&self.end(Close::Forbidden));
        }
        Ok(())
    }

    /// The last event.
    fn end(&mut self, close: Close) -> Bytes {
        self.stage = Stage::Ended(close);
        farewell(&self.live, close)
    }
}

/// The event that tells the end of a stream.
pub fn farewell(live: &Live, close: Close) -> Bytes {
    let goaway = reconnect::goaway(close, &live.snapshot().config.limits);
    let goaway = goaway.and_then(|goaway| Sse.notice(&goaway).ok().flatten());
    goaway.unwrap_or_else(|| sse::close(close))
}

impl Drop for Events {
    fn drop(&mut self) {
        self.flow.answer_ended();
        let ended = match self.stage {
            Stage::Ended(close) => Some(close),
            _ => None,
        };
        let (by, lost) = match self.flow.has_stalled() {
            true => (EndedBy::Nobody, "nothing could be written for `limits.write_stall`"),
            false => (EndedBy::Peer, "the peer is gone"),
        };
        self.live.stats.streams_ended.count(ended.map_or(by, |_| EndedBy::Server), ended.map(Close::code));
        self.live.stats.streams.sub(1);
        let peer = self.subscriber.peer();
        info!(
            connection = %peer.connection,
            peer = %peer.address,
            principal = self.principal.name(),
            user = self.principal.user_id(),
            code = ended.map(Close::code),
            reason = ended.map_or(lost, Close::reason),
            "an event stream has ended"
        );
    }
}

/// The stream as the body that hyper polls. A body must be [`Sync`], which this one's future is not, hence the mutex;
/// it is never locked.
pub struct Chunks(Mutex<BoxStream<'static, Bytes>>);

impl Chunks {
    /// The chunks of a stream.
    pub fn new(events: Events) -> Self {
        let chunks = unfold(events, |mut events| async move { events.next().await.map(|chunk| (chunk, events)) });
        Self(Mutex::new(chunks.boxed()))
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunks = self.get_mut().0.get_mut().unwrap_or_else(PoisonError::into_inner);
        chunks.poll_next_unpin(cx).map(|chunk| chunk.map(Ok))
    }
}
