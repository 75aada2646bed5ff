//! The one way into the log: authorise, validate, append.
//!
//! Each publication is judged against one snapshot. If a reload commits between the judgement and the append, the
//! publication is judged again, and appended behind that reload's mark. So every message before a `topic_changed`
//! notice has the old shape and every message after it the new one, and nobody publishes after the mark with a grant
//! that the reload took away.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{info, warn};

use crate::appending::Entry;
use crate::fuse::Fuse;
use crate::judging::{Turn, Unaccepted};
use crate::live::Live;
use crate::message::Position;
use crate::name::{Pattern, TopicName, UserId};
use crate::plugin::{Draft, IdempotencyKey, Receipt, StoreError};
use crate::principal::{Action, Principal, authorize_topic};
use crate::problem::Refusal;
use crate::rates::{Whose, network};
use crate::schema::json::{self, Json};
use crate::schema::{Payload, Refused};
use crate::shadow::Shadow;
use crate::snapshot::{Snapshot, TopicRules};

/// One message to publish.
#[derive(Clone)]
pub struct Publication {
    /// The concrete topic to publish to.
    pub topic: TopicName,
    /// The only user whose connections receive it; everybody when `None`.
    pub user: Option<UserId>,
    /// The JSON text, as it arrived.
    pub body: Bytes,
    /// The idempotency key: chosen by the publisher, so that a retry does not publish twice.
    pub key: Option<Box<str>>,
}

/// Who publishes.
#[derive(Clone, Copy)]
pub struct Publisher<'a> {
    /// What it may do.
    pub principal: &'a Principal,
    /// Its address on the network.
    pub peer: IpAddr,
}

/// Publishes one message and returns its id.
///
/// It is judged first by `snapshot`, and again by a newer one if a reload intervenes.
///
/// # Errors
/// Why it was refused; nothing was appended.
pub async fn publish(
    live: &Live,
    snapshot: Arc<Snapshot>,
    publisher: Publisher<'_>,
    publication: &Publication,
) -> Result<Position, Refusal> {
    let published = publish_batch(live, snapshot, publisher, std::slice::from_ref(publication), None).await;
    match published.map_err(|refusal| meant(live, publisher.principal, refusal.only()))?.first() {
        Some(receipt) => Ok(Position { epoch: live.hub.epoch(), seq: receipt.seq }),
        None => Err(live.internal("a store answered nothing")),
    }
}

/// Publishes all of these, adjacent in the log, or none; returns their receipts.
///
/// `turn` is a permission to judge them that the caller has already; without it they wait for one here.
///
/// # Errors
/// [`Refusal::Batch`] with every refused item, or the refusal of the batch as a whole; nothing was appended.
pub async fn publish_batch<'l>(
    live: &'l Live,
    snapshot: Arc<Snapshot>,
    publisher: Publisher<'_>,
    publications: &[Publication],
    turn: Option<Turn<'l>>,
) -> Result<Vec<Receipt>, Refusal> {
    let began = Instant::now();
    let mut result = match within_rate(live, &snapshot, publisher, publications.len()) {
        Ok(()) => publish_all(live, snapshot, publisher.principal, publications, turn).await,
        Err(refusal) => Err(refusal),
    };
    match &mut result {
        Ok(published) => {
            published.try_all(live).await;
            live.stats.publish.observe(began.elapsed());
        }
        Err(refusal) => {
            let topic = |index: usize| publications.get(index).map(|publication| &publication.topic);
            match refusal {
                Refusal::Batch(items) => items.iter().for_each(|(i, refusal)| count_refused(live, topic(*i), refusal)),
                // A refusal of the whole batch counts for no topic, unless the batch is a single message.
                _ => count_refused(live, topic(0).filter(|_| publications.len() == 1), refusal),
            }
            log_refused(topic(refusal.first_index()), Some(publisher.principal), publisher.peer, refusal);
        }
    }
    result.map(|published| published.receipts)
}

