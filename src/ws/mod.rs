//! WebSocket connections: one task for each, which reads its commands, answers them, and serves it while it is behind.
//!
//! It does not know what a message looks like, which is up to the protocol, nor who gets it, which is up to the hub.

mod command;
mod ending;
mod evaluate;
mod goodbye;
pub mod opening;
mod pump;
mod run;
mod task;
mod vitals;

use std::sync::Arc;
use std::time::Instant;

use secrecy::ExposeSecret;

use crate::close::Close;
use crate::hub::connection::Io;
use crate::hub::peer::Peer;
use crate::live::Live;
use crate::ws::opening::{Opening, Upgraded};
use crate::ws::run::Caller;
pub use crate::ws::task::Task;

/// Opens a WebSocket; returns the task that serves it, or `None` if it has ended already.
pub async fn open(live: Arc<Live>, upgraded: Upgraded<impl Io + 'static>, opening: Opening) -> Option<Box<Task>> {
    let subscriber = live.hub.subscriber(upgraded.socket, opening.protocol, Peer::new("websocket", opening.peer));
    subscriber.hold_back(upgraded.answer);
    let caller = if !live.hub.outbound.admits(live.snapshot().config.limits.outbound) {
        Err(Close::OverCapacity)
    } else if let Some(close) = opening.refused {
        Err(close)
    } else if let Some(id) = &opening.registration {
        let attached =
            live.registrations.attach(id.expose_secret(), subscriber.connection(), &live.snapshot(), Instant::now());
        attached.map(|(principal, seat)| Caller::Registered(principal, Box::new(seat)))
    } else {
        Ok(opening.principal.map_or(Caller::Unknown, Caller::Known))
    };
    if live.drain.has_begun() {
        // It has missed the drain's signal to all connections.
        subscriber.connection().end(Close::Draining);
    }
    let mut task = Box::new(Task::new(live, subscriber, opening.protocol, opening.permit));
    if let Err(ending) = task.begin(caller, &upgraded.head) {
        task.end(ending).await;
        return None;
    }
    Some(task)
}
