//! `GET /connections` of the admin listener: the subscribers, their subscriptions, and how far they are behind.

use std::cmp::Reverse;

use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::reply::Response;

use crate::http::answer;
use crate::http::call::Call;
use crate::http::query::{self, Params};
use crate::hub::members::Member;
use crate::message::Seq;
use crate::problem::Refusal;

/// Most topics that are named for each.
const TOPICS: usize = 100;

/// The subscribers that match `topic`, `principal` and `user`, as far as these are given.
///
/// The furthest behind come first, and among those at the same place the ones that hold the most.
///
/// # Errors
/// 400
pub fn show(call: &Call) -> Result<Response, Refusal> {
    let query = Params::parse(&call.uri, &["topic", "principal", "user", "limit"])?;
    let topics = query.one("topic")?.map(query::topics).transpose()?;
    let (principal, user) = (query.one("principal")?, query.one("user")?);
    let limit = query.limit()?;
    let is_meant = |member: &Member| {
        topics.as_ref().is_none_or(|topics| member.subscriptions.iter().any(|own| own.overlaps(topics)))
            && principal.is_none_or(|name| member.principal_name() == name)
            && user.is_none_or(|user| member.user() == Some(user))
    };
    let hub = &call.live().hub;
    let head = hub.head().seq;
    let (mut total, mut found) = (0, Vec::new());
    hub.each_member(|member| {
        if is_meant(&member) {
            total += 1;
            found.push(Found {
                behind: head.saturating_sub(member.connection.last_position()),
                held: member.connection.held(),
                member,
            });
        }
        // Bounds memory: at most twice as many are kept as will be shown.
        if found.len() == 2 * limit {
            keep(&mut found, limit);
        }
    });
    keep(&mut found, limit);
    let connections: Vec<_> = found.iter().map(Found::to_json).collect();
    Ok(answer::json(StatusCode::OK, &json!({"total": total, "connections": connections})))
}

struct Found {
    behind: Seq,
    held: usize,
    member: Member,
}

fn keep(found: &mut Vec<Found>, limit: usize) {
    found.sort_by_key(|found| Reverse((found.behind, found.held)));
    found.truncate(limit);
}

impl Found {
    fn to_json(&self) -> Value {
        let Member { peer, subscriptions, .. } = &self.member;
        let topics: Vec<_> = subscriptions.iter().take(TOPICS).map(|topics| topics.as_str()).collect();
        json!({
            "connection": peer.connection.to_string(),
            "kind": peer.kind,
            "peer": peer.address,
            "since": peer.since.to_string(),
            "principal": self.member.principal_name(),
            "user": self.member.user(),
            "topics": topics,
            "subscriptions": subscriptions.len(),
            "behind": self.behind,
            "held_bytes": self.held,
        })
    }
}
