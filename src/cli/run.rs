//! `relay run`

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;
use tracing::{error, info};

use crate::assemble::load::log_warnings;
use crate::assemble::reload::Reloader;
use crate::assemble::{self, Loaded, build, load};
use crate::cli::signals::Signals;
use crate::cli::{BAD_CONFIG, complain, print_diagnostics};
use crate::config::model::Listen;
use crate::diagnostic::render;
use crate::disk::Disk;
use crate::judging::AT_A_TIME;
use crate::live::Live;
use crate::reload;
use crate::schema::compile::SchemaCache;
use crate::server::listener::Listener;
use crate::server::{self, Listeners, descriptors};
use crate::telemetry::logs::{self, Logs};
use crate::telemetry::panics;
use crate::time::Time;

/// How long work that a drain cannot interrupt, such as a validation, may still take after the drain.
const END_AT_MOST: Duration = Duration::from_secs(1);
/// How long an idle thread for long work is kept: for ever.
const KEPT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Loads the configuration and, if it is valid, runs the server until it is told to stop.
pub(super) fn run(config: &Path) -> ExitCode {
    // Dropped last, because connections that the drain has cut still log while the runtime is dropped.
    let _last = LastWord;
    // One shard per worker thread: more would only compete for the same processors.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (runtime, signals) = match start(workers) {
        Ok(started) => started,
        Err(error) => {
            complain(&format!("relay: cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let mut loaded = load(&Disk::new(config), &SchemaCache::default(), Time::now());
    let Some(valid) = loaded.config.take() else {
        refuse(config, &loaded);
        return ExitCode::from(BAD_CONFIG);
    };
    let logs = Logs::start(&valid.log);
    match valid.log.json {
        true => log_warnings(&render::report(&loaded.diagnostics, &loaded.sources).0),
        false => print_diagnostics(&loaded),
    }
    panics::log_places();
    descriptors::raise();
    let served = runtime.block_on(async {
        let live = build::live(build::snapshot(valid, &loaded, None), workers);
        live.supervisor.connect();
        let reloader = Arc::new(Reloader::new(config.to_owned(), live.clone(), Some(logs), loaded));
        serve(live, reloader, signals).await
    });
    runtime.shutdown_timeout(END_AT_MOST);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "relay cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Says why the configuration cannot be run: as the log would, so that programs that read it see that as well.
fn refuse(config: &Path, loaded: &Loaded) {
    let summary = render::summary(&config.display().to_string(), &loaded.diagnostics);
    if loaded.log.json {
        let _logs = Logs::start(&loaded.log);
        let (text, _) = render::report(&loaded.diagnostics, &loaded.sources);
        let diagnostics = format_args!("\n{}", text.trim_end());
        error!(error = summary, %diagnostics, "relay cannot run");
    } else {
        print_diagnostics(loaded);
        complain(&format!("{summary}\n"));
    }
}

/// Starts the runtime with its workers, and the handling of signals on one of them.
fn start(workers: usize) -> io::Result<(Runtime, Signals)> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Those that judge what is large or slow, and one for each worker: more would only compete for the same processors.
    builder.worker_threads(workers).max_blocking_threads(AT_A_TIME + workers).thread_keep_alive(KEPT);
    let runtime = builder.enable_all().build()?;
    let signals = runtime.block_on(async {
        // If the system gives no further thread, tokio lets long work wait for one that there is, and panics if there
        // is none. So the first one starts here, and stays.
        spawn_blocking(|| ()).await?;
        Signals::listen()
    })?;
    Ok((runtime, signals))
}

/// Flushes the log however the server ends, even by a panic.
struct LastWord;

impl Drop for LastWord {
    fn drop(&mut self) {
        logs::flush();
    }
}

async fn serve(live: Arc<Live>, reloader: Arc<Reloader>, signals: Signals) -> io::Result<()> {
    let snapshot = live.snapshot();
    let server = &snapshot.config.server;
    let public = bind("server.listen", &server.listen).await?;
    let admin = match &server.admin {
        Some(listen) => Some(bind("server.admin", listen).await?),
        None => None,
    };
    let watching = reload::run(signals.serve(live.drain.clone()), reloader.clone(), live.clone());
    info!(
        listen = %public.address(),
        admin = admin.as_ref().map(|admin| admin.address().to_string()),
        topics = snapshot.config.topics.len(),
        epoch = %live.hub.epoch(),
        connections = live.connections.allowed(snapshot.config.limits.connections).min(descriptors::room()),
        "relay is running"
    );
    live.drain.detach("watch", watching);
    let listeners = Listeners { public, admin, reloader: Some(reloader) };
    server::run(listeners, live, assemble::PROTOCOLS).await;
    Ok(())
}

async fn bind(key: &str, listen: &Listen) -> io::Result<Listener> {
    Listener::bind(listen).await.map_err(|error| {
        let remedy = remedy(&error, listen, key);
        io::Error::new(error.kind(), format!("cannot listen on `{listen}` ({error}): {remedy}"))
    })
}

fn remedy(error: &io::Error, listen: &Listen, key: &str) -> String {
    if descriptors::are_used_up(error) {
        return "raise the limit of open files (`ulimit -n`)".to_owned();
    }
    let first = match (error.kind(), listen) {
        (io::ErrorKind::AddrInUse, _) => "free it or change",
        (io::ErrorKind::AlreadyExists, _) => "remove it or change",
        (io::ErrorKind::AddrNotAvailable, _) => "this machine has no such address; change",
        (io::ErrorKind::NotFound, Listen::Unix(_)) => "create its directory or change",
        (io::ErrorKind::PermissionDenied, Listen::Unix(_)) => "let relay write to its directory or change",
        (io::ErrorKind::PermissionDenied, Listen::Tcp(_)) => "let relay bind ports below 1024 or change",
        _ => "change",
    };
    format!("{first} `{key}`")
}
