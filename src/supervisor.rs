//! Notifies the supervisor that started the process: ready, reloading, stopping, alive.
//!
//! The protocol is that of systemd (sd_notify(3)): datagrams to the socket that `$NOTIFY_SOCKET` names. Without that
//! nothing is sent, and a supervisor that does not listen is no reason to fail. This does not know what the states
//! mean.

use std::env;
use std::ffi::OsStr;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Most characters of the reason for a refused reload: the status is one line in `systemctl status`.
const STATUS: usize = 240;

/// The supervisor to notify; none until [`Supervisor::connect`].
#[derive(Default)]
pub struct Supervisor {
    socket: OnceLock<(UnixDatagram, SocketAddr)>,
    watchdog: OnceLock<Duration>,
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
            None => self.tell("READY=1\nSTATUS=serving"),
            Some(why) => {
                let short: String = why.chars().take(STATUS).collect();
                self.tell(&format!(
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
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The drain has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// The process does its work.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How often [`Supervisor::alive`] must be called; `None` if there is no watchdog.
    pub fn watchdog(&self) -> Option<Duration> {
        self.socket.get().and(self.watchdog.get()).copied()
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = self.socket.get() {
            // Does not wait, and a notification that the supervisor does not take is dropped.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
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
