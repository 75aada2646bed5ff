//! `relay bench`: the real program measures a real relay.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Place, Relay};

const CONFIG: &str = r#"
version = 1
[server]
listen = "127.0.0.1:0"
admin = ""
[topics.cats]
schema = "any"
[topics.dogs]
schema = "dog.json"
[[topics.dogs.examples]]
valid = { name = "Rex" }
[topics.foxes]
schema = "dog.json"
[topics."orders.{region}"]
schema = "any"
[topics.secrets]
schema = "any"
[tokens.shop]
secret = { env = "SHOP" }
publish = ["**"]
subscribe = ["**"]
[anonymous]
publish = ["cats", "dogs", "foxes", "orders.*"]
subscribe = ["cats", "dogs", "foxes", "orders.*"]
"#;

const DOG: &str = r#"{
  "type": "object",
  "required": ["name"],
  "properties": {"name": {"type": "string", "minLength": 3}},
  "additionalProperties": false
}"#;

const SECRET: &str = "a-secret-of-the-shop-that-is-long-enough";

/// A running relay, its directory and its URL.
struct Site {
    place: Place,
    relay: Relay,
    url: String,
}

impl Site {
    fn start(name: &str) -> Self {
        let place = Place::new(name);
        place.write("dog.json", DOG);
        let file = place.write("relay.toml", CONFIG);
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command.env("SHOP", SECRET);
        let mut relay = Relay::start_as(command, &file);
        let url = format!("http://{}", relay.addresses().0);
        relay.ignore_log();
        Self { place, relay, url }
    }

    /// Runs `relay bench` on it.
    fn bench(&self, arguments: &str) -> Output {
        let arguments =
            arguments.split_whitespace().map(|word| word.replace("PLACE", &self.place.0.display().to_string()));
        program().arg("bench").arg(&self.url).args(arguments).env("SHOP", SECRET).output().expect("relay starts")
    }

    /// Runs `relay bench --json`, which must succeed.
    fn measure(&self, arguments: &str) -> Value {
        let output = self.bench(&format!("{arguments} --json"));
        assert_eq!((output.status.code(), told(&output)), (Some(0), ""), "{arguments}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_relay"))
}

