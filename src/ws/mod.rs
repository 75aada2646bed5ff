//! WebSocket connections: one task for each, which reads its commands, answers them, and serves it while it is behind.
//!
//! What a message looks like is the protocol's business and who gets it the hub's.

mod command;
mod ending;
mod evaluate;
pub mod opening;
mod pump;
mod task;
mod vitals;

use std::sync::Arc;
use std::time::Instant;

use secrecy::ExposeSecret;

use crate::close::Close;
use crate::hub::connection::{Connection, Io};
use crate::hub::peer::Peer;
use crate::identify::identify;
use crate::live::Live;
use crate::ws::opening::{Opening, Upgraded};
use crate::ws::task::Caller;
pub use crate::ws::task::Task;

/// Opens one WebSocket: what comes back serves it; `None` where it has ended already.
pub async fn open(live: Arc<Live>, upgraded: Upgraded<impl Io + 'static>, opening: Opening) -> Option<Box<Task>> {
    let subscriber = live.hub.subscriber(upgraded.socket, opening.protocol, Peer::new("websocket", opening.peer));
    subscriber.hold_back(upgraded.answer);
    let caller = if !live.hub.outbound.admits(live.snapshot().config.limits.outbound) {
        Err(Close::OverCapacity)
    } else if let Some(close) = opening.refused {
        Err(close)
    } else {
        Box::pin(who(&live, &opening, subscriber.connection())).await
    };
    if live.drain.has_begun() {
        // Too late for the word that went to everybody.
        subscriber.connection().end(Close::Draining);
    }
    let mut task = Box::new(Task::new(live, subscriber, opening.protocol, opening.permit));
    if let Err(ending) = task.begin(caller, &upgraded.head) {
        task.end(ending).await;
        return None;
    }
    Some(task)
}

/// Who the connection is as far as the upgrade tells: by its registration, by its bearer, or not yet.
async fn who(live: &Live, opening: &Opening, connection: &Arc<Connection>) -> Result<Caller, Close> {
    let snapshot = live.snapshot();
    // Also beside a registration: a wrong credential is refused wherever it is shown.
    let known = match &opening.bearer {
        Some(bearer) => {
            let known = identify(&snapshot, &live.failures, Some(bearer.expose_secret()), opening.peer).await;
            Some(known.map_err(|refusal| Close::from(&refusal))?)
        }
        None => None,
    };
    if let Some(id) = &opening.registration {
        let (principal, seat) = live.registrations.attach(id.expose_secret(), connection, &snapshot, Instant::now())?;
        return Ok(Caller::Registered(principal, Box::new(seat)));
    }
    Ok(known.map_or(Caller::Unknown, Caller::Known))
}