/// Counts and logs a publish that was refused before its message was judged.
///
/// `topic` and `principal` are given as far as they are known.
pub fn refused_early(
    live: &Live,
    topic: Option<&TopicName>,
    principal: Option<&Principal>,
    peer: IpAddr,
    refusal: &Refusal,
) {
    count_refused(live, topic, refusal);
    log_refused(topic, principal, peer, refusal);
}

/// The one log line of a refused publish.
fn log_refused(topic: Option<&TopicName>, principal: Option<&Principal>, peer: IpAddr, refusal: &Refusal) {
    let topic = topic.map_or("", TopicName::as_str);
    let principal = Principal::name_of(principal);
    let items = match refusal {
        Refusal::Batch(items) => items.len(),
        _ => 1,
    };
    let (keyword, schema_pointer) = refusal.rule().unzip();
    let (problem, cause) = (refusal.slug(), refusal.cause());
    info!(problem, cause, topic, principal, %peer, items, keyword, schema_pointer, "a publish was refused");
}

/// Counts a refused publish, under its topic if that is declared.
fn count_refused(live: &Live, topic: Option<&TopicName>, refusal: &Refusal) {
    match topic.and_then(|topic| live.snapshot().resolve(topic).cloned()) {
        Some(rules) => rules.topic.refused.count(refusal),
        None => live.stats.refused.count(refusal),
    }
}

async fn publish_all<'l>(
    live: &'l Live,
    mut snapshot: Arc<Snapshot>,
    principal: &Principal,
    publications: &[Publication],
    turn: Option<Turn<'l>>,
) -> Result<Published<'l>, Refusal> {
    let mut turn = match turn {
        Some(turn) => turn,
        None => live.judging.turn(publications.iter().map(|publication| publication.body.len()).sum()).await?,
    };
    loop {
        let judge = |turn: &Turn<'_>| judge_all(turn, &snapshot, principal, publications);
        let Judged { drafts, tried } = live.judging.judge(&mut turn, judge).await?;
        match live.appending.enter(snapshot.generation).await {
            // While the ticket lives, a reload waits before it puts its mark into the log.
            Entry::In(_ticket) => {
                let receipts = append(live, drafts).await?;
                return Ok(Published { receipts, tried, budget: snapshot.config.limits.validation_budget, turn });
            }
            Entry::Sealed => return Err(Refusal::Draining),
            Entry::Outdated => snapshot = live.snapshot(),
        }
    }
}

fn within_rate(live: &Live, snapshot: &Snapshot, publisher: Publisher<'_>, publications: usize) -> Result<(), Refusal> {
    let Some(limit) = snapshot.config.limits.publish_rate else { return Ok(()) };
    let whose = match &publisher.principal.token {
        Some(token) => Whose::Token(token.clone()),
        None => Whose::Network(network(publisher.peer)),
    };
    live.rates.publish(whose, publications, limit)
}

/// Messages that are in the log.
struct Published<'l> {
    receipts: Vec<Receipt>,
    /// See [`Judged::tried`].
    tried: Vec<(usize, Arc<Shadow>, Payload)>,
    budget: Duration,
    turn: Turn<'l>,
}

/// Publications that their schemas accept, ready to append.
struct Judged {
    drafts: Vec<Draft>,
    /// For each draft whose topic has a `schema_next`: the draft's index, that schema, and the payload to try it on.
    tried: Vec<(usize, Arc<Shadow>, Payload)>,
}

fn judge_all(
    turn: &Turn<'_>,
    snapshot: &Snapshot,
    principal: &Principal,
    items: &[Publication],
) -> Result<Judged, Unaccepted> {
    let mut judged = Judged { drafts: Vec::with_capacity(items.len()), tried: Vec::new() };
    let mut refused = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match judge_in(turn, snapshot, principal, item) {
            Ok((payload, rules)) if refused.is_empty() => {
                if let Some(shadow) = &rules.shadow {
                    judged.tried.push((index, shadow.clone(), payload.clone()));
                }
                let key = item.key.clone().zip(principal.token.clone());
                let key = key.map(|(key, principal)| IdempotencyKey { principal, key: key.into() });
                judged.drafts.push(Draft { topic: item.topic.clone(), user: item.user.clone(), payload, key });
            }
            Ok(_) => {}
            Err(Unaccepted::Refused(refusal)) => refused.push((index, refusal)),
            Err(Unaccepted::Slow) => return Err(Unaccepted::Slow),
        }
    }
    if refused.is_empty() { Ok(judged) } else { Err(Refusal::Batch(refused).into()) }
}