/// What the program wrote to standard error.
fn told(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

fn printed(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

#[test]
fn every_delivery_is_counted_over_either_transport_and_on_several_threads() {
    let site = Site::start("bench-counts");
    for (more, transport) in [
        ("--transport ws", "ws"),
        ("--transport ws --threads 3 --publishers 3 --window 8", "ws"),
        ("--transport sse", "sse"),
        ("--transport sse --threads 2 --window 4", "sse"),
    ] {
        let found = site.measure(&format!("--topic cats --subscribers 20 --messages 50 --size 200 {more}"));
        assert_eq!(found["topic"], "cats");
        assert_eq!(found["transport"], transport);
        for (name, expected) in [
            ("subscribers", 20),
            ("published", 50),
            ("delivered", 1_000),
            ("lost", 0),
            ("duplicated", 0),
            ("out_of_order", 0),
            ("foreign", 0),
            ("gaps", 0),
            ("payload_bytes", 200),
        ] {
            assert_eq!(found[name], expected, "{more}: {name} of {found}");
        }
        assert_eq!(found["closed"], Value::Array(Vec::new()));
        assert!(found["delivered_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000 * 200), "{found}");
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("a number in {found}"));
        for latencies in ["latency_microseconds", "answer_microseconds"] {
            let shown = ["p50", "p90", "p99", "p99_9", "max"].map(|name| number(&found[latencies][name]));
            assert!(shown[0] > 0.0 && shown.is_sorted(), "{latencies} of {found}");
        }
        for name in ["connected_seconds", "measured_seconds", "published_per_second", "delivered_per_second"] {
            assert!(number(&found[name]) > 0.0, "{name} of {found}");
        }
    }
}

#[test]
fn a_family_is_spread_over_its_topics() {
    let site = Site::start("bench-family");
    let found = site.measure("--topic orders.{n} --topics 5 --subscribers 12 --messages 25 --threads 2");
    // 12 subscribers on 5 topics: three on each of the first two and two on each of the others. Each topic gets five
    // messages.
    assert_eq!((&found["topics"], &found["delivered"], &found["lost"]), (&5.into(), &(5 * 12).into(), &0.into()));
    // Topics without subscribers are published to as well.
    let found = site.measure("--topic orders.{n} --topics 5 --subscribers 2 --messages 10");
    assert_eq!((&found["published"], &found["delivered"]), (&10.into(), &4.into()));
    let found = site.measure("--topic cats --subscribers 0 --messages 10 --publishers 4");
    assert_eq!((&found["published"], &found["delivered"], &found["window"]), (&10.into(), &0.into(), &4.into()));
}

#[test]
fn a_payload_is_found_that_the_topic_takes() {
    let site = Site::start("bench-payload");
    let text = |arguments: &str| {
        let output = site.bench(&format!("--subscribers 2 --messages 3 {arguments}"));
        assert_eq!((output.status.code(), told(&output)), (Some(0), ""), "{arguments}");
        printed(&output).lines().next().expect("a line").to_owned()
    };
    let load = "2 subscribers over ws, payload";
    assert_eq!(text("--topic cats"), format!("load       cats, {load} 128 B (filler), window 1"));
    assert_eq!(text("--topic dogs"), format!("load       dogs, {load} 14 B (an example of the topic), window 1"));
    assert_eq!(text("--topic foxes"), format!("load       foxes, {load} 14 B (made from the schema), window 1"));
    site.place.write("rover.json", r#"{"name": "Rover the third"}"#);
    // Longer than what is read at once.
    let large = site.measure("--topic cats --subscribers 2 --messages 3 --size 60000 --transport sse");
    assert_eq!((&large["delivered"], &large["lost"]), (&6.into(), &0.into()), "{large}");
    let given = text("--topic dogs --data PLACE/rover.json --window 3");
    assert_eq!(given, format!("load       dogs, {load} 27 B (the file), window 3"));
}

#[test]
fn what_is_refused_is_told_word_for_word() {
    let site = Site::start("bench-refused");
    site.place.write("bad.json", r#"{"name": "R"}"#);
    let refused = "relay: a publish to `dogs` would be refused: 422 validation-failed: 1 violation of the schema of `dogs`\n\
                  \x20 `/name` (minLength): \"R\" is shorter than 3 characters\n";
    for (arguments, expected) in [
        ("--topic dogs --data PLACE/bad.json", refused.to_owned()),
        (
            "--topic nothing --token-env SHOP",
            "relay: `GET /topics/nothing` was refused: 404 unknown-topic: relay.toml declares no topic \
             `nothing` and no family that covers it\n"
                .to_owned(),
        ),
        (
            "--topic secrets",
            "relay: `GET /topics/secrets` was refused: 401 unauthenticated: anonymous callers have no grant for `secrets`: check the \
             name, or send `Authorization: Bearer <token>`\n"
                .to_owned(),
        ),
        (
            "--topic dogs --size 100",
            "relay: `dogs` has a schema, so --size cannot be used: give a payload of that size with --data\n".to_owned(),
        ),
        ("--topic cats --topics 2", "relay: `cats` is one topic: write `{n}` where the 2 names differ\n".to_owned()),
        (
            "",
            "relay: there are 4 topics: name a topic with --topic: each of its subscribers gets what `relay bench` publishes\n"
                .to_owned(),
        ),
        (
            "--token-env SHOP",
            "relay: a token was given: name a topic with --topic: each of its subscribers gets what `relay bench` publishes\n"
                .to_owned(),
        ),
        ("--token-env NOT_SET_AT_ALL", "relay: the environment variable `NOT_SET_AT_ALL` is not set: it should hold the token\n".to_owned()),
        ("--topic cats --data /not/there", "relay: cannot read `/not/there`: No such file or directory (os error 2)\n".to_owned()),
    ] {
        let output = site.bench(arguments);
        assert_eq!((output.status.code(), told(&output)), (Some(1), expected.as_str()), "{arguments}");
        assert_eq!(printed(&output), "");
    }
    for end in ["\n", "\r\n", ""] {
        site.place.write("token", &format!("{SECRET}{end}"));
        let found = site.measure("--topic secrets --token-file PLACE/token --subscribers 3 --messages 3");
        assert_eq!(found["delivered"], 9, "{end:?}");
    }
    let found = site.measure("--topic secrets --token-env SHOP --subscribers 3 --messages 3 --transport sse");
    assert_eq!(found["delivered"], 9);
}

#[test]
fn a_relay_is_reached_over_tls_and_over_a_unix_socket() {
    let place = Place::new("bench-wires");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let ca = place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", &made.signing_key.serialize_pem());
    place.write("dog.json", DOG);
    let tls = "admin = \"\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }";
    let mut relay = Relay::start(&place.write("tls.toml", &without_token(&CONFIG.replace("admin = \"\"", tls))));
    let port = relay.addresses().0.rsplit_once(':').expect("a port").1.to_owned();
    relay.ignore_log();
    let url = format!("https://localhost:{port}");
    let bench = |url: &str, more: &[&str]| {
        let load = ["--topic", "cats", "--subscribers", "4", "--messages", "5", "--json"];
        program().args(["bench", url]).args(load).args(more).output().expect("relay starts")
    };
    let delivered = |output: &Output| -> Value {
        assert_eq!((output.status.code(), told(output)), (Some(0), ""));
        serde_json::from_slice::<Value>(&output.stdout).expect("one JSON object")["delivered"].clone()
    };
    let trusted = ["--ca", ca.to_str().expect("a path")];
    for transport in ["ws", "sse"] {
        assert_eq!(delivered(&bench(&url, &[&trusted[..], &["--transport", transport]].concat())), 20, "{transport}");
    }
    let untrusted = bench(&url, &[]);
    assert_eq!(untrusted.status.code(), Some(1));
    let expected = format!(
        "relay: cannot connect to `{url}` (invalid peer certificate: UnknownIssuer): name the authority that has signed it \
         with `--ca FILE`\n"
    );
    assert_eq!(told(&untrusted), expected);
    let plain = bench(&url.replace("https", "http"), &[]);
    let expected = "relay: the answer is not HTTP (invalid HTTP version parsed): does that port speak TLS?\n";
    assert_eq!((plain.status.code(), told(&plain)), (Some(1), expected));

    let socket = place.0.join("relay.sock");
    let toml = without_token(CONFIG).replace("127.0.0.1:0", &format!("unix:{}", socket.display()));
    let mut relay = Relay::start(&place.write("unix.toml", &toml));
    relay.wait_for("relay is running");
    relay.ignore_log();
    assert_eq!(delivered(&bench(&format!("unix:{}", socket.display()), &[])), 20);

    let mut relay = Relay::start(&place.write("plain.toml", &without_token(CONFIG)));
    let url = format!("https://{}", relay.addresses().0);
    relay.ignore_log();
    let (encrypted, expected) = (bench(&url, &[]), "InvalidContentType): does that port speak TLS?\n");
    assert!(encrypted.status.code() == Some(1) && told(&encrypted).ends_with(expected), "{}", told(&encrypted));
}

/// The configuration without the token, whose secret needs an environment variable.
fn without_token(config: &str) -> String {
    let (before, rest) = config.split_once("[tokens.shop]").expect("the token");
    format!("{before}{}", &rest[rest.find("[anonymous]").expect("what follows")..])
}

#[test]
fn where_no_relay_runs_is_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let refused = "Connection refused (os error 111)";
    for (url, expected) in [
        (
            format!("http://{unused}"),
            format!("relay: cannot connect to `http://{unused}` ({refused}): is a relay running there?\n"),
        ),
        (
            "localhost:8000".to_owned(),
            "relay: `localhost:8000` is not the URL of a relay: write `http://host:port`, `https://host:port` or \
             `unix:/path` of its public listener\n"
                .to_owned(),
        ),
    ] {
        let output = program().args(["bench", &url]).output().expect("relay starts");
        assert_eq!((output.status.code(), told(&output)), (Some(1), expected.as_str()));
    }
}

/// Regression: it waited forever, without a word.
#[test]
fn what_listens_and_does_not_answer_is_told() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let output = program().args(["bench", &url, "--topic", "cats"]).output().expect("relay starts");
    let expected = format!("relay: `{url}` accepts connections and has not answered within 10 s: is it a relay's?\n");
    assert_eq!((output.status.code(), told(&output)), (Some(1), expected.as_str()));
}

#[test]
fn a_limit_of_descriptors_that_is_too_small_is_told_before_anything_is_done() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 100; exec \"$0\" bench --subscribers 500", env!("CARGO_BIN_EXE_relay")]);
    let output = shell.output().expect("relay starts");
    let expected = "relay: 500 subscribers need 533 open files, and this process may have 100: raise the limit (`ulimit -n`) \
                    or take fewer\n";
    assert_eq!((output.status.code(), told(&output)), (Some(1), expected));
}

