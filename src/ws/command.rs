//! Carrying out what a connection asks, one command at a time.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use crate::close::Close;
use crate::command::{BadCommand, Command, CommandKind};
use crate::evaluate::admit;
use crate::identify::identify;
use crate::ingest::{self, Publication, Publisher};
use crate::name::{Pattern, TopicName};
use crate::notice::{After, CommandId, Notice};
use crate::problem::{Rate, Refusal};
use crate::schema::json::line_and_column;
use crate::snapshot::Snapshot;
use crate::telemetry::log_refused;
use crate::ws::ending::Ending;
use crate::ws::task::{MAX_MALFORMED, Message, Task};

/// So many commands may wait for their `synced`, whatever `limits.subscriptions` is: whoever sets his cursor back again and
/// again is never told one.
const UNSYNCED: usize = 16;

impl Task {
    /// Carries out one message of the peer.
    pub(super) async fn command(&mut self, message: Message) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        if !self.vitals.admits_command(self.live.hub.clock(), snapshot.config.limits.commands) {
            return Err(Close::RateLimited(Rate::Commands).into());
        }
        let may_authenticate = std::mem::take(&mut self.may_authenticate);
        let read = match &message {
            Message::Text(text) => self.protocol.command(text),
            Message::Binary(bytes) => self.protocol.binary_command().ok_or(Close::UnsupportedData)?(bytes),
        };
        let Command { id, kind } = match read {
            Ok(command) => command,
            Err(bad) => return self.malformed(bad),
        };
        if let CommandKind::Auth(token) = kind {
            if may_authenticate {
                return self.authenticate(id, &token).await;
            }
            let is_somebody = self.seat.is_some() || self.principal.as_ref().is_some_and(|p| p.token.is_some());
            let why = match is_somebody {
                true => "this connection is authenticated already",
                false => "`auth` must be the first message",
            };
            return self.refuse(id, Refusal::BadRequest(why.into()));
        }
        if self.principal.is_none() {
            return Err(Close::Unauthenticated.into());
        }
        // The place in the log where a reload took effect may be far away for a slow reader; what it may ask for is not.
        self.renew(&snapshot)?;
        match kind {
            CommandKind::Auth(_) => Ok(()),
            CommandKind::Subscribe(list) => self.subscribe(&snapshot, id, list),
            CommandKind::Unsubscribe(patterns) => self.unsubscribe(id, &patterns),
            CommandKind::Replace(patterns) => self.replace(&snapshot, patterns),
            CommandKind::Publish { topic, body, at } => {
                self.publish(snapshot, id, topic, body, (message.as_bytes(), at)).await
            }
            CommandKind::Ping => self.tell(&Notice::Pong { id }),
            CommandKind::PingText => self.tell(&Notice::PongText),
        }
    }

    /// Tells a notice together with what is pulled next.
    fn tell_with_next(&mut self, notice: &Notice) -> Result<(), Ending> {
        if let Some(bytes) = self.protocol.notice(notice)? {
            self.subscriber.hold_back(bytes);
            (self.answering, self.holding_back) = (true, true);
        }
        Ok(())
    }

    fn malformed(&mut self, bad: BadCommand) -> Result<(), Ending> {
        self.malformed += 1;
        self.refuse(bad.id, *bad.refusal)?;
        if self.malformed >= MAX_MALFORMED { Err(Close::TooManyMalformed.into()) } else { Ok(()) }
    }

    fn refuse(&mut self, id: Option<CommandId>, refusal: Refusal) -> Result<(), Ending> {
        let refusal = match refusal {
            // A header is no use to a connection that is open.
            Refusal::Unauthenticated { wrong: false } => Refusal::AnonymousSocket,
            refusal => refusal,
        };
        self.tell(&Notice::Error { id, refusal })
    }

    async fn authenticate(&mut self, id: Option<CommandId>, token: &SecretString) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        match identify(&snapshot, &self.live.failures, Some(token.expose_secret()), self.peer).await {
            Ok(principal) => {
                self.become_principal(principal)?;
                self.tell(&Notice::Ok { id, message: None })
            }
            Err(refusal) => Err(Close::from(&refusal).into()),
        }
    }

    fn subscribe(
        &mut self,
        snapshot: &Snapshot,
        id: Option<CommandId>,
        list: Vec<(Pattern, After)>,
    ) -> Result<(), Ending> {
        let asked: HashSet<&Pattern> = list.iter().map(|(pattern, _)| pattern).collect();
        // More than may stand are too many, whatever stands already.
        let fits = asked.len() <= snapshot.config.limits.subscriptions && {
            let others = self.subscriber.subscriptions().filter(|pattern| !asked.contains(pattern)).count();
            others + asked.len() <= snapshot.config.limits.subscriptions
        };
        if let Err(refusal) = self.may_subscribe(snapshot, list.iter().map(|(pattern, _)| pattern), fits) {
            return self.refuse(id, refusal);
        }
        let most = snapshot.config.limits.subscriptions.max(UNSYNCED);
        if self.subscriber.unsynced() >= most {
            let what = "the list of what waits for its `synced`";
            return self.refuse(id, Refusal::TooMany { what, limit: "subscriptions", most });
        }
        self.subscriber.subscribe(list, Some(id.clone()));
        // Told now that no shard can write before it what is subscribed, in one write with what comes first.
        self.tell_with_next(&Notice::Ok { id, message: None })?;
        self.judge_again()
    }

    fn unsubscribe(&mut self, id: Option<CommandId>, patterns: &[Pattern]) -> Result<(), Ending> {
        let standing: HashSet<&Pattern> = self.subscriber.subscriptions().collect();
        if let Some(other) = patterns.iter().find(|pattern| !standing.contains(pattern)) {
            return self.refuse(id, Refusal::BadRequest(format!("not subscribed to `{other}`")));
        }
        self.subscriber.unsubscribe(patterns);
        self.tell(&Notice::Ok { id, message: None })
    }

    /// What stays subscribed goes on as it was; what is new is live.
    fn replace(&mut self, snapshot: &Snapshot, patterns: Vec<Pattern>) -> Result<(), Ending> {
        let fits = patterns.len() <= snapshot.config.limits.subscriptions;
        if let Err(refusal) = self.may_subscribe(snapshot, patterns.iter(), fits) {
            return self.refuse(None, refusal);
        }
        let (gone, new) = {
            let asked: HashSet<&Pattern> = patterns.iter().collect();
            let standing: HashSet<&Pattern> = self.subscriber.subscriptions().collect();
            let gone: Vec<Pattern> = standing.iter().filter(|p| !asked.contains(*p)).map(|p| (*p).clone()).collect();
            let new = patterns.iter().filter(|p| !standing.contains(p));
            (gone, new.map(|pattern| (pattern.clone(), After::Live)).collect())
        };
        self.subscriber.unsubscribe(&gone);
        self.subscriber.subscribe(new, None);
        self.tell(&Notice::Ok { id: None, message: None })?;
        self.judge_again()
    }

    fn may_subscribe<'a>(
        &self,
        snapshot: &Snapshot,
        patterns: impl Iterator<Item = &'a Pattern>,
        fits: bool,
    ) -> Result<(), Refusal> {
        if !fits {
            let most = snapshot.config.limits.subscriptions;
            return Err(Refusal::TooMany { what: "the list of subscriptions", limit: "subscriptions", most });
        }
        let Some(principal) = self.principal.as_deref() else {
            return Err(Refusal::Unauthenticated { wrong: false });
        };
        for pattern in patterns {
            admit(snapshot, principal, pattern)?;
        }
        Ok(())
    }

    async fn publish(
        &mut self,
        snapshot: Arc<Snapshot>,
        id: Option<CommandId>,
        topic: TopicName,
        body: Box<str>,
        (command, at): (&[u8], usize),
    ) -> Result<(), Ending> {
        let Some(principal) = self.principal.clone() else { return Ok(()) };
        let publication = Publication { topic, user: None, body: Bytes::from(String::from(body)), key: None };
        let publisher = Publisher { principal: &principal, peer: self.peer };
        match ingest::publish(&self.live, snapshot, publisher, &publication).await {
            Ok(message) => self.tell(&Notice::Ok { id, message: Some(message) }),
            Err(refusal) => {
                log_refused(publication.topic.as_str(), Some(&principal), self.peer, &refusal);
                let refusal = match refusal {
                    // In the command, which may have such a member too.
                    Refusal::DuplicateKey { pointer } => Refusal::DuplicateKey { pointer: format!("/data{pointer}") },
                    other => other.placed(line_and_column(command, at)),
                };
                self.refuse(id, refusal)
            }
        }
    }
}
