//! `relay bench`, the program, against a relay that runs.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::{Place, Relay};

const CONFIG: &str = r#"version = 1
[server]
listen = "127.0.0.1:0"
admin = ""
[topics.any]
schema = "any"
[topics.strict]
schema = "strict.json"
[[topics.strict.examples]]
valid = { n = 7 }
[topics."orders.{region}"]
schema = "any"
[topics.secret]
schema = "any"
[tokens.bench]
secret = { file = "token" }
publish = ["secret"]
subscribe = ["secret"]
[anonymous]
publish = ["any", "strict", "orders.*"]
subscribe = ["any", "strict", "orders.*"]
"#;

struct Site {
    place: Place,
    url: String,
    _relay: Relay,
}

impl Site {
    fn start(name: &str) -> Self {
        let place = Place::new(name);
        place.write("strict.json", r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#);
        place.write("token", "a-secret-that-is-long-enough-for-all\n");
        let mut relay = Relay::start(&place.write("relay.toml", CONFIG));
        let (public, _) = relay.addresses();
        relay.ignore_log();
        Self { place, url: format!("http://{public}"), _relay: relay }
    }

    fn bench(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command.arg("bench").arg(&self.url).args(arguments).current_dir(&self.place.0).env("NO_COLOR", "1");
        command.output().expect("relay starts")
    }

    /// What it found, as programs read it.
    fn found(&self, arguments: &[&str]) -> Value {
        let output = self.bench(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"", "the bar is for terminals");
        serde_json::from_slice(&output.stdout).expect("one JSON text")
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.bench(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
        String::from_utf8(output.stderr).expect("text")
    }
}

#[test]
fn every_message_to_every_subscriber_is_counted_on_both_transports() {
    let site = Site::start("bench-counts");
    for transport in ["ws", "sse"] {
        let arguments = ["--topic", "any", "--subscribers", "20", "--messages", "50", "--transport", transport];
        let found = site.found(&[&arguments[..], &["--window", "4", "--publishers", "2"]].concat());
        for (name, value) in [("published", 50), ("delivered", 1_000), ("subscribers", 20), ("window", 4)] {
            assert_eq!(found[name], value, "{transport}: {name}");
        }
        for name in ["lost", "duplicated", "out_of_order", "foreign", "gaps"] {
            assert_eq!(found[name], 0, "{transport}: {name}");
        }
        assert_eq!((&found["transport"], &found["complaint"]), (&transport.into(), &Value::Null));
        let latency = |name: &str| found["latency_microseconds"][name].as_f64().expect("microseconds");
        assert!(
            0.0 < latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"),
            "{found:#}"
        );
    }
}

#[test]
fn a_load_is_spread_over_a_family() {
    let site = Site::start("bench-family");
    let arguments = ["--topic", "orders.{n}", "--topics", "5", "--subscribers", "10", "--messages", "20"];
    let found = site.found(&arguments);
    assert_eq!((&found["topics"], &found["published"], &found["delivered"]), (&5.into(), &20.into(), &40.into()));
}

#[test]
fn people_read_it_as_text_and_as_a_picture() {
    let site = Site::start("bench-text");
    let output = site.bench(&["--topic", "strict", "--subscribers", "3", "--messages", "10", "--plot", "plot.svg"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let first = "load       strict, 3 subscribers over ws, payload 7 B (an example of the topic), window 1\n";
    assert!(text.starts_with(first), "{text}");
    for line in [
        "connected  in ",
        "published  10 messages in ",
        "answered   p50 ",
        "delivered  30 messages: ",
        "latency    p50 ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}: {text}");
    }
    assert!(text.ends_with("lost       0, duplicated 0, out of order 0, gaps told 0\n"), "{text}");
    let svg = std::fs::read_to_string(site.place.0.join("plot.svg")).expect("the picture");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(svg.contains("p50") && svg.contains("p99") && svg.contains("strict, 3 subscribers over ws"), "{svg}");
    let opened = svg.matches("<text").count();
    assert_eq!(opened, svg.matches("</text>").count());
}

#[test]
fn a_token_comes_from_a_file_or_the_environment() {
    let site = Site::start("bench-token");
    let topic = ["--topic", "secret", "--subscribers", "2", "--messages", "3"];
    assert_eq!(site.found(&[&topic[..], &["--token-file", "token"]].concat())["delivered"], 6);
    let missing = site.refused(&[&topic[..], &["--token-env", "NO_SUCH_VARIABLE"]].concat());
    assert_eq!(missing, "relay: `NO_SUCH_VARIABLE` is not set: it should hold the token\n");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let site = Site::start("bench-refused");
    let payload: PathBuf = site.place.write("payload.json", "{\"n\":\"seven\"}");
    let payload = payload.to_str().expect("a path");
    let few = ["--subscribers", "1", "--messages", "1"];
    for (arguments, expected) in [
        (
            &["--topic", "strict", "--data", payload][..],
            "relay: a publish to `strict` would be refused: 422 validation-failed: 1 violation of the schema of `strict`\n  \
             `/n` (type): an integer is expected, not a string\n",
        ),
        (&["--topic", "any", "--topics", "2"], "relay: `any` is one topic: write `{n}` where the 2 differ\n"),
        (
            &["--topic", "strict", "--size", "1KiB"],
            "relay: `strict` has a schema, to which no filler fits: give a payload of that size with --data\n",
        ),
        (
            &["--topic", "dogs"],
            "relay: `GET /topics/dogs` was refused: 401 unauthenticated: anonymous callers may not do this: send `Authorization: \
             Bearer <token>`\n",
        ),
    ] {
        let told = site.refused(&[&few[..], arguments].concat());
        assert_eq!(told, expected, "{arguments:?}");
    }
    let nowhere = Command::new(env!("CARGO_BIN_EXE_relay")).args(["bench", "ftp://x"]).output().expect("relay starts");
    let expected = "relay: `ftp://x` is not where a relay can be: write `http://host:port`, `https://host:port` or `unix:/path` \
                    of its public listener\n";
    assert_eq!((nowhere.status.code(), String::from_utf8_lossy(&nowhere.stderr).as_ref()), (Some(1), expected));
}
