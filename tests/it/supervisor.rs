//! What a supervisor is told, over a socket of this test's own: no systemd runs here.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::peer::Peer;
use crate::program::{Place, Relay};
use crate::rig::call;

const CONFIG: &str = "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"\"\n[topics.cats]\nschema = \"any\"\n";

/// The next thing that is told other than a sign of life, and how many of those came before it.
pub fn told(socket: &UnixDatagram) -> (String, usize) {
    let mut signs = 0;
    loop {
        let mut text = [0; 512];
        let length = socket.recv(&mut text).expect("something in time");
        match String::from_utf8_lossy(&text[..length]).as_ref() {
            "WATCHDOG=1" => signs += 1,
            other => return (other.to_owned(), signs),
        }
    }
}

fn run(place: &Place, socket: &UnixDatagram, name: &str) {
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "300000");
    let file = place.write("relay.toml", CONFIG);
    let mut relay = Relay::start_as(command, &file);
    relay.wait_for("relay is running");
    assert_eq!(told(socket).0, "READY=1\nSTATUS=serving");
    let mut sign = [0; 64];
    for _ in 0..3 {
        let length = socket.recv(&mut sign).expect("a sign of life in time");
        assert_eq!(&sign[..length], b"WATCHDOG=1");
    }
    for text in [format!("{CONFIG}description = \"cats\"\n"), "version = 2\n".to_owned()] {
        place.write("relay.toml", &text);
        relay.signal("HUP");
        // The change of the file may be noticed before the signal; that is a reload of its own.
        loop {
            let (reloading, _) = told(socket);
            let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
            let micros: u64 = micros.trim_end_matches("\nSTATUS=reloading").parse().expect(&reloading);
            assert!(micros > 0);
            let ready = told(socket).0;
            let why = ready.strip_prefix("READY=1\nSTATUS=serving").expect(&ready);
            assert!(why.is_empty() || why.starts_with("; the last reload was refused at 20"), "{ready}");
            let refused = "relay.toml:1: `version = 2` is not a version that this relay knows";
            if if text.starts_with(CONFIG) { why.is_empty() } else { why.contains(refused) } {
                break;
            }
        }
    }
    relay.signal("TERM");
    // The change of a file may have been noticed before the signal; that is a reload of its own.
    while told(socket).0 != "STOPPING=1\nSTATUS=draining" {}
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_supervisor_hears_of_start_life_reload_and_end() {
    let place = Place::new("supervisor");
    let path = place.0.join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    run(&place, &socket, path.to_str().expect("text"));
}

#[test]
fn a_supervisor_may_have_an_abstract_socket() {
    let place = Place::new("abstract");
    let name = format!("relay-test-{}", uuid::Uuid::new_v4());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    run(&place, &socket, &format!("@{name}"));
}

/// A supervisor's socket, with its path, and a program that is told of it.
fn supervised(place: &Place) -> (PathBuf, UnixDatagram, Command) {
    let path = place.0.join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.env("NOTIFY_SOCKET", &path);
    (path, socket, command)
}

/// Fills the queue of the supervisor's socket.
fn fill(path: &Path) {
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    while sender.send_to(b"WATCHDOG=1", path).is_ok() {
        sent += 1;
    }
    assert!(sent > 0, "there was no room");
}

/// Regression: a notification for which there was no room was lost, and systemd would have killed the server.
#[tokio::test]
async fn a_supervisor_that_is_busy_is_told_in_the_end() {
    let place = Place::new("busy");
    let (path, socket, command) = supervised(&place);
    fill(&path);
    let config = format!("{CONFIG}[anonymous]\npublish = [\"cats\"]\n");
    let mut relay = Relay::start_as(command, &place.write("relay.toml", &config));
    let (public, _) = relay.addresses();
    assert_eq!(call(public.parse().expect("an address"), "GET /ready HTTP/1.1\r\n", "").await.status, 200);
    assert_eq!(told(&socket).0, "READY=1\nSTATUS=serving");

    fill(&path);
    for _ in 0..3 {
        relay.signal("HUP");
        relay.wait_for("nothing to reload");
    }
    let (first, ready) = (told(&socket).0, told(&socket).0);
    assert!(first.starts_with("RELOADING=1\n") && ready == "READY=1\nSTATUS=serving", "{first} {ready}");

    // A request that waits for its body prolongs the drain: otherwise the process might end before there is room.
    let mut peer = Peer::new(TcpStream::connect(&public).await.expect("it listens"));
    let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n";
    peer.send(format!("{head}Host: {public}\r\nExpect: 100-continue\r\n\r\n")).await;
    peer.asked_for_body().await;
    fill(&path);
    relay.signal("TERM");
    relay.wait_for("drain");
    assert_eq!(told(&socket).0, "STOPPING=1\nSTATUS=draining", "only the last of three reloads is told");
    peer.send("1").await;
    assert_eq!(relay.end().0, Some(0));
}

#[tokio::test]
async fn a_supervisor_hears_nothing_of_a_dry_run() {
    let place = Place::new("dry");
    let (_, socket, command) = supervised(&place);
    let text = CONFIG.replace("admin = \"\"", "admin = \"127.0.0.1:0\"");
    let mut relay = Relay::start_as(command, &place.write("relay.toml", &text));
    let (_, admin) = relay.addresses();
    assert_eq!(told(&socket).0, "READY=1\nSTATUS=serving");
    let admin = admin.parse().expect("an address");
    assert_eq!(call(admin, "POST /reload?dry_run=1 HTTP/1.1\r\n", "").await.status, 200);
    relay.signal("TERM");
    assert_eq!(told(&socket).0, "STOPPING=1\nSTATUS=draining");
}

#[test]
fn a_supervisor_that_is_not_there_is_no_reason_to_fail() {
    let place = Place::new("absent");
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.env("NOTIFY_SOCKET", place.0.join("nobody.sock"));
    let mut relay = Relay::start_as(command, &place.write("relay.toml", CONFIG));
    relay.wait_for("relay is running");
    relay.signal("TERM");
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
}
