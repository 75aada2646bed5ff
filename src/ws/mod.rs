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

use secrecy::{ExposeSecret, SecretString};
use tracing::debug;

use crate::close::Close;
use crate::hub::connection::Io;
use crate::hub::peer::Peer;
use crate::live::Live;
use crate::notice::Notice;
use crate::principal::Principal;
use crate::ws::ending::Ending;
use crate::ws::opening::{Opening, Upgraded};
pub use crate::ws::task::Task;

/// Opens a WebSocket; returns the task that serves it, or `None` if it has ended already.
pub async fn open(live: Arc<Live>, upgraded: Upgraded<impl Io + 'static>, opening: Opening) -> Option<Box<Task>> {
    let Opening { protocol, principal, registration, refused, peer, permit } = opening;
    let subscriber = live.hub.subscriber(upgraded.socket, protocol, Peer::new("websocket", peer));
    subscriber.hold_back(upgraded.answer);
    if live.drain.has_begun() {
        // It has missed the drain's signal to all connections.
        subscriber.connection().end(Close::Draining);
    }
    let mut task = Box::new(Task::new(live, subscriber, protocol, permit));
    let begun = match refused {
        Some(close) => Err(close.into()),
        None => task.begin(principal, registration.as_ref(), &upgraded.head),
    };
    if let Err(ending) = begun {
        task.end(ending).await;
        return None;
    }
    Some(task)
}

impl Task {
    /// Admits the caller, by its registration or its bearer, and says hello. `head` is what it sent after the request
    /// for the upgrade.
    fn begin(
        &mut self,
        bearer: Option<Arc<Principal>>,
        registration: Option<&SecretString>,
        head: &[u8],
    ) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        let limits = &snapshot.config.limits;
        if !self.live.hub.outbound.admits(limits.outbound) {
            return Err(Close::OverCapacity.into());
        }
        if let Some(id) = registration {
            let registrations = &self.live.registrations;
            let connection = self.subscriber.connection();
            let (principal, seat) = registrations.attach(id.expose_secret(), connection, &snapshot, Instant::now())?;
            self.seat = Some(Box::new(seat));
            self.become_principal(principal)?;
        } else if let Some(principal) = bearer {
            self.become_principal(principal)?;
        } else if snapshot.admits_anonymous() {
            self.subscriber.identify(&snapshot.anonymous);
            self.principal = Some(snapshot.anonymous.clone());
        } else {
            // The first message may authenticate it.
            let peer = self.subscriber.peer().address;
            let place = self.live.unauthenticated.enter(limits.unauthenticated, peer, self.subscriber.connection());
            self.place = Some(Box::new(place.ok_or(Close::OverCapacity)?));
        }
        let Peer { connection, address: peer, .. } = **self.subscriber.peer();
        let (principal, protocol) = (Principal::name_of(self.principal.as_deref()), self.protocol.name());
        debug!(%connection, %peer, principal, protocol, "a WebSocket has begun");
        self.tell(&Notice::Hello {
            connection,
            frame: limits.frame,
            subscriptions: limits.subscriptions,
            commands: limits.commands,
            generation: snapshot.generation,
        })?;
        self.take_up()?;
        self.parse(&mut head.to_vec());
        Ok(())
    }
}