/// Regression: with so many subscribers the number of descriptors overflowed or a panic followed, and so large a
/// payload panicked.
#[test]
fn a_number_beyond_what_can_be_is_refused_by_name() {
    let most = u64::MAX.to_string();
    for (option, value, why) in [
        ("--subscribers <N>", &*most, "number too large to fit in target type"),
        ("--subscribers <N>", "1000001", "1000001 is not in 0..=1000000"),
        ("--topics <N>", &most, "number too large to fit in target type"),
        ("--messages <N>", "0", "0 is not in 1..18446744073709551615"),
        ("--rate <R>", "4294967296", "4294967296 is not in 0..=4294967295"),
        ("--window <N>", "100001", "100001 is not in 1..=100000"),
        ("--publishers <N>", "10001", "10001 is not in 1..=10000"),
        ("--threads <N>", "257", "257 is not in 1..=256"),
        ("--size <SIZE>", &most, "no relay takes more than 64 MiB"),
        ("--size <SIZE>", "64MiB1", "write bytes, or a number and a unit, such as `512 B` or `4KiB`"),
        ("--size <SIZE>", "67108865", "no relay takes more than 64 MiB"),
        ("--duration <TIME>", "18446744073709551615d", "write a number and a unit, such as `10s`, `500ms` or `2min`"),
    ] {
        let name = option.split(' ').next().expect("a name");
        let output = program().args(["bench", name, value]).output().expect("relay starts");
        let expected =
            format!("error: invalid value '{value}' for '{option}': {why}\n\nFor more information, try '--help'.\n");
        assert_eq!((output.status.code(), told(&output)), (Some(2), expected.as_str()), "{option} {value}");
    }
}

