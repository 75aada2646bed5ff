//! `GET /history/{topic}`: what a topic, a family or a pattern retains, and by long poll what comes next.
//!
//! It uses the same cursor as every transport, pulled for the duration of one request. So positions and gaps mean the
//! same here.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use tracing::info;
use warp::http::StatusCode;
use warp::http::header::{ETAG, HeaderValue, IF_NONE_MATCH, LINK};
use warp::reply::Response;

use crate::close::Close;
use crate::delivery;
use crate::evaluate::admit;
use crate::hex::hex;
use crate::http::answer;
use crate::http::call::Call;
use crate::http::query::{self, Params};
use crate::hub::connection::NoSocket;
use crate::hub::peer::Peer;
use crate::hub::subscriber::{Item, Subscriber};
use crate::message::{Position, Seq};
use crate::name::Pattern;
use crate::notice::{After, GapReason, Notice};
use crate::plugin::Unavailable;
use crate::problem::Refusal;
use crate::protocol::sse::Sse;
use crate::protocol::written;

/// An answer ends with the message that makes it exceed this many bytes.
const MAX_BYTES: usize = 1 << 20;
/// Most gaps that are told one by one, as many as messages: a family may have one for each topic.
const MAX_GAPS: usize = 1_000;
/// Longest time that a request may wait for something new, in seconds.
const MAX_WAIT: u64 = 60;

/// What one request has gathered.
#[derive(Default)]
struct Page {
    /// JSON values, separated by commas.
    messages: Vec<u8>,
    gaps: Vec<u8>,
    told: usize,
    /// Spans the gaps beyond [`MAX_GAPS`]: their first reason, where they start and where they end.
    others: Option<(GapReason, Position, Position)>,
    count: usize,
    limit: usize,
    /// The seq that the request resumes from, if it is of this log.
    resumes: Option<Seq>,
    /// A reload took effect: the rest is left to the next request, which is judged by the new configuration.
    interrupted: bool,
}

/// `GET /history/{topic}`
pub async fn show(topic: String, call: Arc<Call>) -> Result<Response, Refusal> {
    read(&call, &topic).await.inspect_err(|refusal| {
        let (problem, topic, principal) = (refusal.slug(), refusal.topics(), call.caller_name());
        info!(problem, topic, principal, peer = %call.peer, "a request for history was refused");
    })
}

async fn read(call: &Call, topic: &str) -> Result<Response, Refusal> {
    let snapshot = &call.snapshot;
    let principal = call.caller().await?;
    let topics = query::topics(&percent_decode_str(topic).decode_utf8_lossy())?;
    admit(snapshot, principal, &topics)?;
    let query = Params::parse(&call.uri, &["after", "limit", "wait"])?;
    let after = query.after()?.unwrap_or(After::Earliest);
    let limit = query.limit()?;
    let wait = Duration::from_secs(query.number("wait", 0, MAX_WAIT)?.unwrap_or(0));
    let mut subscriber = call.live().hub.subscriber(NoSocket, &Sse, Peer::new("http", call.peer));
    subscriber.identify(principal);
    subscriber.subscribe(vec![(topics.clone(), after)]);
    // A request that began before a reload and subscribed after it gets what there is, without a wait.
    let interrupted = !call.live().is_current(snapshot);
    let wait = if interrupted { Duration::ZERO } else { wait.min(principal.lasts()) };
    let resumes = match after {
        After::Position(position) if position.epoch == call.live().hub.epoch() => Some(position.seq),
        _ => None,
    };
    let mut page = Page { limit, resumes, ..Page::default() };
    if !wait.is_zero() {
        call.link.flow.idle();
        // A timeout is fine; a store that cannot be read is not tried again.
        tokio::time::timeout(wait, page.wait(call, &mut subscriber)).await.unwrap_or(Ok(()))?;
        // Its shard may not have reached the log's end yet, and there is no next request if the server is ending.
        subscriber.take_back();
    }
    page.fill(call, &mut subscriber).await?;
    Ok(page.answer(call, &topics, subscriber.position()))
}

