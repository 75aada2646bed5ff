//! The accept loops: sockets in, requests out, and the end of the server.
//!
//! Written here because warp's own sets no timer (without one hyper's header timeout is silently off), no nodelay and
//! no limit on connections, and cannot be drained within a deadline. It knows nothing of routes.

pub mod descriptors;
mod ending;
pub mod http_socket;
pub mod listener;
mod shedding;
pub mod socket;
mod watchdog;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::assemble::reload::Reloader;
use crate::background;
use crate::config::model::Limits;
use crate::connections::{Connections, Permit};
use crate::http::door::{Door, Link, Side};
use crate::http::flow::Flow;
use crate::http::{self, forwarded};
use crate::live::Live;
use crate::plugin::Protocol;
use crate::rates::Pace;
use crate::server::http_socket::HttpSocket;
use crate::server::listener::Listener;
use crate::server::socket::Socket;
use crate::time::Time;

/// Most connections to the admin listener; they use descriptors that `limits.connections` leaves.
const ADMIN_CONNECTIONS: usize = 64;
/// The largest read buffer of one connection, in bytes; it grows to this when a body comes fast.
const READ_BUFFER: usize = 64 << 10;
/// How long idle connections are still read during a drain: a request may be on its way.
const GRACE: Duration = Duration::from_millis(250);
/// How long to back off after an accept failed for lack of something that other connections may free.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Least time between two log lines about failed accepts.
const SILENCE: Duration = Duration::from_secs(60);

/// The bound listeners of a server; nothing is accepted yet.
pub struct Listeners {
    /// For publishers and subscribers.
    pub public: Listener,
    /// For operators.
    pub admin: Option<Listener>,
    /// Carries out reloads that operators ask for; `None` for a configuration without files.
    pub reloader: Option<Arc<Reloader>>,
}

/// Serves until the drain has begun and either everything has ended or `limits.drain` has passed.
pub async fn run(listeners: Listeners, live: Arc<Live>, protocols: &'static [&'static dyn Protocol]) {
    let Listeners { public, admin, reloader } = listeners;
    live.connections.set_room(descriptors::room(), live.snapshot().config.limits.connections);
    for shard in live.hub.tasks() {
        live.drain.detach("shard", shard);
    }
    live.drain.detach("sweep", sweep(live.clone()));
    live.drain.detach("shed", shedding::run(live.clone()));
    let door = Arc::new(http::public_door(live.clone(), public.is_loopback(), protocols));
    live.drain.spawn("accept", {
        let live = live.clone();
        async move {
            let limit = |limits: &Limits| live.connections.allowed(limits.connections);
            accept_all(public, &live, door, &live.connections, limit).await;
        }
    });
    if let Some(admin) = admin {
        let door = Arc::new(http::admin_door(live.clone(), admin.is_loopback(), reloader));
        let live = live.clone();
        live.drain.clone().spawn("accept-admin", async move {
            accept_all(admin, &live, door, &Connections::default(), |_| ADMIN_CONNECTIONS).await;
        });
    }
    live.drain.detach("watchdog", watchdog::run(live.clone()));
    let told = live.clone();
    live.drain.detach("notify", async move { told.supervisor.repeat().await });
    live.supervisor.ready(None);
    live.drain.begun().await;
    live.supervisor.stopping();
    match ending::end(&live).await {
        Ok(()) => info!("drained"),
        Err(tasks) => warn!(?tasks, "the drain took longer than `limits.drain`; exiting anyway"),
    }
}

/// Evicts what has aged, once a second.
async fn sweep(live: Arc<Live>) {
    let mut tick = background::every(Duration::from_secs(1));
    loop {
        tick.tick().await;
        live.hub.store().sweep(Time::now()).await;
    }
}

/// Resolves once the drain has begun and idle connections are no longer read.
async fn grace_is_over(live: &Live) {
    live.drain.begun().await;
    tokio::time::sleep(GRACE).await;
}

async fn accept_all(
    listener: Listener,
    live: &Arc<Live>,
    door: Arc<Door>,
    connections: &Connections,
    limit: impl Fn(&Limits) -> usize,
) {
    // Connections that wait in the kernel when the listener closes are reset. So those that have come are accepted, to
    // be answered or refused, and only then is it closed.
    let mut closing = std::pin::pin!(grace_is_over(live));
    let mut failures = AcceptFailures::default();
    let mut filled = Filled::default();
    let admit = |socket: Socket, peer, permit| {
        let snapshot = live.snapshot();
        let limits = &snapshot.config.limits;
        if let Err(error) = socket.tune(limits.send_buffer, limits.write_stall) {
            return debug!(%error, "a connection ended before it was served");
        }
        let tls = snapshot.tls.clone().filter(|_| door.side == Side::Public);
        // Boxed because it is large: otherwise every call on its way to a task would move it.
        live.drain.spawn("http", Box::pin(serve(socket, tls, peer, permit, live.clone(), door.clone())));
    };
    let limit = || limit(&live.snapshot().config.limits);
    loop {
        let accepted = tokio::select! {
            () = &mut closing => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                back_off(live, &error, &mut failures).await;
                continue;
            }
        };
        let permit = tokio::select! {
            // To return here would reset the connection that was just accepted: it gets a place if there is one.
            biased;
            permit = connections.enter(limit) => permit,
            () = &mut closing => return,
        };
        // The limit was just checked; check again only if it matters.
        if door.side == Side::Public && (permit.is_over() || filled.0) {
            filled.look(connections.open(), limit());
        }
        admit(socket, peer, permit);
    }
    // Connections that came meanwhile. Whatever comes later finds no listener, and so is refused rather than reset.
    while let Some((socket, peer)) = listener.waiting()
        && let Some(permit) = connections.enter(limit).now_or_never()
    {
        admit(socket, peer, permit);
    }
}

