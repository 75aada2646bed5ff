//! Signs of life, and the deadlines for them.
//!
//! Two things show that a peer is alive: an inbound byte, and the kernel taking some of what was unsent, for which the
//! peer must have acknowledged something. The kernel taking a delivery shows nothing: it does so for a while even if
//! the peer is gone. Times are milliseconds of the hub's clock.
//!
//! These deadlines are rounded up, so that connections that were opened at about the same time wake the server together:
//! while thousands of connections are idle, waking up costs more than the pings.

use std::time::Duration;

use crate::close::Close;
use crate::config::model::Limits;
use crate::hub::connection::Connection;
use crate::principal::Principal;

/// The share of a time by which its deadline may be late.
const LATE: u64 = 256;

/// The signs of life of one connection.
pub(super) struct Vitals {
    opened: u64,
    heard: u64,
    pinged: Option<u64>,
    /// When it was last told its position because messages for others had passed it.
    told: u64,
    /// The second of the last command, and the number of commands in that second.
    commands: (u32, u32),
}

pub(super) enum Vital {
    Ping,
    End(Close),
    Stalled,
}

impl Vitals {
    pub(super) fn new(now: u64) -> Self {
        Self { opened: now, heard: now, pinged: None, told: now, commands: (0, 0) }
    }

    /// Notes that a byte arrived, or that some unsent bytes left.
    pub(super) fn heard(&mut self, now: u64) {
        self.heard = now;
        self.pinged = None;
    }

    /// Counts a command; returns whether it is within the `limit` for each second.
    pub(super) fn admits_command(&mut self, now: u64, limit: u32) -> bool {
        // It wraps around after 136 years.
        let second = (now / 1_000) as u32;
        if self.commands.0 != second {
            self.commands = (second, 0);
        }
        self.commands.1 += 1;
        self.commands.1 <= limit
    }

    pub(super) fn pinged(&mut self, now: u64) {
        self.pinged = Some(now);
    }

    /// Whether the peer may be told its position again: at most once in each `limits.ping_interval`.
    pub(super) fn may_be_told(&self, limits: &Limits, now: u64) -> bool {
        u128::from(now.saturating_sub(self.told)) >= limits.ping_interval.as_millis()
    }

    pub(super) fn told(&mut self, now: u64) {
        self.told = now;
    }

    /// What is due next, and how soon; `principal` is `None` while a credential is needed.
    pub(super) fn next(
        &self,
        limits: &Limits,
        now: u64,
        connection: &Connection,
        principal: Option<&Principal>,
    ) -> (Duration, Vital) {
        let from = |start: u64, wait: Duration| wait.saturating_sub(Duration::from_millis(now.saturating_sub(start)));
        let admitted = match principal {
            Some(principal) => (principal.lasts(), Vital::End(Close::TokenExpired)),
            None => (from(self.opened, limits.auth_timeout), Vital::End(Close::AuthTimeout)),
        };
        let sign = match self.pinged {
            // A socket that takes nothing would not take a ping either.
            _ if connection.has_rest() => {
                (together(connection.progress().max(self.opened), limits.write_stall, now), Vital::Stalled)
            }
            Some(pinged) => (together(pinged, limits.pong_timeout, now), Vital::End(Close::NoSignOfLife)),
            None => (together(self.heard, limits.ping_interval, now), Vital::Ping),
        };
        // On a tie, the end of the credential is the more useful reason.
        if admitted.0 <= sign.0 { admitted } else { sign }
    }
}

/// How soon a time that began at `start` is over, rounded up to a moment that other connections have too.
fn together(start: u64, time: Duration, now: u64) -> Duration {
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let due = start.saturating_add(time).next_multiple_of((time / LATE).max(1));
    Duration::from_millis(due.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{LATE, Vital, Vitals};
    use crate::close::Close;
    use crate::config::model::Limits;
    use crate::hub::connection::{Connection, NoSocket};
    use crate::hub::outbound::Outbound;
    use crate::principal::{Grants, Principal};
    use crate::time::Time;

    fn principal(not_after: Option<Time>) -> Principal {
        Principal { token: Some("shop".into()), user: None, grants: Grants::default(), not_after, fingerprint: 1 }
    }

    #[test]
    fn each_limit_is_for_its_own_time() {
        let second = Duration::from_secs(1);
        let limits = Limits { ping_interval: 25 * second, pong_timeout: 10 * second, ..Limits::default() };
        let connection = Connection::new(NoSocket, Arc::new(Outbound::default()));
        let mut vitals = Vitals::new(1_000);
        let principal = principal(None);
        let next = |vitals: &Vitals, now| vitals.next(&limits, now, &connection, Some(&principal));
        let late = |wait: Duration, due: Duration, of: Duration| (due..=due + of / LATE as u32).contains(&wait);
        let (ping, pong) = (25 * second, 10 * second);
        assert!(matches!(next(&vitals, 6_000), (wait, Vital::Ping) if late(wait, 20 * second, ping)));
        vitals.pinged(26_000);
        assert!(
            matches!(next(&vitals, 27_000), (wait, Vital::End(Close::NoSignOfLife)) if late(wait, 9 * second, pong))
        );
        vitals.heard(28_000);
        assert!(matches!(next(&vitals, 28_000), (wait, Vital::Ping) if late(wait, 25 * second, ping)));
    }

    #[test]
    fn connections_of_about_the_same_time_are_pinged_together() {
        let limits = Limits { ping_interval: Duration::from_secs(25), ..Limits::default() };
        let connection = Connection::new(NoSocket, Arc::new(Outbound::default()));
        let principal = principal(None);
        let due = |opened| Vitals::new(opened).next(&limits, 1_000, &connection, Some(&principal)).0;
        let wakes = (0..1_000).map(due).collect::<std::collections::BTreeSet<_>>();
        assert!((10..=12).contains(&wakes.len()), "a thousand milliseconds have {} wakes", wakes.len());
    }

    #[test]
    fn the_end_of_a_credential_is_told_before_a_sign_of_life_that_did_not_come() {
        let connection = Connection::new(NoSocket, Arc::new(Outbound::default()));
        let mut vitals = Vitals::new(0);
        vitals.pinged(0);
        let (wait, vital) = vitals.next(&Limits::default(), 3_600_000, &connection, Some(&principal(Some(Time(0)))));
        assert!(wait.is_zero() && matches!(vital, Vital::End(Close::TokenExpired)));
    }
}
