//! A reload of 5,000 topics over 500 schemas, and what open connections notice of it:
//! `cargo test --release --test it reload_large -- --ignored --nocapture`

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::write_large;
use crate::program::Place;
use crate::reload::site::{HEAD, Site, token};
use crate::rig::{call, spawn};

const SUBSCRIBERS: usize = 100;

/// Publishes the time to all subscribers while `during` runs. Returns how long each message took, sorted.
async fn deliveries(site: &Arc<Site>, during: impl Future<Output = ()>) -> Vec<Duration> {
    let began = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut socket = site.subscriber("all").await;
        socket.subscribe("clock").await;
        readers.push(spawn(async move {
            let mut took = Vec::new();
            loop {
                let json = socket.json().await;
                let Some(sent) = json["data"].as_u64() else { return took };
                took.push(began.elapsed() - Duration::from_nanos(sent));
            }
        }));
    }
    let publisher = spawn({
        let (site, done) = (site.clone(), done.clone());
        async move {
            let head = "POST /publish/clock HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                        Authorization: Bearer all\r\n";
            let socket = tokio::net::TcpStream::connect(site.public).await.expect("it listens");
            socket.set_nodelay(true).expect("a socket");
            let mut peer = crate::peer::Peer::new(socket);
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !done.load(Ordering::SeqCst) {
                tick.tick().await;
                let now = began.elapsed().as_nanos().to_string();
                peer.send(format!("{head}Content-Length: {}\r\n\r\n{now}", now.len())).await;
                assert_eq!(peer.answer().await.expect("an answer").status, 200);
            }
            peer.send(format!("{head}Content-Length: 4\r\n\r\nnull")).await;
            peer.answer().await.expect("an answer");
        }
    });
    during.await;
    done.store(true, Ordering::SeqCst);
    publisher.await.expect("no panic");
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader.await.expect("no panic"));
    }
    all.sort_unstable();
    all
}

fn quantiles(all: &[Duration]) -> [Duration; 3] {
    [50, 99, 100].map(|percent| all[(all.len() * percent / 100).min(all.len() - 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release --test it reload_large -- --ignored --nocapture"]
async fn reload_large() {
    let place = Place::new("large");
    write_large(&place.0);
    let text = fs::read_to_string(place.0.join("relay.toml")).expect("it is there");
    let head = HEAD.replace("version = 1\n", "");
    let all = token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]");
    place.write("relay.toml", &format!("{text}{head}{all}[topics.clock]\nschema = \"any\"\n"));
    let site = Arc::new(Site::open(place, "relay.toml").await);
    let usual = deliveries(&site, tokio::time::sleep(Duration::from_secs(4))).await;
    println!("usual: {} deliveries, p50 p99 max {:?}", usual.len(), quantiles(&usual));
    for (what, schemas, bound, was) in
        [("one schema changed", 1, "maxLength", 40), ("all 500 schemas changed", 500, "maxItems", 100)]
    {
        let mut slowest = 0;
        let during = async {
            for round in 0..8 {
                tokio::task::block_in_place(|| {
                    for n in 0..schemas {
                        let path = site.place.0.join(format!("schemas/{n}.json"));
                        let text = fs::read_to_string(&path).expect("it is there");
                        let now = text.replacen(
                            &format!("\"{bound}\":{}", was + round),
                            &format!("\"{bound}\":{}", was + round + 1),
                            1,
                        );
                        assert_ne!(now, text, "the bound is where it was");
                        fs::write(&path, now).expect("a file");
                    }
                });
                let report = call(site.admin, "POST /reload HTTP/1.1\r\n", "").await.json();
                assert_eq!(report["result"], "committed", "{report:#}");
                assert_eq!(report["plan"]["schemas_changed"].as_array().map(Vec::len), Some(schemas * 10));
                slowest = slowest.max(report["took_ms"].as_u64().expect("milliseconds"));
            }
        };
        let meanwhile = deliveries(&site, during).await;
        println!("{what}, 8 reloads: slowest {slowest} ms; p50 p99 max {:?}", quantiles(&meanwhile));
        if schemas == 1 {
            assert!(slowest <= 1_000, "{slowest} ms");
            let (before, now) = (quantiles(&usual)[1], quantiles(&meanwhile)[1]);
            assert!(now < before * 2, "p99 {now:?}, usually {before:?}");
        }
    }
}