/// Remembers that the connections are full, so that the log says it once, until an eighth of them has left.
#[derive(Default)]
struct Filled(bool);

impl Filled {
    fn look(&mut self, open: usize, allowed: usize) {
        if self.has_filled(open, allowed) {
            warn!(
                open,
                allowed,
                "the connection limit is reached, further connections are turned away: raise `limits.connections`, or the limit of \
                 open files"
            );
        }
    }

    /// Returns whether to log it now.
    fn has_filled(&mut self, open: usize, allowed: usize) -> bool {
        let was_full = self.0;
        self.0 = open > if was_full { allowed - allowed / 8 } else { allowed };
        self.0 && !was_full
    }
}

/// Failed accepts since the last log line about them.
#[derive(Default)]
struct AcceptFailures {
    times: u64,
    told: Option<Instant>,
}

impl AcceptFailures {
    /// Counts one; returns how many there were since the last line if another is due.
    fn count(&mut self) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| told.elapsed() < SILENCE) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }
}

/// Ignores connections that went away before they were accepted, and backs off when descriptors or memory are short.
async fn back_off(live: &Live, error: &io::Error, failures: &mut AcceptFailures) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    live.stats.accept_errors.add(1);
    if let Some(times) = failures.count() {
        warn!(%error, times, "cannot accept a connection; trying again");
    }
    tokio::time::sleep(BACK_OFF).await;
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The socket has the timer for headers: hyper would remove its timer from the runtime's wheel and insert it again
    // for each request.
    http.header_read_timeout(None).max_header_size(limits.header).max_buf_size(limits.header.max(READ_BUFFER));
    // A peer may end its direction once it has said everything. The socket tells it from a peer that is gone, where
    // that matters.
    http.half_close(true);
    http
}

/// Serves one connection until it ends or is upgraded.
///
/// When the drain begins, the next answer is the last. If no complete request has come within [`GRACE`], there is none.
async fn serve(
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
    peer: Option<IpAddr>,
    permit: Permit,
    live: Arc<Live>,
    door: Arc<Door>,
) {
    let snapshot = live.snapshot();
    let limits = &snapshot.config.limits;
    let trusted = |peer| forwarded::is_trusted(&snapshot.config.server.trusted_proxies, peer);
    // A proxy connects for everybody behind it, and the operators' listener has no rate.
    let rated = peer.zip(limits.connect_rate).filter(|(peer, _)| door.side == Side::Public && !trusted(*peer));
    let pace = rated.map_or(Pace::Within, |(peer, limit)| live.rates.connect(peer, limit));
    let over_rate = pace != Pace::Within;
    let socket = match tls {
        // A handshake is the dearest thing that a stranger can ask for, and without it there is no answer.
        Some(_) if pace == Pace::FarOver => return live.stats.over_connect_rate.add(1),
        Some(tls) => {
            let shaken = tokio::select! {
                shaken = socket.secure(tls, limits.header_timeout) => shaken,
                () = grace_is_over(&live) => return,
            };
            match shaken {
                Ok(socket) => socket,
                Err(error) => {
                    live.stats.tls_failures.add(1);
                    return debug!(%error, "a TLS handshake failed");
                }
            }
        }
        None => socket,
    };
    let link = Arc::new(Link { door, peer, permit, flow: Flow::default(), secure: socket.is_secure(), over_rate });
    let flow = link.flow.clone();
    let socket = HttpSocket::new(socket, limits.header_timeout, limits.write_stall, flow.clone());
    let http = http(limits);
    drop(snapshot);
    let service = service_fn(move |request| http::serve(request, link.clone()).map(Ok::<_, Infallible>));
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(socket), service).with_upgrades());
    let ended = tokio::select! {
        biased;
        // First, because hyper shuts down a connection of which it has read nothing, even if something has arrived.
        ended = &mut connection => ended,
        () = live.drain.once_begun(grace_is_over(&live)) => {
            flow.expect_no_request();
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        live.stats.unreadable_requests.add(u64::from(error.is_parse()));
        debug!(%error, "a connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AcceptFailures, BACK_OFF, Filled, SILENCE};

    #[test]
    fn what_is_full_is_told_once_until_an_eighth_has_left() {
        let mut filled = Filled::default();
        let told = [16, 17, 18, 16, 15, 17, 14, 17].map(|open| filled.has_filled(open, 16));
        assert_eq!(told, [false, true, false, false, false, false, false, true]);
    }

    /// Without descriptors there used to be a line for each try: twenty a second.
    #[tokio::test(start_paused = true)]
    async fn failed_accepts_are_one_line_a_minute_with_their_number() {
        let mut failures = AcceptFailures::default();
        let mut told = Vec::new();
        for _ in 0..2 * SILENCE.as_millis() / BACK_OFF.as_millis() {
            told.extend(failures.count());
            tokio::time::advance(BACK_OFF).await;
        }
        assert_eq!(told, [1, 1_200]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(failures.count(), Some(1_200));
    }
}