#[test]
fn a_relay_that_ends_meanwhile_is_told_with_what_was_measured() {
    let site = Site::start("bench-ends");
    let bench = under_way(&site);
    site.relay.signal("TERM");
    let output = bench.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(found["closed"][0]["code"], 4200, "{found}");
    assert!(found["delivered"].as_u64().is_some_and(|deliveries| deliveries > 0), "{found}");
    assert_eq!(told(&output), format!("relay: {}\n", found["complaint"].as_str().expect("a sentence")));
    let site = Site::start("bench-killed");
    let bench = under_way(&site);
    site.relay.signal("KILL");
    let found = bench.wait_with_output().expect("an end").stdout;
    let found: Value = serde_json::from_slice(&found).expect("one JSON object");
    let closed = found["closed"].as_array().expect("a list");
    assert!(!closed.is_empty() && closed.iter().all(|one| one["code"].is_null()), "{found}");
}

#[test]
fn an_interrupt_ends_it_with_what_was_measured() {
    let site = Site::start("bench-interrupted");
    let bench = under_way(&site);
    assert!(Command::new("kill").args(["-INT", &bench.id().to_string()]).status().expect("kill").success());
    let output = bench.wait_with_output().expect("an end");
    let found: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((output.status.code(), told(&output)), (Some(0), ""), "{found}");
    assert_eq!((&found["interrupted"], &found["lost"]), (&true.into(), &0.into()), "{found}");
}

/// Starts a run of minutes, and waits until it publishes.
fn under_way(site: &Site) -> Child {
    let mut command = program();
    command.args(["bench", &site.url, "--topic", "cats", "--subscribers", "5", "--duration", "5min", "--json"]);
    let bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("relay starts");
    wait_for_messages(&site.url);
    bench
}