/// Says whether a publication would be accepted now.
///
/// It costs as much as a publish, and counts as one against the publish rate.
///
/// # Errors
/// Why it would be refused.
pub async fn validate(
    live: &Live,
    snapshot: &Snapshot,
    publisher: Publisher<'_>,
    publication: &Publication,
) -> Result<(), Refusal> {
    within_rate(live, snapshot, publisher, 1)?;
    let mut turn = live.judging.turn(publication.body.len()).await?;
    let judge = |turn: &Turn<'_>| judge_in(turn, snapshot, publisher.principal, publication).map(|_| ());
    let judged = live.judging.judge(&mut turn, judge).await;
    judged.map_err(|refusal| meant(live, publisher.principal, refusal))
}

/// Adds the topic that was probably meant, in a batch only to the first item with an unknown topic: each takes a search.
pub fn meant(live: &Live, principal: &Principal, mut refusal: Refusal) -> Refusal {
    let is_unknown = |refusal: &&mut Refusal| matches!(refusal, Refusal::UnknownTopic { .. });
    let first = match &mut refusal {
        Refusal::Batch(items) => items.iter_mut().map(|(_, item)| item).find(is_unknown),
        single => Some(single),
    };
    if let Some(Refusal::UnknownTopic { topic, near }) = first {
        *near = live.snapshot().nearest_usable(principal, Action::Publish, topic);
    }
    refusal
}

/// Authorises and validates one publication without appending it, and counts nothing.
///
/// # Errors
/// Why it would be refused.
pub fn judge<'s>(
    snapshot: &'s Snapshot,
    principal: &Principal,
    publication: &Publication,
) -> Result<(Payload, &'s TopicRules), Refusal> {
    let rules = admit(snapshot, principal, &publication.topic)?;
    Ok((accept(snapshot, principal, rules, publication)?, rules))
}

/// Like [`judge`], but does not begin in a turn at once what may take long.
fn judge_in<'s>(
    turn: &Turn<'_>,
    snapshot: &'s Snapshot,
    principal: &Principal,
    publication: &Publication,
) -> Result<(Payload, &'s TopicRules), Unaccepted> {
    let rules = admit(snapshot, principal, &publication.topic)?;
    if turn.is_at_once() && rules.fuse.may_be_slow(Instant::now) {
        return Err(Unaccepted::Slow);
    }
    Ok((accept(snapshot, principal, rules, publication)?, rules))
}

fn accept(
    snapshot: &Snapshot,
    principal: &Principal,
    rules: &TopicRules,
    publication: &Publication,
) -> Result<Payload, Refusal> {
    if publication.key.is_some() && principal.token.is_none() {
        return Err(Refusal::BadRequest(
            "anonymous callers cannot use idempotency keys: send a token, or omit the key".into(),
        ));
    }
    let most = snapshot.config.limits.body;
    if publication.body.len() > most {
        return Err(Refusal::TooLarge { what: "the message", limit: "body", bytes: most });
    }
    let json = json::parse(&publication.body, snapshot.config.limits.json_depth)?;
    apply_schema(snapshot, rules, json)?.map_err(|Refused { violations, more }| Refusal::ValidationFailed {
        topic: publication.topic.to_string(),
        violations,
        more,
    })
}

