//! When to reconnect, for those who are sent away or lose the server: drawn at random, so that they do not all come at
//! once.

use std::time::Duration;

use crate::close::Close;
use crate::config::model::Limits;
use crate::notice::{GoawayReason, Notice};

/// The soonest that a successor of this server can be expected.
const SOON: Duration = Duration::from_millis(500);
/// Time over which those that a limit sent away come back.
const OVERLOAD_SPREAD: Duration = Duration::from_secs(10);
/// Time over which those that lost the server without notice come back.
const LOSS_SPREAD: Duration = Duration::from_secs(4);

/// The notice to send before a connection is closed like this, if there is one.
///
/// There is none where a single connection ends, for example for want of a sign of life: then no crowd comes back.
pub fn goaway(close: Close, limits: &Limits) -> Option<Notice> {
    let (reason, spread) = match close {
        Close::Draining => (GoawayReason::Draining, limits.drain),
        Close::OverCapacity => (GoawayReason::Overloaded, OVERLOAD_SPREAD),
        _ => return None,
    };
    Some(Notice::Goaway { reason, reconnect_after_ms: drawn(spread) })
}

/// How long a reader waits after it lost the server, in milliseconds.
pub fn after_loss() -> u64 {
    drawn(LOSS_SPREAD)
}

fn drawn(spread: Duration) -> u64 {
    let spread = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX).max(1);
    let soon = u64::try_from(SOON.as_millis()).unwrap_or(u64::MAX);
    // Without randomness all come at once, which is bad but not wrong.
    soon + getrandom::u64().unwrap_or(0) % spread
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{after_loss, goaway};
    use crate::close::Close;
    use crate::config::model::Limits;
    use crate::notice::{GoawayReason, Notice};

    #[test]
    fn those_sent_away_come_back_over_the_time_of_the_drain() {
        let limits = Limits::default();
        let mut drawn = HashSet::new();
        for _ in 0..100 {
            match goaway(Close::Draining, &limits) {
                Some(Notice::Goaway { reason: GoawayReason::Draining, reconnect_after_ms }) => {
                    assert!((500..20_500).contains(&reconnect_after_ms), "{reconnect_after_ms}");
                    drawn.insert(reconnect_after_ms);
                }
                other => panic!("{other:?}"),
            }
            assert!((500..4_500).contains(&after_loss()));
        }
        assert!(drawn.len() > 50, "they are drawn: {drawn:?}");
        assert_eq!(goaway(Close::Lagging, &limits), None);
    }
}
