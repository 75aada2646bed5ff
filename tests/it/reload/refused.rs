//! A refused reload leaves everything as it was.

use std::fs;
use std::sync::Arc;

use relay::reloads::Trigger;
use serde_json::json;

use super::site::{Site, with_topics};
use crate::rig::call;
use crate::tour::copy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_of_every_kind_changes_nothing() {
    let good = with_topics(&["cats", "dogs"]);
    let site = Site::start(&[("relay.toml", &good)]).await;
    let running = site.live.snapshot();
    let before = site.get("/topics", "all").await.body;
    let mut seen = 0;
    for entry in fs::read_dir("tests/config/bad").expect("fixtures are there") {
        let path = entry.expect("an entry").path();
        let code = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            copy(&path, &site.place.0);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            fs::copy(&path, site.place.0.join("relay.toml")).expect("a copy");
        } else {
            continue;
        }
        if !site.place.0.join("relay.toml").exists() || code == "config-unreadable" {
            let _ = fs::remove_file(site.place.0.join("relay.toml"));
        }
        let answer = site.reload().await;
        assert_eq!(answer.status, 422, "{code}: {:#}", answer.json());
        let report = answer.json();
        assert_eq!(report["result"], "refused");
        // A fixture with a mere warning is refused as well, because it would listen elsewhere.
        let codes: Vec<_> =
            report["diagnostics"].as_array().expect("a list").iter().map(|d| d["code"].clone()).collect();
        assert!(codes.contains(&json!(code)), "{code}: {codes:?}");
        assert!(Arc::ptr_eq(&running, &site.live.snapshot()), "{code}");
        assert_eq!(site.get("/topics", "all").await.body, before, "{code}");
        assert_eq!(site.post("/publish/cats", "all", "1").await.status, 200, "{code}");
        for leftover in ["schemas", "topics.d", "secrets"] {
            let _ = fs::remove_dir_all(site.place.0.join(leftover));
        }
        seen += 1;
    }
    assert!(seen > 60, "only {seen} fixtures were seen");
    assert_eq!(site.live.reloads.counts(), (0, seen));
    fs::remove_file(site.place.0.join("relay.toml")).expect("it is there");
    let help = site.reload().await.json()["diagnostics"][0]["help"].to_string();
    assert!(help.contains("a relay that runs keeps its configuration until the file is back"), "{help}");
    site.change(&good).await;
    assert!(Arc::ptr_eq(&running, &site.live.snapshot()), "it is what runs already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_everywhere_until_it_is_undone() {
    let good = with_topics(&["cats"]);
    let site = Site::start(&[("relay.toml", &good)]).await;
    let metric = async |name: &str| -> String {
        let text = site.metrics().await;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric").to_owned()
    };
    assert_eq!(site.ask("/ready").await, json!({"status": "ready", "generation": 1}));
    assert_eq!(
        (site.ask("/config").await["last_reload"].clone(), metric("relay_last_reload_successful").await),
        (json!(null), "1".into())
    );
    site.place.write("relay.toml", &format!("{good}retries = 3\n"));

    let dry = call(site.admin, "POST /reload?dry_run=1 HTTP/1.1\r\n", "").await;
    assert_eq!((dry.status, dry.json()["result"].clone()), (422, json!("refused")));
    assert_eq!(site.ask("/ready").await["status"], "ready", "a dry run changes nothing");

    let refused = site.reload().await.json();
    assert_eq!(refused["diagnostics"][0]["message"], "unknown key `retries` in `[topics.cats]`");
    let ready = site.ask("/ready").await;
    assert_eq!((&ready["status"], &ready["generation"]), (&json!("stale"), &json!(1)));
    let why = ready["why"].as_str().expect("a reason");
    let place = format!("{}:{}: ", site.place.0.join("relay.toml").display(), good.lines().count() + 1);
    assert!(why.starts_with("the last reload was refused at 20"), "{why}");
    assert!(why.ends_with(&format!("Z: {place}unknown key `retries` in `[topics.cats]`")), "{why}");
    assert_eq!(call(site.admin, "GET /ready HTTP/1.1\r\n", "").await.status, 200, "it serves as well as before");
    // The reason names files, topics and tokens, which are not for everybody.
    let public = call(site.public, "GET /ready HTTP/1.1\r\n", "").await;
    assert_eq!((public.status, public.json()), (200, json!({"status": "stale", "generation": 1})));
    let config = site.ask("/config").await;
    assert_eq!((&config["last_reload"], &config["stale"]), (&refused, &json!(why)));
    assert_eq!(metric("relay_last_reload_successful").await, "0");
    assert_eq!(metric("relay_reloads_total{result=\"refused\"}").await, "1");

    site.place.write("relay.toml", &format!("{good}retries = 3\nretry = 3\nagain = 3\n"));
    site.reload().await;
    let why = site.ask("/ready").await["why"].as_str().expect("a reason").to_owned();
    assert!(why.ends_with(&format!("{place}unknown key `retries` in `[topics.cats]`, and 2 more")), "{why}");
    let many: String = (0..250).map(|n| format!("retry{n} = 3\n")).collect();
    site.place.write("relay.toml", &format!("{good}{many}"));
    let listed = site.reload().await.json()["diagnostics"].as_array().expect("a list").len();
    let why = site.ask("/ready").await["why"].as_str().expect("a reason").to_owned();
    assert!(listed == 101 && why.ends_with(", and 249 more"), "{listed}: {why}");
    site.place.write("relay.toml", &format!("{good}retries = 3\n"));
    let refused = site.reload().await.json();

    let undone = site.change(&good).await;
    assert_eq!((&undone["result"], &undone["plan"]), (&json!("unchanged"), &json!({})));
    assert_eq!(site.ask("/ready").await["status"], "ready");
    let config = site.ask("/config").await;
    assert_eq!((&config["last_reload"], &config["stale"]), (&refused, &json!(null)), "it was the last, and is over");
    assert_eq!(metric("relay_last_reload_successful").await, "1");
    let changed = site.change(&with_topics(&["cats", "dogs"])).await;
    assert_eq!((&changed["result"], &changed["generation"]), (&json!("committed"), &json!(2)));
    assert_eq!(metric("relay_config_generation").await, "2");
    let config = site.ask("/config").await;
    assert_eq!(config["hash"], site.live.snapshot().hash);
    assert_eq!(config["last_reload"], changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_what_is_wrong_now_and_not_what_was() {
    let text = with_topics(&["cats"]).replace("schema = \"any\"", "schema = \"cats.json\"");
    let site = Site::start(&[("cats.json", "{}"), ("relay.toml", &text)]).await;
    let path = site.place.0.join("cats.json");
    fs::remove_file(&path).expect("it was there");
    for now in ["there is no such file", "it is not a regular file"] {
        site.reloader.look(Trigger::File, None).await;
        let why = site.live.reloads.stale().expect("it is refused");
        assert!(why.contains(now), "{why}");
        let _ = fs::create_dir(&path);
    }
}

/// A refusal is one line of the log and one count, however often the files are looked at; a refused dry run is neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_refused_once_and_not_by_a_dry_run() {
    let good = with_topics(&["cats"]);
    let site = Site::start(&[("relay.toml", &good)]).await;
    site.place.write("relay.toml", &format!("{good}retries = 3\n"));
    let dry = call(site.admin, "POST /reload?dry_run=1 HTTP/1.1\r\n", "").await;
    assert_eq!((dry.status, site.live.reloads.counts()), (422, (0, 0)));
    for _ in 0..3 {
        site.reloader.look(Trigger::Poll, None).await;
        assert!(site.live.reloads.stale().is_some(), "nobody was told that the change is refused");
        assert_eq!(site.live.reloads.counts(), (0, 1));
    }
    site.reload().await;
    assert_eq!(site.live.reloads.counts(), (0, 2), "whoever asks is answered anew");
}