impl Page {
    /// Waits until there is something, or no point in waiting. Cancel-safe.
    ///
    /// A drain ends it like a stream, once everything is published: an answer before that would only be asked for
    /// again.
    async fn wait(&mut self, call: &Call, subscriber: &mut Subscriber) -> Result<(), Refusal> {
        if call.live().appending.is_sealed() {
            // It has missed the drain's signal to all connections. A store that does not answer must not hold it up.
            let patience = call.snapshot.config.limits.drain / 8;
            let _ = tokio::time::timeout(patience, call.live().appending.quiesce()).await;
            subscriber.connection().end(Close::Draining);
        }
        loop {
            self.fill(call, subscriber).await?;
            if !self.is_empty() || self.interrupted {
                return Ok(());
            }
            if !subscriber.join() {
                continue;
            }
            let ends = poll_fn(|cx| {
                subscriber.connection().register(cx);
                let ends = subscriber.connection().ending().is_some();
                if ends || !subscriber.is_live() { Poll::Ready(ends) } else { Poll::Pending }
            });
            if ends.await {
                return Ok(());
            }
        }
    }

    /// Takes what there is, up to the head or the limit.
    async fn fill(&mut self, call: &Call, subscriber: &mut Subscriber) -> Result<(), Refusal> {
        while !self.is_full() && !self.interrupted && !subscriber.is_live() {
            let room = MAX_BYTES - self.messages.len();
            let unread = |why: Unavailable| call.live().internal(&format!("the store could not be read: {why}"));
            let pulled = subscriber.pull(room).await.map_err(unread)?;
            let Some(pulled) = pulled else { return Ok(()) };
            let taken = pulled.items.iter().take_while(|(item, _)| !self.is_full() && self.take(call, item)).count();
            delivery::settle(call.live(), subscriber, pulled, taken);
            // If all of it was for others, nothing else in this loop yields to other tasks.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    fn take(&mut self, call: &Call, item: &Item) -> bool {
        match item {
            Item::Message(message) => {
                separate(&mut self.messages);
                written::put_message(&mut self.messages, call.live().hub.epoch(), &message.record);
                self.count += 1;
            }
            Item::Notice(Notice::Gap { from, to, reason, .. }) if self.told == MAX_GAPS => {
                let (reason, first, last) = self.others.unwrap_or((*reason, *from, *to));
                let first = if from.seq < first.seq { *from } else { first };
                let last = if to.seq > last.seq { *to } else { last };
                self.others = Some((reason, first, last));
            }
            Item::Notice(notice) => {
                self.tell(notice);
                self.told += 1;
            }
            Item::Mark(_) => self.interrupted = true,
        }
        !self.interrupted
    }

    fn tell(&mut self, notice: &Notice) {
        separate(&mut self.gaps);
        self.gaps.extend_from_slice(&written::notice(notice));
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.gaps.is_empty()
    }

    fn is_full(&self) -> bool {
        self.count >= self.limit || self.messages.len() >= MAX_BYTES
    }

    fn answer(mut self, call: &Call, topics: &Pattern, position: Position) -> Response {
        if let Some((reason, from, to)) = self.others {
            self.tell(&Notice::Gap { topics: topics.clone(), from, to, reason });
        }
        let mut body = Vec::with_capacity(self.messages.len() + self.gaps.len() + 80);
        for part in [&b"{\"messages\":["[..], &self.messages, b"],\"gaps\":[", &self.gaps, b"]"] {
            body.extend_from_slice(part);
        }
        // Weak, and without the position, which other topics move too: an older position means the same. The exception
        // is a poller that got nothing while messages for others passed by: its position must move on.
        let mut digest = Sha256::new_with_prefix(&body);
        if self.is_empty() && self.resumes.is_some_and(|seq| call.live().hub.others_passed(seq)) {
            digest.update(position.to_string());
        }
        let tag = hex(&digest.finalize()[..12]);
        let strong = format!("\"{tag}\"");
        let tag = format!("W/{strong}");
        let known = call.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        // Compared weakly (RFC 9110, section 13.1.2): a page that kept only the part in quotes matches too.
        let is_this = |item: &str| item == "*" || item.strip_prefix("W/").unwrap_or(item) == strong;
        let known = known.flat_map(|value| value.split(',')).any(|item| is_this(item.trim()));
        let mut response = if known {
            answer::empty(StatusCode::NOT_MODIFIED)
        } else {
            body.extend_from_slice(format!(",\"position\":\"{position}\"}}").as_bytes());
            answer::json_text(StatusCode::OK, body)
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_str(&tag).expect("hex in quotes is visible ASCII"));
        if self.is_full() {
            // Only a query, so that the path stays that which the caller sees, perhaps behind a proxy that adds a
            // prefix (RFC 3986, section 5.2.2).
            let next = format!("<?after={position}&limit={}>; rel=\"next\"", self.limit);
            headers.insert(LINK, HeaderValue::from_str(&next).expect("a position is visible ASCII"));
        }
        response
    }
}

fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.push(b',');
    }
}
