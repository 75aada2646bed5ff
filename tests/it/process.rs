//! The program itself: its signals, its Unix socket, its descriptors, and curl as a foreign caller.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};

use crate::peer::Peer;
use crate::program::{Place, Relay};
use crate::tour::has;

fn config(listen: &str) -> String {
    format!(
        "version = 1\n[server]\nlisten = \"{listen}\"\nadmin = \"\"\n[topics.cats]\nschema = \"any\"\n\
         [anonymous]\npublish = [\"cats\"]\nsubscribe = [\"cats\"]\n[limits]\ndrain = \"10 s\"\n"
    )
}

/// The program with a limit of `n` open files, both hard and soft.
fn with_descriptors(n: usize) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {n}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_relay")]);
    shell
}

async fn answer(peer: &mut Peer<UnixStream>, request: &str) -> u16 {
    peer.send(request).await;
    peer.answer().await.expect("an answer").status
}

#[tokio::test]
async fn it_serves_a_unix_socket_and_ends_cleanly_at_sigterm() {
    let place = Place::new("unix");
    let socket = place.0.join("relay.sock");
    let file = place.write("relay.toml", &config(&format!("unix:{}", socket.display())));
    for round in ["first", "after a clean end"] {
        let mut relay = Relay::start(&file);
        relay.wait_for("relay is running");
        let mut peer = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
        let head = "POST /publish/cats HTTP/1.1\r\nHost: anything\r\nContent-Type: application/json\r\n\
                    Content-Length: 1\r\n";
        assert_eq!(answer(&mut peer, &format!("{head}\r\n1")).await, 200, "{round}");
        // The body of this request is still to come when the signal arrives.
        peer.send(format!("{head}Expect: 100-continue\r\n\r\n")).await;
        peer.asked_for_body().await;
        let mut other = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
        assert_eq!(answer(&mut other, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await, 200);
        relay.signal("TERM");
        relay.wait_for("draining; a second signal ends relay at once");
        assert_eq!(answer(&mut peer, "1").await, 200, "a publish that had begun is finished");
        let (code, log) = relay.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("drained") && !socket.exists(), "{log}");
    }
}

