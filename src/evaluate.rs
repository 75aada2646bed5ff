//! What a subscriber may follow, and what a reload changes for it at the reload's mark in the log.
//!
//! It is the same for every transport.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use tracing::{field, info};
use uuid::Uuid;

use crate::close::Close;
use crate::hub::entry::Mark;
use crate::hub::subscriber::Subscriber;
use crate::live::Live;
use crate::message::Position;
use crate::name::Pattern;
use crate::notice::{Notice, UnsubscribedReason};
use crate::principal::{Action, Principal, authorize};
use crate::problem::Refusal;
use crate::registrations::Registration;
use crate::snapshot::Snapshot;
use crate::time::Time;

/// Up to this many changed names of a wildcard are told one by one. More are told as the wildcard itself, because
/// notices take memory while their reader does not read.
const TOLD_BY_NAME: usize = 16;

/// Whether the principal may subscribe to this pattern, and the topic exists if it is exact.
///
/// # Errors
/// 401, 403 or 404.
pub fn admit(snapshot: &Snapshot, principal: &Principal, pattern: &Pattern) -> Result<(), Refusal> {
    if !authorize(principal, Action::Subscribe, pattern) {
        return Err(Refusal::denied(principal, Action::Subscribe, pattern));
    }
    match pattern.exact() {
        Some(topic) if snapshot.resolve(&topic).is_none() => Err(undeclared(snapshot, principal, topic.to_string())),
        _ => Ok(()),
    }
}

/// Counts and logs a refused subscription; `connection` is the id of a WebSocket.
pub fn refused(live: &Live, principal: &Principal, peer: IpAddr, connection: Option<Uuid>, refusal: &Refusal) {
    live.stats.subscribe_refused.count(refusal);
    let (topic, principal) = (refusal.topics(), principal.name());
    let connection = connection.map(field::display);
    info!(problem = refusal.slug(), topic, principal, %peer, connection, "a subscription was refused");
}

/// The refusal of a subscription to an undeclared topic, which names the topic probably meant.
pub fn undeclared(snapshot: &Snapshot, principal: &Principal, topic: String) -> Refusal {
    let near = snapshot.nearest_usable(principal, Action::Subscribe, &topic);
    Refusal::UnknownTopic { topic, near }
}

/// Why a subscription ends under this configuration, if it does.
fn lost(snapshot: &Snapshot, principal: &Principal, pattern: &Pattern) -> Option<UnsubscribedReason> {
    if pattern.exact().is_some_and(|topic| snapshot.resolve(&topic).is_none()) {
        return Some(UnsubscribedReason::TopicRemoved);
    }
    (!authorize(principal, Action::Subscribe, pattern)).then_some(UnsubscribedReason::Forbidden)
}

/// Divides topics into those that can be followed now and the others.
///
/// A connection that begins by a registration is told of the others as if it had lost them while connected.
#[derive(Default)]
pub struct Remaining {
    /// Those that can be followed.
    pub kept: Vec<Pattern>,
    /// Those that cannot any more, and why.
    pub gone: Vec<(Pattern, UnsubscribedReason)>,
}

impl Remaining {
    /// Divides these topics under this configuration.
    pub fn new(snapshot: &Snapshot, principal: &Principal, topics: &[Pattern]) -> Self {
        let mut remaining = Self::default();
        for topics in topics {
            match lost(snapshot, principal, topics) {
                None => remaining.kept.push(topics.clone()),
                Some(reason) => remaining.gone.push((topics.clone(), reason)),
            }
        }
        remaining
    }

    /// The notices about the lost topics, for a subscriber at this position.
    pub fn told(&self, position: Position) -> impl Iterator<Item = Notice> {
        let notice = move |(topics, reason): &(Pattern, UnsubscribedReason)| Notice::Unsubscribed {
            topics: topics.clone(),
            reason: *reason,
            position,
        };
        self.gone.iter().map(notice)
    }
}

/// The present form of a principal under this configuration.
///
/// # Errors
/// The close for its connection: its token is gone, changed or expired.
pub fn renew(
    snapshot: &Snapshot,
    registration: Option<&Registration>,
    principal: &Principal,
) -> Result<Arc<Principal>, Close> {
    match registration {
        Some(registration) => registration.principal(snapshot, Time::now()),
        None => snapshot.renew(principal).ok_or(Close::TokenRevoked),
    }
}

/// The subscriptions whose topic the reload of a mark took away although a later one has declared it again. Both may be
/// in force when a reader comes to the mark, and the topic's schema may be another one.
fn came_back(snapshot: &Snapshot, subscriber: &Subscriber, mark: &Mark) -> HashSet<Pattern> {
    if mark.removed.is_empty() {
        return HashSet::new();
    }
    let stood = |topic| snapshot.topics.matching(&topic).any(|rules| rules.since <= mark.first);
    let was_away =
        |pattern: &&Pattern| !mark.removed.overlapping(pattern, 1).is_empty() && !pattern.exact().is_none_or(stood);
    subscriber.made_before(mark.generation).filter(was_away).cloned().collect()
}

/// Ends subscriptions that are lost; returns the notices about them, and about those that the mark says have changed.
pub fn evaluate(
    snapshot: &Snapshot,
    principal: &Principal,
    subscriber: &mut Subscriber,
    mark: Option<&Mark>,
) -> Vec<Notice> {
    let position = subscriber.position();
    let patterns: Vec<Pattern> = subscriber.subscriptions().cloned().collect();
    let mut remaining = Remaining::new(snapshot, principal, &patterns);
    if let Some(mark) = mark {
        let came_back = came_back(snapshot, subscriber, mark);
        let ended = remaining.kept.extract_if(.., |pattern| came_back.contains(pattern));
        remaining.gone.extend(ended.map(|pattern| (pattern, UnsubscribedReason::TopicRemoved)));
    }
    let mut notices: Vec<Notice> = remaining.told(position).collect();
    if !remaining.gone.is_empty() {
        let gone: Vec<Pattern> = remaining.gone.into_iter().map(|(topics, _)| topics).collect();
        subscriber.unsubscribe(&gone);
    }
    let Some(mark) = mark else { return notices };
    for pattern in &remaining.kept {
        let changed = mark.changed.overlapping(pattern, TOLD_BY_NAME + 1);
        // A changed family or topic is told only to patterns that reach one of its topics.
        let changed: Vec<_> = match changed.len() {
            ..=TOLD_BY_NAME => {
                changed.into_iter().filter(|changed| snapshot.reached(pattern, changed, mark.first)).collect()
            }
            _ => changed,
        };
        // A wildcard is told which of its names have changed.
        let told = if changed.is_empty() {
            Vec::new()
        } else if pattern.is_exact() || changed.len() > TOLD_BY_NAME {
            vec![pattern]
        } else {
            changed
        };
        for topics in told {
            notices.push(Notice::TopicChanged { topics: topics.clone(), generation: mark.generation });
        }
    }
    notices
}
