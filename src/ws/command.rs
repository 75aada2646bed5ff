//! Carries out the commands of a connection, one at a time.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use tracing::debug;

use crate::close::Close;
use crate::command::{BadCommand, Command, CommandKind};
use crate::evaluate::{self, admit};
use crate::identify::identify;
use crate::ingest::{self, Publication, Publisher};
use crate::name::{Pattern, TopicName};
use crate::notice::{After, CommandId, Notice};
use crate::principal::Principal;
use crate::problem::{Rate, Refusal};
use crate::schema::json::line_and_column;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::ws::ending::Ending;
use crate::ws::task::{Incoming, Reply, Task};

/// A connection is closed at this many messages that are not commands.
const MAX_MALFORMED: u8 = 10;
/// This many commands may wait for their `synced`, even if `limits.subscriptions` is less. A peer that keeps setting
/// its cursor back never reaches one.
const UNSYNCED: usize = 16;

impl Task {
    /// Carries out one message of the peer.
    pub(super) async fn command(&mut self, incoming: Incoming) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        if !self.vitals.admits_command(self.live.hub.clock(), snapshot.config.limits.commands) {
            return Err(Close::RateLimited(Rate::Commands).into());
        }
        let may_authenticate = std::mem::take(&mut self.may_authenticate);
        let read = match &incoming {
            Incoming::Text(text) => self.protocol.command(text),
            Incoming::Binary(bytes) => self.protocol.binary_command().ok_or(Close::UnsupportedData)?(bytes),
        };
        let Command { id, kind } = match read {
            Ok(command) => command,
            Err(bad) => return self.refuse_unread(bad),
        };
        if let CommandKind::Auth(token) = kind {
            return match may_authenticate {
                true => self.authenticate(id, &token).await,
                false => self.refuse_late_credential(id),
            };
        }
        // For a slow reader the reload's mark may be far away in the log; what it may ask for is decided now.
        self.renew(&snapshot)?;
        let principal = self.principal.clone().ok_or(Close::Unauthenticated)?;
        // The timer runs on another clock than the credential's: that may have been set, or have gone on while the
        // machine slept.
        if principal.expired(Time::now()) {
            return Err(Close::TokenExpired.into());
        }
        match kind {
            CommandKind::Auth(_) => unreachable!("it is answered above"),
            CommandKind::Subscribe(list) => self.subscribe(&snapshot, &principal, id, list),
            CommandKind::Unsubscribe(patterns) => self.unsubscribe(id, &patterns),
            CommandKind::Replace(patterns) => self.replace(&snapshot, &principal, patterns),
            CommandKind::Publish { topic, body, at, pointer } => {
                let place = |refusal| placed(refusal, pointer, line_and_column(incoming.as_bytes(), at));
                self.publish(snapshot, &principal, id, (topic, body), place).await
            }
            CommandKind::Ping => self.tell(&Notice::Pong { id }),
            CommandKind::PingText => self.tell(&Notice::PongText),
        }
    }

    fn refuse_late_credential(&mut self, id: Option<CommandId>) -> Result<(), Ending> {
        let is_somebody = self.seat.is_some() || self.principal.as_ref().is_some_and(|p| p.token.is_some());
        let why = match is_somebody {
            true => "this connection is already authenticated: reconnect to use another token",
            false => "`auth` must be the first message: reconnect to send it",
        };
        self.refuse(id, Refusal::BadRequest(why.into()))
    }

    /// Holds a notice back, to leave in one write with what is pulled next.
    fn tell_with_next(&mut self, notice: &Notice) -> Result<(), Ending> {
        if let Some(bytes) = self.protocol.notice(notice)? {
            self.subscriber.hold_back(bytes);
            self.reply = Reply::GoesWithNext;
        }
        Ok(())
    }

    fn refuse_unread(&mut self, bad: BadCommand) -> Result<(), Ending> {
        self.malformed += u8::from(bad.malformed);
        self.refuse(bad.id, *bad.refusal)?;
        if self.malformed >= MAX_MALFORMED { Err(Close::TooManyMalformed.into()) } else { Ok(()) }
    }

    fn refuse(&mut self, id: Option<CommandId>, refusal: Refusal) -> Result<(), Ending> {
        debug!(connection = %self.subscriber.peer().connection, problem = refusal.slug(), "a command was refused");
        let refusal = match refusal {
            // Advice to send a header is no use on an open connection.
            Refusal::Anonymous { topics, .. } => Refusal::Anonymous { topics, open: true },
            refusal => refusal,
        };
        self.tell(&Notice::Error { id, refusal })
    }

    fn refuse_subscription(
        &mut self,
        id: Option<CommandId>,
        principal: &Principal,
        refusal: Refusal,
    ) -> Result<(), Ending> {
        evaluate::refused(
            &self.live,
            principal,
            self.subscriber.peer().address,
            Some(self.subscriber.peer().connection),
            &refusal,
        );
        self.refuse(id, refusal)
    }

    async fn authenticate(&mut self, id: Option<CommandId>, token: &SecretString) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        match identify(&snapshot, &self.live.failures, Some(token.expose_secret()), self.subscriber.peer().address)
            .await
        {
            Ok(principal) => {
                debug!(connection = %self.subscriber.peer().connection, principal = principal.name(), "a WebSocket was authenticated");
                self.become_principal(principal)?;
                self.tell(&Notice::Ok { id, message: None })
            }
            Err(refusal) => Err(Close::from(&refusal).into()),
        }
    }

    pub(super) fn subscribe(
        &mut self,
        snapshot: &Snapshot,
        principal: &Principal,
        id: Option<CommandId>,
        list: Vec<(Pattern, After)>,
    ) -> Result<(), Ending> {
        let asked: HashSet<&Pattern> = list.iter().map(|(pattern, _)| pattern).collect();
        let others = self.subscriber.subscriptions().filter(|pattern| !asked.contains(pattern)).count();
        let total = others + asked.len();
        if let Err(refusal) = may_subscribe(snapshot, principal, list.iter().map(|(pattern, _)| pattern), total) {
            return self.refuse_subscription(id, principal, refusal);
        }
        let most = snapshot.config.limits.subscriptions.max(UNSYNCED);
        if self.subscriber.unsynced() >= most {
            return self.refuse_subscription(id, principal, Refusal::TooManyUnsynced { most });
        }
        debug!(connection = %self.subscriber.peer().connection, topics = ?list, "subscribed");
        let head = self.subscriber.subscribe(list);
        self.subscriber.tell_synced(head, id.clone());
        // Only now that no shard can write a message of the subscription before the answer. It leaves in one write with
        // the first of them.
        self.tell_with_next(&Notice::Ok { id, message: None })?;
        self.evaluate_again()
    }

    fn unsubscribe(&mut self, id: Option<CommandId>, patterns: &[Pattern]) -> Result<(), Ending> {
        let standing: HashSet<&Pattern> = self.subscriber.subscriptions().collect();
        if let Some(other) = patterns.iter().find(|pattern| !standing.contains(pattern)) {
            return self.refuse(id, Refusal::BadRequest(format!("not subscribed to `{other}`")));
        }
        debug!(connection = %self.subscriber.peer().connection, topics = ?patterns, "unsubscribed");
        self.subscriber.unsubscribe(patterns);
        self.tell(&Notice::Ok { id, message: None })
    }

    /// Subscriptions that stay go on as they were; new ones are live.
    fn replace(&mut self, snapshot: &Snapshot, principal: &Principal, patterns: Vec<Pattern>) -> Result<(), Ending> {
        if let Err(refusal) = may_subscribe(snapshot, principal, patterns.iter(), patterns.len()) {
            return self.refuse_subscription(None, principal, refusal);
        }
        debug!(connection = %self.subscriber.peer().connection, topics = ?patterns, "the subscriptions were replaced");
        let (gone, new) = {
            let asked: HashSet<&Pattern> = patterns.iter().collect();
            let standing: HashSet<&Pattern> = self.subscriber.subscriptions().collect();
            let gone: Vec<Pattern> = standing.iter().filter(|p| !asked.contains(*p)).map(|p| (*p).clone()).collect();
            let new = patterns.iter().filter(|p| !standing.contains(p));
            (gone, new.map(|pattern| (pattern.clone(), After::Live)).collect())
        };
        if !gone.is_empty() {
            self.subscriber.unsubscribe(&gone);
        }
        self.subscriber.subscribe(new);
        self.tell(&Notice::Ok { id: None, message: None })?;
        self.evaluate_again()
    }

    async fn publish(
        &mut self,
        snapshot: Arc<Snapshot>,
        principal: &Principal,
        id: Option<CommandId>,
        (topic, body): (TopicName, Box<str>),
        place: impl FnOnce(Refusal) -> Refusal,
    ) -> Result<(), Ending> {
        let publication = Publication { topic, user: None, body: Bytes::from(String::from(body)), key: None };
        let publisher = Publisher { principal, peer: self.subscriber.peer().address };
        match ingest::publish(&self.live, snapshot, publisher, &publication).await {
            Ok(message) => self.tell(&Notice::Ok { id, message: Some(message) }),
            Err(refusal) => self.refuse(id, place(refusal)),
        }
    }
}

/// Gives the place of a fault in a payload as its place in the command.
fn placed(refusal: Refusal, payload: &str, start: (usize, usize)) -> Refusal {
    match refusal {
        // The command may have such a member too.
        Refusal::DuplicateKey { pointer } => Refusal::DuplicateKey { pointer: format!("{payload}{pointer}") },
        other => other.placed(start),
    }
}

/// Whether these may be subscribed to; `total` counts them and the subscriptions that stay.
fn may_subscribe<'a>(
    snapshot: &Snapshot,
    principal: &Principal,
    mut patterns: impl Iterator<Item = &'a Pattern>,
    total: usize,
) -> Result<(), Refusal> {
    let most = snapshot.config.limits.subscriptions;
    if total > most {
        return Err(Refusal::TooMany { what: "the list of subscriptions", limit: "subscriptions", most });
    }
    patterns.try_for_each(|pattern| admit(snapshot, principal, pattern))
}
