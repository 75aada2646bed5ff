//! Notifies the supervisor that started the process: ready, reloading, stopping, alive.
//!
//! The protocol is that of systemd (sd_notify(3)): datagrams to the socket that `$NOTIFY_SOCKET` names. Without that
//! nothing is sent, and a supervisor that does not listen is no reason to fail. One that is busy is told again until it
//! takes it: systemd would otherwise kill a server of whose start it has not heard.

use std::env;
use std::ffi::OsStr;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::warn;

use crate::lock::lock;

/// Most characters of the reason for a refused reload: the status is one line in `systemctl status`.
const STATUS: usize = 240;
/// When to try again if the supervisor's socket is full.
const AGAIN: Duration = Duration::from_millis(100);

/// The supervisor to notify; none until [`Supervisor::connect`].
#[derive(Default)]
pub struct Supervisor {
    socket: OnceLock<(UnixDatagram, SocketAddr)>,
    watchdog: OnceLock<Duration>,
    told: Mutex<Told>,
    full: Notify,
}

#[derive(Default)]
struct Told {
    /// States for which there was no room, in their order: at most the last reload and what followed it, or the end.
    untold: Vec<String>,
    /// The end was told, and nothing follows it: systemd would take a `READY=1` for a service that goes on.
    is_over: bool,
}

/// What a state means for others.
#[derive(Clone, Copy, PartialEq)]
enum Rank {
    Follows,
    /// All earlier ones are pointless.
    Supersedes,
    /// The same, and none follows.
    Ends,
}

impl Supervisor {
    /// Connects to the supervisor that the environment names. Idempotent.
    pub fn connect(&self) {
        if let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            match reach(&name) {
                Ok(reached) => {
                    let _ = self.socket.set(reached);
                }
                Err(error) => warn!(%error, "the supervisor's socket `$NOTIFY_SOCKET` cannot be used"),
            }
        }
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        if let Some(micros) = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && ours) {
            let _ = self.watchdog.set(Duration::from_micros(micros));
        }
    }

    /// The server serves, for the first time or after a reload. `stale` says why its files are not in force, if so.
    /// Tells nothing after [`Supervisor::stopping`].
    pub fn ready(&self, stale: Option<&str>) {
        let mut state = "READY=1\nSTATUS=serving".to_owned();
        if let Some(why) = stale {
            let short: String = why.chars().take(STATUS).collect();
            let more = if short.len() < why.len() { "…" } else { "" };
            state = format!("{state}; {short}{more}");
        }
        self.tell(Rank::Follows, state);
    }

    /// A reload has begun; [`Supervisor::ready`] ends it, whatever its outcome. Tells nothing after
    /// [`Supervisor::stopping`].
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(Rank::Supersedes, format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The drain has begun.
    pub fn stopping(&self) {
        self.tell(Rank::Ends, "STOPPING=1\nSTATUS=draining".to_owned());
    }

    /// The process does its work. If the supervisor has no room for this, the next one does as well.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Supervisor::alive`] must be called; `None` if there is no watchdog.
    pub fn watchdog(&self) -> Option<Duration> {
        self.socket.get().and(self.watchdog.get()).copied()
    }

    /// Tells the supervisor what it had no room for, once it has, unless the process ends first: that does not wait.
    pub async fn repeat(&self) {
        loop {
            self.full.notified().await;
            while !self.send_untold() {
                sleep(AGAIN).await;
            }
        }
    }

    fn tell(&self, rank: Rank, state: String) {
        let mut told = lock(&self.told);
        if told.is_over {
            return;
        }
        told.is_over = rank == Rank::Ends;
        if rank != Rank::Follows {
            told.untold.clear();
        }
        if !told.untold.is_empty() || !self.send(&state) {
            told.untold.push(state);
            self.full.notify_one();
        }
    }

    /// Returns whether nothing is left.
    fn send_untold(&self) -> bool {
        let untold = &mut lock(&self.told).untold;
        let sent = untold.iter().take_while(|state| self.send(state)).count();
        untold.drain(..sent);
        untold.is_empty()
    }

    /// Sends without waiting. Returns false if there is no room now; whatever else fails is given up.
    fn send(&self, state: &str) -> bool {
        let Some((socket, address)) = self.socket.get() else { return true };
        let sent = socket.send_to_addr(state.as_bytes(), address);
        !sent.is_err_and(|error| matches!(Errno::from_io_error(&error), Some(Errno::AGAIN | Errno::NOBUFS)))
    }
}

/// A socket, and the supervisor's address: a path, or an abstract name after `@`.
fn reach(name: &OsStr) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    use super::{Supervisor, reach};

    /// Regression: a reload that ended while the drain began told `READY=1` after `STOPPING=1`.
    #[test]
    fn nothing_follows_the_end() {
        let name = format!("relay-supervisor-{}", uuid::Uuid::new_v4());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let supervisor = Supervisor::default();
        let reached = reach(format!("@{name}").as_ref()).expect("a name");
        assert!(supervisor.socket.set(reached).is_ok());
        supervisor.reloading();
        supervisor.stopping();
        supervisor.ready(None);
        supervisor.reloading();
        supervisor.alive();
        let told = || {
            let mut text = [0; 512];
            let length = socket.recv(&mut text).expect("something was told");
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        assert!(told().starts_with("RELOADING=1\n"));
        assert_eq!(told(), "STOPPING=1\nSTATUS=draining");
        assert_eq!(told(), "WATCHDOG=1", "a drain may take longer than the watchdog's time");
    }
}
