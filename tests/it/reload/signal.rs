//! The program itself, reloaded by SIGHUP, and what the terminal then shows.

use std::fs;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::program::{Place, Relay};

fn config(level: &str, topic: &str) -> String {
    format!(
        "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"\"\n[log]\nlevel = \"{level}\"\n[topics.{topic}]\n\
         schema = \"any\"\n[anonymous]\npublish = [\"**\"]\n[limits]\nreload_poll = \"0 s\"\n"
    )
}

#[test]
fn a_person_reloads_by_signal_and_is_told_what_came_of_it() {
    let place = Place::new("hangup");
    let file = place.write("relay.toml", &config("info", "cats"));
    let mut relay = Relay::start(&file);
    relay.wait_for("relay is running");
    place.write("relay.toml", &config("info", "cats").replace("schema =", "shema ="));
    relay.signal("HUP");
    relay.wait_for("a reload was refused");
    relay.wait_for("error[");
    relay.wait_for("shema = \"***\"");
    relay.wait_for("help: did you mean `schema`?");
    // Since a person asked, even the removal of a topic applies at once.
    let asked = Instant::now();
    place.write("relay.toml", &config("info", "dogs"));
    relay.signal("HUP");
    let line = relay.wait_for("reloaded");
    assert!(line.contains(r#"{"topics_added":["dogs"],"topics_removed":["cats"]}"#), "{line}");
    assert!(line.contains("trigger=\"signal\"") && line.contains("generation=2"), "{line}");
    assert!(asked.elapsed() < Duration::from_millis(1_900), "{:?}", asked.elapsed());
    // A new log level counts from its reload on: the warning is logged before that, the refusal after it.
    place.write("relay.toml", &(config("error", "dogs") + "[topics.cats]\nschema = \"any\"\n").replace("**", "dogs"));
    relay.signal("HUP");
    relay.wait_for("the configuration has warnings");
    place.write("relay.toml", "version = 2\n");
    relay.signal("HUP");
    relay.wait_for("a reload was refused");
    relay.signal("TERM");
    let (code, rest) = relay.end();
    assert_eq!(code, Some(0));
    assert!(!rest.contains("drain"), "nothing but errors is logged now: {rest}");
}

/// Starts the program with many schemas, and waits until it listens to this signal, long before they are loaded.
fn start_slowly(place: &Place, signal: u32) -> Relay {
    let mut text = config("info", "cats");
    fs::create_dir_all(place.0.join("schemas")).expect("a directory");
    for n in 0..60 {
        let members: Vec<String> =
            (0..30).map(|m| format!("\"m{m}\":{{\"pattern\":\"^[a-z]{{{m},{n}99}}$\"}}")).collect();
        place.write(&format!("schemas/{n}.json"), &format!("{{\"properties\":{{{}}}}}", members.join(",")));
        text += &format!("[topics.t{n}]\nschema = \"schemas/{n}.json\"\n");
    }
    let relay = Relay::start(&place.write("relay.toml", &text));
    let began = Instant::now();
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask").trim();
        if u64::from_str_radix(caught, 16).expect("hexadecimal") & (1 << (signal - 1)) != 0 {
            return relay;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it does not listen to {signal}");
        std::thread::yield_now();
    }
}

/// In a container its process id is 1, to which the kernel delivers only signals that it listens to.
#[test]
fn a_signal_to_end_is_obeyed_while_it_loads() {
    let place = Place::new("early-end");
    let relay = start_slowly(&place, 15);
    relay.signal("TERM");
    assert_eq!(relay.end(), (Some(0), "relay: SIGTERM: ended before it was ready\n".to_owned()));
}

#[test]
fn a_signal_to_reload_does_not_end_it_while_it_loads() {
    let place = Place::new("early-hangup");
    let mut relay = start_slowly(&place, 1);
    relay.signal("HUP");
    relay.wait_for("relay is running");
    let line = relay.wait_for("nothing to reload");
    assert!(line.contains("trigger=\"signal\""), "{line}");
    relay.signal("TERM");
    assert_eq!(relay.end().0, Some(0));
}

/// A person who asks must not wait because something else is written beside relay.toml.
#[test]
fn a_signal_does_not_wait_until_it_is_quiet() {
    let place = Place::new("noise");
    let file = place.write("relay.toml", &config("info", "cats"));
    let mut relay = Relay::start(&file);
    relay.wait_for("relay is running");
    std::thread::scope(|scope| {
        let (ends, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let noisy = &place;
        scope.spawn(move || {
            while ended.recv_timeout(Duration::from_millis(20)).is_err_and(|e| e == RecvTimeoutError::Timeout) {
                noisy.write("some.log", "a line");
            }
        });
        for (n, topic) in ["dogs", "birds", "cats"].into_iter().enumerate() {
            place.write("relay.toml", &config("info", topic));
            let asked = Instant::now();
            relay.signal("HUP");
            let line = relay.wait_for("reloaded");
            assert!(line.contains("trigger=\"signal\""), "{n}: {line}");
            assert!(asked.elapsed() < Duration::from_millis(600), "{n}: {:?}", asked.elapsed());
        }
        drop(ends);
    });
    relay.signal("TERM");
    assert_eq!(relay.end().0, Some(0));
}
