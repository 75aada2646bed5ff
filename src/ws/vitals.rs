//! Signs of life, and what is due when they fail to come.
//!
//! Any inbound byte and any progress of a write is life; only a connection that shows neither is pinged. Times are
//! milliseconds of the hub's clock.

use std::time::Duration;

use crate::close::Close;
use crate::config::model::Limits;
use crate::hub::connection::Connection;
use crate::message::Time;
use crate::principal::Principal;
use crate::strangers::Stranger;

/// The signs of one connection.
pub(super) struct Vitals {
    opened: u64,
    heard: u64,
    pinged: Option<u64>,
    /// The second in which the last command came, and how many came in it.
    commands: (u64, u32),
    /// Its place among those that have not said who they are. Boxed: few have one, and none for long.
    pub(super) stranger: Option<Box<Stranger>>,
}

/// What to do.
pub(super) enum Vital {
    Well,
    Ping,
    End(Close),
    Stalled,
}

impl Vitals {
    pub(super) fn new(now: u64) -> Self {
        Self { opened: now, heard: now, pinged: None, commands: (0, 0), stranger: None }
    }

    /// A byte has arrived.
    pub(super) fn heard(&mut self, now: u64) {
        self.heard = now;
        self.pinged = None;
    }

    /// Counts a command; whether it is one of the `limit` that a second may have.
    pub(super) fn admits_command(&mut self, now: u64, limit: u32) -> bool {
        let second = now / 1_000;
        if self.commands.0 != second {
            self.commands = (second, 0);
        }
        self.commands.1 += 1;
        self.commands.1 <= limit
    }

    fn last(&self, connection: &Connection) -> u64 {
        self.heard.max(connection.progress())
    }

    /// How long until the next look.
    pub(super) fn due(
        &self,
        limits: &Limits,
        now: u64,
        connection: &Connection,
        principal: Option<&Principal>,
    ) -> Duration {
        let from = |start: u64, wait: Duration| wait.saturating_sub(Duration::from_millis(now.saturating_sub(start)));
        let last = self.last(connection);
        let mut due = match self.pinged {
            // A socket that takes nothing would not take a ping either.
            _ if connection.has_rest() => from(connection.progress().max(self.opened), limits.write_stall),
            Some(pinged) if pinged >= last => from(pinged, limits.pong_timeout),
            _ => from(last, limits.ping_interval),
        };
        if self.stranger.is_some() {
            due = due.min(from(self.opened, limits.auth_timeout));
        }
        if let Some(principal) = principal {
            due = due.min(principal.lasts());
        }
        // The timer's resolution; and a look that finds nothing must not spin.
        due + Duration::from_millis(1)
    }

    /// Looks.
    pub(super) fn look(
        &mut self,
        limits: &Limits,
        now: u64,
        connection: &Connection,
        principal: Option<&Principal>,
    ) -> Vital {
        let since = |start: u64| Duration::from_millis(now.saturating_sub(start));
        if principal.is_some_and(|p| p.expired(Time::now())) {
            return Vital::End(Close::TokenExpired);
        }
        if self.stranger.is_some() && since(self.opened) >= limits.auth_timeout {
            return Vital::End(Close::AuthTimeout);
        }
        if connection.has_rest() {
            let is_stalled = since(connection.progress().max(self.opened)) >= limits.write_stall;
            return if is_stalled { Vital::Stalled } else { Vital::Well };
        }
        let last = self.last(connection);
        match self.pinged {
            Some(pinged) if pinged >= last && since(pinged) >= limits.pong_timeout => Vital::End(Close::NoSignOfLife),
            Some(pinged) if pinged >= last => Vital::Well,
            _ if since(last) >= limits.ping_interval => {
                self.pinged = Some(now);
                Vital::Ping
            }
            _ => Vital::Well,
        }
    }
}
