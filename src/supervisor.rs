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
    /// States for which there was no room, in their order: at most the last reload or the end, and what followed it.
    untold: Mutex<Vec<String>>,
    full: Notify,
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
    pub fn ready(&self, stale: Option<&str>) {
        match stale {
            None => self.tell("READY=1\nSTATUS=serving".to_owned()),
            Some(why) => {
                let short: String = why.chars().take(STATUS).collect();
                self.tell(format!(
                    "READY=1\nSTATUS=serving; {short}{}",
                    if short.len() < why.len() { "…" } else { "" }
                ));
            }
        }
    }

    /// A reload has begun; [`Supervisor::ready`] ends it, whatever its outcome.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.supersede(format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The drain has begun.
    pub fn stopping(&self) {
        self.supersede("STOPPING=1\nSTATUS=draining".to_owned());
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

    /// Tells a state that makes all earlier ones pointless.
    fn supersede(&self, state: String) {
        lock(&self.untold).clear();
        self.tell(state);
    }

    fn tell(&self, state: String) {
        let mut untold = lock(&self.untold);
        if !untold.is_empty() || !self.send(&state) {
            untold.push(state);
            self.full.notify_one();
        }
    }

    /// Returns whether nothing is left.
    fn send_untold(&self) -> bool {
        let mut untold = lock(&self.untold);
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