/// Regression: an Origin with blanks put a `peer` of its own before the true one.
#[tokio::test]
async fn what_a_page_sends_cannot_pass_for_another_field_of_the_log() {
    let place = Place::new("forged");
    let socket = place.0.join("relay.sock");
    let mut relay = Relay::start(&place.write("relay.toml", &config(&format!("unix:{}", socket.display()))));
    relay.wait_for("relay is running");
    let mut peer = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
    let request = "GET /topics HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example peer=192.0.2.1 \"a\r\n\r\n";
    assert_eq!(answer(&mut peer, request).await, 403);
    let line = relay.wait_for("a page of a foreign origin was refused");
    assert!(line.contains(r#" origin="https://shop.example peer=192.0.2.1 "#), "{line}");
}

/// Regression: the runtime waited for whatever was running, and no longer listened to signals: only SIGKILL helped.
#[tokio::test]
async fn a_validation_that_takes_long_does_not_outlive_the_drain() {
    let place = Place::new("judging");
    let socket = place.0.join("relay.sock");
    let constants: String = (0..300).map(|n| format!(r#"{{"const": {n}}}, "#)).collect();
    place.write("list.json", &format!(r#"{{"items": {{"anyOf": [{constants}{{"type": "array"}}]}}}}"#));
    let text = config(&format!("unix:{}", socket.display())).replace("\"any\"", "\"list.json\"");
    let file = place.write("relay.toml", &text.replace("10 s\"", "1 s\"\nbody = \"8 MiB\""));
    let mut relay = Relay::start(&file);
    relay.wait_for("relay is running");
    let mut peer = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
    let body = format!("[{}[]]", "[],".repeat(1_000_000));
    let head = "POST /publish/cats HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    peer.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    relay.signal("TERM");
    let told = Instant::now();
    relay.wait_for("the drain took longer than `limits.drain`; exiting anyway");
    let (code, log) = relay.end();
    assert!(code == Some(0) && told.elapsed() < Duration::from_secs(5), "{code:?} after {:?}: {log}", told.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_unless_it_is_the_same_one_sent_twice() {
    let place = Place::new("twice");
    let socket = place.0.join("relay.sock");
    let mut relay = Relay::start(&place.write("relay.toml", &config(&format!("unix:{}", socket.display()))));
    relay.wait_for("relay is running");
    let mut peer = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
    // A body that never comes prolongs the drain.
    peer.send(
        "POST /publish/cats HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\
         Expect: 100-continue\r\n\r\n",
    )
    .await;
    peer.asked_for_body().await;
    let began = Instant::now();
    relay.signal("INT");
    relay.wait_for("draining");
    // As GNU `timeout` does, and whoever passes on what the terminal has sent to the whole group.
    relay.signal("TERM");
    assert_eq!(relay.exit_unread(Duration::from_millis(700)).await, None, "the same signal, sent twice, ended it");
    relay.signal("INT");
    let (code, log) = relay.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("second signal: exiting at once") && began.elapsed() < Duration::from_secs(5), "{log}");
}

#[tokio::test]
async fn the_socket_of_a_process_that_was_killed_is_taken_over_and_a_living_one_is_not() {
    let place = Place::new("killed");
    let socket = place.0.join("relay.sock");
    let file = place.write("relay.toml", &config(&format!("unix:{}", socket.display())));
    let mut killed = Relay::start(&file);
    killed.wait_for("relay is running");
    killed.signal("KILL");
    assert_eq!(killed.end().0, None);
    assert!(socket.exists());
    let mut next = Relay::start(&file);
    next.wait_for("relay is running");
    let (code, log) = Relay::start(&file).end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("Address already in use"), "{log}");
}

/// Regression: start scripts remove the old process's socket. When that process ended, it removed its successor's.
#[tokio::test]
async fn a_relay_that_ends_leaves_the_socket_of_its_successor() {
    let place = Place::new("successor");
    let socket = place.0.join("relay.sock");
    let file = place.write("relay.toml", &config(&format!("unix:{}", socket.display())));
    let mut before = Relay::start(&file);
    before.wait_for("relay is running");
    std::fs::remove_file(&socket).expect("a socket");
    let mut next = Relay::start(&file);
    next.wait_for("relay is running");
    before.signal("TERM");
    assert_eq!(before.end().0, Some(0));
    let mut peer = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
    assert_eq!(answer(&mut peer, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await, 200);
    next.signal("TERM");
    assert_eq!(next.end().0, Some(0));
    assert!(!socket.exists(), "its own it removes");
}

#[tokio::test]
async fn it_waits_for_descriptors_when_they_run_out_and_goes_on_when_there_are_some() {
    let place = Place::new("descriptors");
    let socket = place.0.join("relay.sock");
    let admin = place.0.join("admin.sock");
    let text = config(&format!("unix:{}", socket.display()))
        .replace("admin = \"", &format!("admin = \"unix:{}", admin.display()));
    let text = format!("{text}connections = 1000\n");
    let mut relay = Relay::start_as(with_descriptors(64), &place.write("relay.toml", &text));
    relay.wait_for("relay is running");
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(UnixStream::connect(&socket).await.expect("the backlog takes it"));
    }
    relay.wait_for("cannot accept a connection; trying again");
    drop(held);
    let mut peer = Peer::new(UnixStream::connect(&socket).await.expect("it listens"));
    assert_eq!(answer(&mut peer, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await, 200);
    let mut operator = Peer::new(UnixStream::connect(&admin).await.expect("it listens"));
    operator.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let metrics = String::from_utf8(operator.answer().await.expect("an answer").body).expect("text");
    let failed = metrics.lines().find_map(|line| line.strip_prefix("relay_accept_errors_total "));
    assert!(failed.is_some_and(|times| times != "0"), "{failed:?}");
}

/// Regression: as many connections were accepted as the limit asked for. The last descriptor was gone before anybody
/// was told that there are too many, and operators could not connect either.
#[tokio::test]
async fn no_more_connections_are_let_in_than_there_are_descriptors_for() {
    let place = Place::new("room");
    let text = config("127.0.0.1:0").replace("admin = \"\"", "admin = \"127.0.0.1:0\"");
    let file = place.write("relay.toml", &format!("{text}connections = 1000\n"));
    let mut relay = Relay::start_as(with_descriptors(300), &file);
    let line = relay.wait_for("relay is running");
    assert!(line.ends_with(" connections=44\n"), "{line}");
    let after = |name: &str| line.split(name).nth(1).and_then(|rest| rest.split_whitespace().next()).expect(name);
    let (public, admin) = (after("listen="), after("admin=").trim_matches('"'));
    let warning = relay.wait_for("WARN");
    let expected = " WARN relay::connections: the descriptors allow fewer connections than `limits.connections` asks \
                    for: raise the limit of open files (`LimitNOFILE=` in systemd, `ulimit -n`), or lower \
                    `limits.connections` asked=1000 allowed=44\n";
    assert!(warning.ends_with(expected), "{warning}");
    let connect = async |address: &str| Peer::new(TcpStream::connect(address).await.expect("it listens"));
    let mut held = Vec::new();
    for n in 0..100 {
        let mut peer = connect(public).await;
        peer.send("GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let status = peer.answer().await.expect("an answer").status;
        assert_eq!(status, if n < 44 { 200 } else { 503 }, "connection {n}");
        held.push(peer);
    }
    let mut operator = connect(admin).await;
    operator.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let metrics = String::from_utf8(operator.answer().await.expect("an answer").body).expect("text");
    assert!(metrics.contains("\nrelay_connections_limit 44\n"), "{metrics}");
}

/// Regression: no file had changed, but relay could not open one, and took that for a change to refuse.
#[tokio::test]
async fn files_that_cannot_be_opened_for_want_of_descriptors_are_looked_at_later() {
    let place = Place::new("unseen");
    let socket = place.0.join("relay.sock");
    // There is no polling; and those who hold the descriptors may stay idle for long.
    let more = "reload_poll = \"0 s\"\nheader_timeout = \"60 s\"\n[log]\nlevel = \"debug\"\n";
    let text = format!("{}{more}", config(&format!("unix:{}", socket.display())));
    let file = place.write("relay.toml", &text);
    let mut relay = Relay::start_as(with_descriptors(64), &file);
    relay.wait_for("relay is running");
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(UnixStream::connect(&socket).await.expect("the backlog takes it"));
    }
    let mut wait = |wanted: &str| {
        relay.wait_until(wanted, |line| {
            assert!(!line.contains("refused"), "{line}");
            line.contains(wanted)
        })
    };
    wait("cannot accept a connection; trying again");
    place.write("relay.toml", &text.replace("schema = \"any\"", "schema = \"any\"\ndescription = \"Cats\""));
    wait("the configuration could not be looked at as a whole; trying again");
    drop(held);
    wait("reloaded");
}

/// Regression: the directory that a ConfigMap update replaces is removed at once, and its watch logged a warning about
/// that, twice for each change.
#[test]
fn a_directory_that_goes_is_no_reason_to_warn() {
    let place = Place::new("volume");
    let volume = |version: &str, mood: &str| {
        std::fs::create_dir_all(place.0.join(version).join("schemas")).expect("a directory");
        place.write(&format!("{version}/schemas/cat.json"), &format!("{{\"title\": \"{mood}\"}}"));
        let text = config("127.0.0.1:0").replace("\"any\"", "\"schemas/cat.json\"");
        place.write(&format!("{version}/relay.toml"), &text);
        symlink(version, place.0.join("..data_tmp")).expect("a link");
        std::fs::rename(place.0.join("..data_tmp"), place.0.join("..data")).expect("renamed");
    };
    volume("..1", "sleepy");
    symlink("..data/relay.toml", place.0.join("relay.toml")).expect("a link");
    symlink("..data/schemas", place.0.join("schemas")).expect("a link");
    let mut relay = Relay::start(&place.0.join("relay.toml"));
    relay.wait_for("relay is running");
    for (before, version) in [("..1", "..2"), ("..2", "..3")] {
        volume(version, version);
        std::fs::remove_dir_all(place.0.join(before)).expect("removed");
        let line = relay.line();
        assert!(line.contains("reloaded") && line.contains("trigger=\"file\""), "{line}");
    }
    relay.signal("TERM");
    let (_, rest) = relay.end();
    assert!(!rest.contains("notify"), "{rest}");
}

/// Regression: `/ready` was ready again, but the log's last word was that a reload was refused.
#[test]
fn a_refused_change_that_is_undone_is_a_line_of_the_log() {
    let place = Place::new("undone");
    let good = config("127.0.0.1:0");
    let mut relay = Relay::start(&place.write("relay.toml", &good));
    relay.wait_for("relay is running");
    for (signal, trigger) in [(false, "file"), (true, "signal")] {
        place.write("relay.toml", &good.replace("any", "no.json"));
        relay.wait_for("a reload was refused");
        place.write("relay.toml", &good);
        if signal {
            relay.signal("HUP");
        }
        let line = relay.wait_for("the refused change was undone");
        let expected = " INFO relay::assemble::reload: the files match the running configuration again; the refused change \
                        was undone trigger=";
        assert!(line.contains(expected) && line.ends_with(" generation=1\n"), "{line}");
        assert!(!signal || line.contains(trigger), "{line}");
    }
}

/// Regression: it served a single connection, and reported that as if it were intended.
#[test]
fn hardly_any_descriptors_are_warned_of() {
    let place = Place::new("few");
    let mut relay = Relay::start_as(with_descriptors(300), &place.write("relay.toml", &config("127.0.0.1:0")));
    let warning = relay.wait_for("WARN");
    let expected = " WARN relay::connections: the descriptors allow only a few connections: raise the limit of open files \
                    (`LimitNOFILE=` in systemd, `ulimit -n`), or set `limits.connections` if that is intended \
                    allowed=44\n";
    assert!(warning.ends_with(expected), "{warning}");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let place = Place::new("taken");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let (code, log) = Relay::start(&place.write("relay.toml", &config(&address.to_string()))).end();
    assert_eq!(code, Some(1));
    let expected = format!(
        "cannot listen on `{address}` (Address already in use (os error 98)): free it or change `server.listen`"
    );
    assert!(log.contains(&expected), "{log}");
    // The error follows the format of the log.
    let json = format!("{}[log]\nformat = \"json\"\n", config(&address.to_string()));
    let (_, log) = Relay::start(&place.write("relay.toml", &json)).end();
    let line: serde_json::Value = serde_json::from_str(&log).expect("one line of JSON");
    assert_eq!((&line["message"], &line["error"]), (&"relay cannot run".into(), &expected.into()));
    // Mere warnings about the configuration are in the log too.
    let topic = "[topics.dogs]\nschema = \"any\"\n";
    let (_, log) = Relay::start(&place.write("relay.toml", &format!("{json}{topic}"))).end();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!((&lines[0]["message"], &lines[0]["level"]), (&"the configuration has warnings".into(), &"WARN".into()));
    let warned = lines[0]["diagnostics"].as_str().expect("a text");
    assert!(warned.contains("nobody may publish or subscribe to `dogs`"), "{warned}");
}

/// Regression: in each of these cases the advice was to free the address.
#[test]
fn what_cannot_be_listened_on_is_told_with_what_to_do() {
    let place = Place::new("listen");
    let nowhere = format!("unix:{}", place.0.join("nowhere/relay.sock").display());
    let plain = format!("unix:{}", place.write("plain", "").display());
    for (listen, says) in [
        (&*plain, "the file there is not a socket): remove it or change"),
        (&*nowhere, "No such file or directory (os error 2)): create its directory or change"),
        ("192.0.2.1:1", "Cannot assign requested address (os error 99)): this machine has no such address; change"),
    ] {
        let (code, log) = Relay::start(&place.write("relay.toml", &config(listen))).end();
        assert_eq!(code, Some(1));
        let expected = format!("cannot listen on `{listen}` ({says} `server.listen`");
        assert!(log.contains(&expected), "{log}");
    }
}

#[test]
fn curl_publishes_and_is_told_what_is_wrong_with_its_request() {
    if !has("curl", &["--version"]) {
        return;
    }
    let place = Place::new("curl");
    let mut relay = Relay::start(&place.write("relay.toml", &config("127.0.0.1:0")));
    let line = relay.wait_for("relay is running");
    let at = line.find("listen=").map(|at| at + "listen=".len()).expect("where it listens");
    let address = line[at..].split_whitespace().next().expect("an address");
    let curl = |args: &[&str]| -> Output {
        Command::new("curl").args(["--silent", "--show-error", "--max-time", "20"]).args(args).output().expect("curl")
    };
    let url = format!("http://{address}/publish/cats");
    let json = ["--json", r#"{"name":"Tom"}"#];
    let published = curl(&[json[0], json[1], &url]);
    let text = String::from_utf8_lossy(&published.stdout);
    assert!(published.status.success() && text.starts_with(r#"{"topic":"cats","id":""#), "{published:?}");
    // As a form, which is curl's default.
    let form = curl(&["--data", r#"{"name":"Tom"}"#, "--write-out", "%{http_code}", &url]);
    let text = String::from_utf8_lossy(&form.stdout);
    assert!(text.contains("send `Content-Type: application/json`") && text.ends_with("415"), "{form:?}");
    let big = place.write("big.json", &format!("\"{}\"", "x".repeat(4 << 20)));
    for expect in ["Expect: 100-continue", "Expect:"] {
        let from = format!("@{}", big.display());
        let refused = curl(&[
            "--header",
            expect,
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            &from,
            "--write-out",
            "%{http_code}",
            &url,
        ]);
        assert!(String::from_utf8_lossy(&refused.stdout).ends_with("413"), "{expect}: {refused:?}");
    }
}