/// Waits with a long poll until something has been published to `cats`.
fn wait_for_messages(url: &str) {
    let url = format!("{url}/history/cats?after=earliest&wait=30&limit=1");
    let address = url.trim_start_matches("http://").split('/').next().expect("an address").to_owned();
    let path = &url[url.find("/history").expect("a path")..];
    let mut socket = std::net::TcpStream::connect(&address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut socket, request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut socket, &mut answer).expect("an answer");
    assert!(answer.contains("\"messages\":[{"), "{answer}");
}

#[test]
fn others_may_publish_to_the_topic_meanwhile() {
    let site = Site::start("bench-others");
    let mut other = program();
    other.args(["bench", &site.url, "--topic", "cats", "--subscribers", "1", "--duration", "5min", "--json"]);
    let mut other = other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    wait_for_messages(&site.url);
    let found = site.measure("--topic cats --subscribers 10 --messages 200 --window 4 --publishers 2");
    other.kill().expect("it runs");
    other.wait().expect("an end");
    assert_eq!((&found["delivered"], &found["lost"]), (&2_000.into(), &0.into()), "{found}");
    assert!(found["foreign"].as_u64().is_some_and(|deliveries| deliveries > 0), "{found}");
}

#[test]
fn a_pace_is_kept_and_a_warm_up_left_out() {
    let site = Site::start("bench-pace");
    let found = site.measure("--topic cats --subscribers 2 --rate 100 --warmup 300ms --messages 50");
    assert_eq!((&found["published"], &found["delivered"]), (&50.into(), &100.into()), "{found}");
    // The last of 50 is due 490 ms after the first, and may be later on a busy machine.
    let seconds = found["measured_seconds"].as_f64().expect("a number");
    assert!((0.47..5.0).contains(&seconds), "{found}");
    let fast = site.bench("--topic cats --subscribers 1 --rate 10000000 --messages 20");
    let advice = "the requested 10,000,000/s was not reached: try a larger --window or more --publishers";
    assert!(printed(&fast).contains(advice), "{}", printed(&fast));
}

#[test]
fn the_plot_is_a_picture_of_the_run() {
    let site = Site::start("bench-plot");
    let failed = site.bench("--topic nobody.has.it --plot PLACE/plot.svg");
    assert!(
        !failed.status.success() && !site.place.0.join("plot.svg").exists(),
        "a run that failed left an empty file"
    );
    site.measure("--subscribers 5 --duration 300ms --topic orders.{n} --topics 2 --plot PLACE/plot.svg");
    let svg = fs::read_to_string(site.place.0.join("plot.svg")).expect("it was written");
    for text in [
        "Latency from publish to subscriber, over time",
        "orders.{n} (2 topics), 5 subscribers over ws, payload 128 B",
        ">p50 ",
        ">p99 ",
        ">max ",
        "seconds since measuring began",
    ] {
        assert!(svg.contains(text), "no `{text}` in\n{svg}");
    }
    is_well_formed(&svg);
    site.measure("--subscribers 0 --messages 3 --topic cats --plot PLACE/plot.svg");
    let nothing = fs::read_to_string(site.place.0.join("plot.svg")).expect("it was written");
    assert!(nothing.contains("nothing was delivered") && nothing.contains(">p50<"), "{nothing}");
    let began = Instant::now();
    let output = site.bench("--topic cats --subscribers 1 --duration 30s --plot /not/there/plot.svg");
    assert!(began.elapsed() < Duration::from_secs(25), "it is told before the run");
    let expected = "relay: cannot write `/not/there/plot.svg`: No such file or directory (os error 2)\n";
    assert_eq!((output.status.code(), told(&output)), (Some(1), expected));
    assert!(!Path::new("/not/there").exists());
}

/// Every element is closed in order, and no number is NaN or infinite.
fn is_well_formed(svg: &str) {
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let mut open = Vec::new();
    let mut elements = 0;
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
        elements += 1;
    }
    assert!(open.is_empty() && elements > 20, "{svg}");
}
