//! Counters of the whole process, besides those of each topic.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::counter::Counter;
use crate::hub::topic::RefusedCounts;
use crate::lock::lock;

/// The routes by which requests are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[expect(missing_docs, reason = "each name says it")]
pub enum Route {
    None,
    Publish,
    PublishMany,
    Validate,
    WebSocket,
    Events,
    History,
    Register,
    Unregister,
    Topics,
    Health,
    Ready,
    Metrics,
    Config,
    Connections,
    Reload,
}

/// The label of each route, in the order of [`Route`].
const ROUTES: [&str; Route::Reload as usize + 1] = [
    "none",
    "publish",
    "publish_many",
    "validate",
    "ws",
    "events",
    "history",
    "register",
    "unregister",
    "topics",
    "health",
    "ready",
    "metrics",
    "config",
    "connections",
    "reload",
];

/// Status codes are 100 to 599.
const STATUSES: usize = 500;

/// Counters of the whole process.
#[derive(Default)]
pub struct Stats {
    requests: Requests,
    /// Duration of an HTTP publish, from its header to its answer.
    pub publish_request: Histogram,
    /// Duration of a publish, from its complete body to its receipt, however it came.
    pub publish: Histogram,
    /// Refused publishes that belong to no declared topic.
    pub refused: RefusedCounts,
    /// Gaps that span several declared names.
    pub gaps: Counter,
    /// Connections that could not be accepted, for lack of descriptors or memory.
    pub accept_errors: Counter,
    /// Connections turned away over `limits.connections`.
    pub over_connections: Counter,
    /// Connections turned away over `limits.connect_rate`.
    pub over_connect_rate: Counter,
    /// Connections whose TLS handshake failed.
    pub tls_failures: Counter,
    /// Requests that are not valid HTTP.
    pub unreadable_requests: Counter,
    /// Requests whose handler panicked.
    pub panics: Counter,
    /// Subscriptions that were refused.
    pub subscribe_refused: RefusedCounts,
    /// WebSockets that ended.
    pub websockets_ended: Endings,
    /// Event streams that are open.
    pub streams: Counter,
    /// Event streams that ended.
    pub streams_ended: Endings,
}

/// Number of answers by route and status.
struct Requests(Box<[[Counter; STATUSES]]>);

/// How many ended, by who ended them and the server's code; only what occurred.
#[derive(Default)]
pub struct Endings(Mutex<BTreeMap<(EndedBy, Option<u16>), u64>>);

/// Who ended a WebSocket or an event stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EndedBy {
    /// The server, with one of its close codes.
    Server,
    /// The peer. Its code is not recorded, because anybody may choose one.
    Peer,
    /// Nobody: the connection was lost, or took nothing for too long.
    Nobody,
}

impl Default for Requests {
    fn default() -> Self {
        Self(ROUTES.iter().map(|_| std::array::from_fn(|_| Counter::default())).collect())
    }
}

impl Stats {
    /// Counts an answered request.
    pub fn answered(&self, route: Route, status: u16) {
        if let Some(counter) = self.requests.0[route as usize].get(usize::from(status).wrapping_sub(100)) {
            counter.add(1);
        }
    }

    /// Answered requests by route and status; only what occurred.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, usize, u64)> {
        ROUTES.into_iter().zip(&self.requests.0).flat_map(|(route, statuses)| {
            statuses
                .iter()
                .enumerate()
                .map(move |(at, counter)| (route, at + 100, counter.get()))
                .filter(|row| row.2 > 0)
        })
    }
}

impl Endings {
    /// Counts one; the code only if the server has chosen it.
    pub fn count(&self, by: EndedBy, code: Option<u16>) {
        let code = code.filter(|_| by == EndedBy::Server);
        *lock(&self.0).entry((by, code)).or_default() += 1;
    }

    /// The number of each.
    pub fn read(&self) -> Vec<((&'static str, String), u64)> {
        let label = |by| match by {
            EndedBy::Server => "server",
            EndedBy::Peer => "peer",
            EndedBy::Nobody => "nobody",
        };
        let text = |code: Option<u16>| code.map_or_else(String::new, |code| code.to_string());
        lock(&self.0).iter().map(|((by, code), n)| ((label(*by), text(*code)), *n)).collect()
    }
}

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// A histogram of durations. An observation is two relaxed additions, of which a scrape may see only one.
#[derive(Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].add(1);
        self.micros.add(micros);
    }

    /// The sum in seconds, the number, and the number for each bucket with its upper bound in seconds.
    pub fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let counts: Vec<u64> = self.buckets.iter().map(Counter::get).collect();
        let bounds = BOUNDS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
        (seconds(self.micros.get()), counts.iter().sum(), bounds.zip(counts).collect())
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{EndedBy, Endings, Histogram, Route, Stats};

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let stats = Stats::default();
        stats.answered(Route::Publish, 200);
        stats.answered(Route::Publish, 200);
        stats.answered(Route::None, 404);
        stats.answered(Route::None, 999);
        stats.answered(Route::Reload, 503);
        let all: Vec<_> = stats.requests().collect();
        assert_eq!(all, [("none", 404, 1), ("publish", 200, 2), ("reload", 503, 1)]);
    }

    #[test]
    fn no_code_that_a_peer_chooses_becomes_a_label() {
        let endings = Endings::default();
        let ended = [(EndedBy::Server, Some(4_201)), (EndedBy::Peer, Some(1_000)), (EndedBy::Nobody, None)];
        ended.into_iter().chain([(EndedBy::Peer, Some(3_456))]).for_each(|(by, code)| endings.count(by, code));
        let rows = endings.read();
        let rows: Vec<_> = rows.iter().map(|((by, code), n)| (*by, code.as_str(), *n)).collect();
        assert_eq!(rows, [("server", "4201", 1), ("peer", "", 2), ("nobody", "", 1)]);
    }

    #[test]
    fn a_bound_is_inclusive() {
        let histogram = Histogram::default();
        for micros in [1, 50, 51, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (sum, count, buckets) = histogram.read();
        assert_eq!((sum, count), (20.000_102, 4));
        let filled: Vec<_> = buckets.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [(0.000_05, 2), (0.000_1, 1), (f64::INFINITY, 1)]);
    }
}
