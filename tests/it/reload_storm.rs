//! Random reloads, good and bad ones, under load:
//! `RELOADS=10000 cargo test --release --test it reload_storm -- --nocapture`

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::model::dice::Dice;
use crate::reload::site::{HEAD, Site, token};
use crate::rig::{call, spawn};
use crate::subscriber::Subscriber;

const UNAFFECTED: usize = 450;
const AFFECTED: usize = 50;
/// Topics that no reload touches.
const QUIET: usize = 5;
/// Topics that come, go and change.
const MOVING: usize = 8;

/// A random configuration: the moving topics exist or not, with one schema or another, and grants and limits vary.
fn good(dice: &mut Dice) -> String {
    let mut text = format!("{HEAD}{}", token("quiet", "publish = [\"**\"]\nsubscribe = [\"quiet.*\"]"));
    let grant = ["[\"**\"]", "[\"moving.*\", \"quiet.*\"]", "[\"quiet.0\"]"][dice.below(3)];
    text += &token("moving", &format!("publish = [\"**\"]\nsubscribe = {grant}"));
    for n in 0..QUIET {
        let _ = writeln!(text, "[topics.\"quiet.{n}\"]\nschema = \"quiet.json\"\nhistory = {{ count = 100 }}");
    }
    for n in 0..MOVING {
        match dice.below(4) {
            0 => {}
            kind => {
                let schema = ["any", "a.json", "b.json"][kind - 1];
                let count = 100 + dice.below(100);
                let _ =
                    writeln!(text, "[topics.\"moving.{n}\"]\nschema = \"{schema}\"\nhistory = {{ count = {count} }}");
            }
        }
    }
    // Little is retained, so that memory shows what reloads leave behind.
    let _ = writeln!(text, "[limits]\nwindow = \"64 KiB\"\nbody = \"16 KiB\"\nbatch = {}", 1 + dice.below(1_000));
    text
}

fn bad(dice: &mut Dice) -> String {
    let good = good(dice);
    match dice.below(4) {
        0 => good[..good.len() / 2].to_owned() + "[[[",
        1 => good.replace("127.0.0.1:0", "127.0.0.1:9"),
        2 => good + "[topics.cats]\nschema = \"nowhere.json\"\n",
        _ => good + "no_such_limit = 1\n",
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// A subscriber that no reload concerns: it gets each topic's numbers in order, and nothing else.
async fn follow(mut socket: Subscriber, seen: Arc<AtomicU64>, last: u64) {
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut got = 0;
    while got < last {
        let json = socket.json().await;
        assert_eq!(json["type"], "message", "a reload was noticed: {json}");
        let topic = json["topic"].as_str().expect("a topic").to_owned();
        let n = json["data"]["n"].as_u64().expect("a number");
        let expected = next.entry(topic).or_default();
        assert_eq!(n, *expected, "lost or doubled");
        *expected += 1;
        got += 1;
        seen.fetch_add(1, Ordering::Relaxed);
    }
}

/// A subscriber that reloads do concern: whatever it is told, it stays connected.
async fn bear(mut socket: Subscriber, done: Arc<AtomicBool>) -> (u64, u64) {
    let (mut notices, mut messages) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        socket.send(r#"{"topics":["moving.*"]}"#).await;
        loop {
            let json = socket.json().await;
            match json["type"].as_str().expect("a type") {
                "ok" | "error" => break,
                "message" => messages += 1,
                _ => notices += 1,
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (notices, messages)
}

async fn publish(site: &Site, topic: &str, body: &str) -> u16 {
    let head = "HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer quiet\r\n";
    call(site.public, &format!("POST /publish/{topic} {head}"), body).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_storm() {
    let reloads: u64 = std::env::var("RELOADS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let first = good(&mut dice);
    let files = [
        ("relay.toml", first.as_str()),
        ("quiet.json", "{\"type\": \"object\", \"required\": [\"n\"]}"),
        ("a.json", "{\"type\": \"integer\"}"),
        ("b.json", "{\"type\": [\"integer\", \"string\"]}"),
    ];
    let site = Arc::new(Site::start(&files).await);
    let seen = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let mut followers = Vec::new();
    for _ in 0..UNAFFECTED {
        let mut socket = site.subscriber("quiet").await;
        socket.subscribe("quiet.*").await;
        followers.push(spawn(follow(socket, seen.clone(), reloads)));
    }
    let mut others = Vec::new();
    for _ in 0..AFFECTED {
        others.push(spawn(bear(site.subscriber("moving").await, done.clone())));
    }
    let began = Instant::now();
    let mut old = Vec::new();
    let (mut generation, mut committed, mut refused, mut slowest, mut base) = (1, 0_u64, 0_u64, 0, 0);
    for n in 0..reloads {
        let topic = format!("quiet.{}", n % QUIET as u64);
        let number = format!("{{\"n\":{}}}", n / QUIET as u64);
        let is_bad = dice.below(3) == 0;
        site.place.write("relay.toml", &if is_bad { bad(&mut dice) } else { good(&mut dice) });
        let moving = format!("moving.{}", dice.below(MOVING));
        let (answer, status, _) =
            tokio::join!(site.reload(), publish(&site, &topic, &number), publish(&site, &moving, "1"));
        assert_eq!(status, 200);
        let report = answer.json();
        assert_eq!(answer.status, if is_bad { 422 } else { 200 }, "{report:#}");
        let now = report["generation"].as_u64().expect("a generation");
        let grown = u64::from(report["result"] == "committed");
        assert_eq!(now, generation + grown, "{report:#}");
        (generation, committed, refused) = (now, committed + grown, refused + u64::from(is_bad));
        slowest = slowest.max(report["took_ms"].as_u64().expect("milliseconds"));
        old.retain(|snapshot: &Weak<_>| snapshot.strong_count() > 0);
        old.push(Arc::downgrade(&site.live.snapshot()));
        if n == reloads / 10 {
            base = resident();
        }
    }
    let took = began.elapsed();
    for follower in followers {
        follower.await.expect("nobody is disturbed");
    }
    done.store(true, Ordering::SeqCst);
    let (mut notices, mut messages) = (0, 0);
    for other in others {
        let (told, got) = other.await.expect("nobody is disconnected");
        (notices, messages) = (notices + told, messages + got);
    }
    let end = resident();
    println!(
        "{reloads} reloads in {took:.1?} under {} subscribers: {committed} committed, {refused} refused, the slowest \
         {slowest} ms; {} deliveries to those that they do not concern, all in order; {notices} notices and {messages} \
         messages to the others; memory {base} KiB after a tenth of them, {end} KiB at the end",
        UNAFFECTED + AFFECTED,
        seen.load(Ordering::Relaxed),
    );
    assert_eq!(seen.load(Ordering::Relaxed), reloads * UNAFFECTED as u64);
    assert!(notices > 0, "the others are told");
    let left = |site: &Site| {
        let now = site.live.snapshot();
        old.iter().filter_map(Weak::upgrade).all(|kept| Arc::ptr_eq(&kept, &now))
    };
    site.until("the end of all old configurations", left).await;
    // With other tests in this process, the memory is theirs as well.
    if std::env::var_os("RELOADS").is_some() {
        assert!(end < base + (16 << 10), "memory grows: {base} KiB, then {end} KiB");
    }
}