/// Judges by the topic's schema, unless the topic's fuse has blown because validation was too slow too often.
fn apply_schema(snapshot: &Snapshot, rules: &TopicRules, json: Json<'_>) -> Result<Result<Payload, Refused>, Refusal> {
    let timed = timed(&rules.fuse, snapshot.config.limits.validation_budget, || rules.schema.accept(json));
    let (result, blown) = timed.map_err(|retry_after| Refusal::Overloaded {
        what: "validating messages of this topic repeatedly took longer than `limits.validation_budget`",
        retry_after,
    })?;
    if let Some(took) = blown {
        let (topic, took_ms) = (rules.topic.name.as_str(), took.as_millis());
        warn!(topic, took_ms, "validation keeps exceeding its budget; publishes to this topic are refused for a while");
    }
    Ok(result)
}

/// Runs work that a fuse guards. Returns its result and, if that has blown the fuse, how long it took.
///
/// # Errors
/// How long to wait before trying again, while the fuse is blown.
fn timed<T>(fuse: &Fuse, budget: Duration, work: impl FnOnce() -> T) -> Result<(T, Option<Duration>), Duration> {
    let began = Instant::now();
    let how = fuse.admit(began)?;
    let result = work();
    let ended = Instant::now();
    let took = ended - began;
    Ok((result, fuse.note(how, took, budget, ended).then_some(took)))
}

fn admit<'s>(snapshot: &'s Snapshot, principal: &Principal, topic: &TopicName) -> Result<&'s TopicRules, Refusal> {
    // A connection may have been admitted under an earlier configuration, so both the grants of then and those of now
    // must cover the publish. The present grants alone are not enough: a registered connection may have fewer than its
    // token.
    let now = snapshot.renew(principal).ok_or(Refusal::Unauthenticated { wrong: true })?;
    let may = |principal: &Principal| authorize_topic(principal, Action::Publish, topic);
    // Usually both are the same principal.
    if !may(&now) || !(std::ptr::eq(principal, &*now) || may(principal)) {
        return Err(Refusal::denied(principal, Action::Publish, &Pattern::from(topic)));
    }
    let rules = snapshot.resolve(topic).map(|rules| &**rules);
    rules.ok_or_else(|| Refusal::UnknownTopic { topic: topic.to_string(), near: None })
}

impl<'l> Published<'l> {
    /// Tries each payload on its topic's `schema_next`, unless that schema's fuse has blown or it is slow and no turn
    /// comes in time.
    async fn try_all(&mut self, live: &'l Live) {
        for (index, shadow, payload) in &self.tried {
            if self.receipts.get(*index).is_none_or(|receipt| receipt.duplicate) {
                continue;
            }
            if self.turn.is_at_once() && shadow.fuse.may_be_slow(Instant::now) {
                match live.judging.aside().await {
                    Ok(turn) => self.turn = turn,
                    Err(_) => return,
                }
            }
            let observe = AssertUnwindSafe(|| shadow.observe(payload));
            // The message is already in the log, so its publisher gets its receipt even if this panics. The panic hook
            // has logged it.
            let observed = self.turn.take(|| timed(&shadow.fuse, self.budget, || catch_unwind(observe)));
            if let Ok((_, Some(took))) = observed {
                let (schema, took_ms) = (shadow.schema.file(), took.as_millis());
                warn!(
                    schema,
                    took_ms, "validating against `schema_next` keeps exceeding its budget; it is paused for a while"
                );
            }
        }
    }
}

async fn append(live: &Live, drafts: Vec<Draft>) -> Result<Vec<Receipt>, Refusal> {
    live.hub.store().append(drafts).await.map_err(|error| match error {
        StoreError::KeyReused(i) => Refusal::Batch(vec![(i, Refusal::IdempotencyKeyReused)]),
        StoreError::KeyInFlight(i) => Refusal::Batch(vec![(i, Refusal::IdempotencyInFlight)]),
        StoreError::FamilyFull(i) => Refusal::Batch(vec![(
            i,
            Refusal::Overloaded {
                what: "the topic's family has as many concrete topics as `limits.family_topics` allows",
                retry_after: Duration::from_secs(60),
            },
        )]),
        StoreError::Unavailable(cause) => live.internal(&format!("the store could not append: {cause}")),
    })
}
