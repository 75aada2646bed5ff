//! The signals that `relay run` handles: SIGTERM and SIGINT end it, SIGHUP reloads.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::cli::complain;
use crate::drain::Drain;
use crate::telemetry::logs;

/// A second signal that comes sooner after the first is the same one: `timeout` sends it to its child and then to the
/// child's process group, and so do some wrappers that pass on what a terminal has sent to everybody already.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The handlers of signals.
///
/// They must be installed before the configuration is loaded, which may take seconds. Without a handler SIGHUP would
/// end the process, and a process with id 1, as in a container, would not receive SIGTERM at all.
pub(super) struct Signals {
    hangup: unix::Signal,
    serving: oneshot::Sender<Drain>,
}

impl Signals {
    /// Installs the handlers. Until [`Self::serve`] is called, the first SIGTERM or SIGINT ends the process.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub(super) fn listen() -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        // SIGXFSZ comes if the log is a file that has reached the maximum size. Then lines are lost and counted, but
        // relay goes on.
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let (serving, served) = oneshot::channel();
        // The server's own drain does not exist yet, and must not wait for this task, which ends with the process.
        Drain::default().detach("signals", obey(terminate, interrupt, served));
        Ok(Self { hangup, serving })
    }

    /// From now on the first SIGTERM or SIGINT begins the drain, and a second one, if it is not the same [sent
    /// twice](SAME_SIGNAL), ends the process at once. Returns the handler of SIGHUP, with any that has come already.
    pub(super) fn serve(self, drain: Drain) -> unix::Signal {
        // Fails only if the process is ending already.
        let _ = self.serving.send(drain);
        self.hangup
    }
}

async fn obey(mut terminate: unix::Signal, mut interrupt: unix::Signal, mut served: oneshot::Receiver<Drain>) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let name = next().await;
    let Ok(drain) = served.try_recv() else {
        // There is no log yet while the configuration loads.
        complain(&format!("relay: {name}: ended before it was ready\n"));
        logs::exit(0);
    };
    info!(signal = name, "draining; a second signal ends relay at once");
    drain.begin();
    let began = Instant::now();
    let mut name = next().await;
    while began.elapsed() < SAME_SIGNAL {
        name = next().await;
    }
    warn!(signal = name, "second signal: exiting at once");
    logs::exit(1);
}
