//! A relay to which the system gives no further thread, as with `TasksMax=`, `pids.max` or `ulimit -u`.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, geteuid, getrlimit};
use uuid::Uuid;

use crate::program::{Place, Relay};
use crate::rig::call;
use crate::supervisor::told;
use crate::tour::has;

/// A user without privileges: the limit does not hold for root.
const NOBODY: u32 = 65_534;

fn config(description: &str) -> String {
    format!(
        "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[topics.cats]\nschema = \"any\"\n\
         description = \"{description}\"\n[anonymous]\npublish = [\"cats\"]\nsubscribe = [\"cats\"]\n\
         [limits]\nreload_poll = \"1 s\"\n"
    )
}

/// A command that is run by a user for whom the limit holds.
fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Puts the program where that user can reach it.
fn copied(place: &Place) -> PathBuf {
    let program = place.0.join("relay");
    fs::copy(env!("CARGO_BIN_EXE_relay"), &program).expect("a copy");
    for path in [&place.0, &program, &place.0.join("relay.toml")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it is ours");
    }
    program
}

/// Lets the process have no further thread, or as many as before.
fn limit_threads(relay: &Relay, limited: bool) {
    let before = getrlimit(Resource::Nproc).current.map_or("unlimited".to_owned(), |most| most.to_string());
    let most = if limited { "1" } else { &before };
    // Root may not be allowed to set the limits of another user's process.
    let mut prlimit = unprivileged("prlimit");
    prlimit.args([format!("--pid={}", relay.pid()), format!("--nproc={most}:")]);
    assert!(prlimit.status().expect("prlimit").success());
}

/// Regression: at the next poll the process ended with status 70, long publishes and `/metrics` got 500, and a commit
/// could have stayed without its mark. Then a look that could not be made counted as a refused reload, for ever.
#[tokio::test]
async fn a_shortage_of_threads_ends_nothing_and_is_over_when_it_is_over() {
    if !has("prlimit", &["--version"]) {
        return;
    }
    let place = Place::new("threads");
    let file = place.write("relay.toml", &config("one"));
    let name = format!("relay-test-{}", Uuid::new_v4());
    let supervisor =
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("a socket");
    supervisor.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut command = unprivileged(copied(&place));
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let mut relay = Relay::start_as(command, &file);
    let (public, admin) = relay.addresses();
    let [public, admin] = [public, admin].map(|address| address.parse().expect("an address"));
    assert_eq!(told(&supervisor).0, "READY=1\nSTATUS=serving");
    limit_threads(&relay, true);
    let warned = relay.wait_for("WARN");
    let expected = " WARN relay::assemble::reload: cannot look at the configuration's files; trying again cause=cannot start a \
                    thread (Resource temporarily unavailable (os error 11)): raise `TasksMax=`, `pids.max` or `ulimit -u`\n";
    assert!(warned.ends_with(expected), "{warned}");
    let body = format!("\"{}\"", "x".repeat(100_000));
    let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\n";
    for _ in 0..20 {
        assert_eq!(call(public, head, &body).await.status, 200, "judged beside those who serve");
    }
    let metrics = async || String::from_utf8(call(admin, "GET /metrics HTTP/1.1\r\n", "").await.body).expect("text");
    let text = metrics().await;
    for line in ["relay_last_reload_successful 1", r#"relay_reloads_total{result="refused"} 0"#] {
        assert!(text.contains(line), "nobody asked for a reload: {line} in\n{text}");
    }
    // Whoever asks for one is told. So is systemd, which waits for the end of a reload only after its beginning.
    relay.signal("HUP");
    let line = relay.line();
    assert!(line.contains("a reload was abandoned cause=\"cannot start a thread"), "once a line: {line}");
    assert!(relay.line().contains("a reload was refused trigger=\"signal\""));
    assert!(told(&supervisor).0.starts_with("RELOADING=1\n"));
    assert!(told(&supervisor).0.starts_with("READY=1\nSTATUS=serving; the last reload was refused at 20"));
    assert!(metrics().await.contains("relay_last_reload_successful 0"));
    limit_threads(&relay, false);
    let mut wait = |wanted: &str| {
        relay.wait_until(wanted, |line| {
            assert!(!line.contains("cannot look at"), "{line}");
            line.contains(wanted)
        })
    };
    wait("the files match the running configuration again; the refused change was undone");
    assert!(metrics().await.contains("relay_last_reload_successful 1"));
    place.write("relay.toml", &config("two"));
    wait("reloaded");
    relay.signal("TERM");
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
}
