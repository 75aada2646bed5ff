//! The ways in which people, editors and deployments write files. Each must be noticed, and the final content must
//! apply.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use relay::assemble::reload::Look;
use relay::reloads::{Outcome, Trigger};

use super::site::{HEAD, Site, token, with_topics};
use crate::program::Place;

fn truncate_and_write(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).truncate(true).create(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

fn beside(path: &Path, name: &str) -> std::path::PathBuf {
    path.with_file_name(name)
}

fn rename_over(path: &Path, text: &str) {
    fs::write(beside(path, "relay.toml.new"), text).expect("a file");
    fs::rename(beside(path, "relay.toml.new"), path).expect("renamed");
}

fn delete_and_create(path: &Path, text: &str) {
    fs::remove_file(path).expect("removed");
    fs::write(path, text).expect("a file");
}

/// `backupcopy=no`: the old file becomes the backup, which goes when the new one is safe.
fn vim(path: &Path, text: &str) {
    fs::write(beside(path, "4913"), "").expect("vim tries whether it may");
    fs::remove_file(beside(path, "4913")).expect("removed");
    fs::rename(path, beside(path, "relay.toml~")).expect("renamed");
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file.sync_all().expect("synced");
    fs::remove_file(beside(path, "relay.toml~")).expect("removed");
}

/// `backupcopy=yes`: in place, with the backup beside it.
fn vim_in_place(path: &Path, text: &str) {
    fs::copy(path, beside(path, "relay.toml~")).expect("copied");
    truncate_and_write(path, text);
    File::open(path).expect("a file").sync_all().expect("synced");
    fs::remove_file(beside(path, "relay.toml~")).expect("removed");
}

/// In place: opened with O_TRUNC, written in pieces.
fn visual_studio_code(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).expect("a file");
    text.as_bytes().chunks(16).for_each(|piece| file.write_all(piece).expect("written"));
    file.sync_data().expect("synced");
}

/// `sed -i`: another file in the same directory, with the mode of the old one, is renamed over it.
fn sed(path: &Path, text: &str) {
    let temporary = beside(path, "sedAb3dEf");
    fs::write(&temporary, text).expect("a file");
    fs::set_permissions(&temporary, fs::metadata(path).expect("it is there").permissions()).expect("its mode");
    fs::rename(&temporary, path).expect("renamed");
}

/// Sets the time of change back to what it was. A text of the same length then differs by nothing that stat(2) tells.
fn same_size_and_time(path: &Path, text: &str) {
    let before = fs::metadata(path).expect("it is there").modified().expect("a time");
    truncate_and_write(path, text);
    File::options().write(true).open(path).expect("a file").set_modified(before).expect("set back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_write_a_file_is_followed() {
    type Way = fn(&Path, &str);
    let ways: [(&str, Way); 8] = [
        ("truncate and write", truncate_and_write),
        ("rename over", rename_over),
        ("delete and create", delete_and_create),
        ("vim", vim),
        ("vim in place", vim_in_place),
        ("Visual Studio Code", visual_studio_code),
        ("sed -i", sed),
        ("same size and time", same_size_and_time),
    ];
    let site = Site::watched(&[("relay.toml", &with_topics(&["cats", "t0"]))]).await;
    let path = site.place.0.join("relay.toml");
    for (n, (name, way)) in ways.into_iter().enumerate() {
        // The removal of a topic would apply only after two seconds without a change.
        let topics: Vec<String> = (0..=n + 1).map(|n| format!("t{n}")).collect();
        let topics: Vec<&str> = ["cats"].into_iter().chain(topics.iter().map(String::as_str)).collect();
        way(&path, &with_topics(&topics));
        let took = site.until(name, |site| site.has(&format!("t{}", n + 1))).await;
        assert!(took < Duration::from_secs(3), "{name} took {took:?}");
    }
    site.until("the last report", |site| site.live.reloads.counts().0 >= 8).await;
    assert_eq!(site.live.reloads.counts(), (8, 0), "one reload for each, and none half written");
    let longer = fs::read_to_string(&path).expect("it is there");
    let same_length = longer.replace("\"t8\"", "\"u8\"");
    assert_ne!(longer, same_length);
    same_size_and_time(&path, &same_length);
    site.until("a text of the same length", |site| site.has("u8")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retargeted_link_is_followed_at_every_hop() {
    let place = Place::new("writing");
    place.write("releases/1/relay.toml", &with_topics(&["cats"]));
    place.write("releases/2/relay.toml", &with_topics(&["cats", "dogs"]));
    place.write("releases/3/relay.toml", &with_topics(&["cats", "dogs", "birds"]));
    symlink("releases/1", place.0.join("current")).expect("a link");
    symlink("current/relay.toml", place.0.join("relay.toml")).expect("a link");
    let site = Site::open(place, "relay.toml").await;
    site.watch();
    let retarget = |to: &str, link: &str| {
        symlink(to, site.place.0.join("link.tmp")).expect("a link");
        fs::rename(site.place.0.join("link.tmp"), site.place.0.join(link)).expect("renamed");
    };
    retarget("releases/2", "current");
    site.until("the second release", |site| site.has("dogs")).await;
    retarget("releases/3/relay.toml", "relay.toml");
    site.until("the third release", |site| site.has("birds")).await;
}

/// Updates a volume as the kubelet does: it writes a new directory, then renames a link to it over `..data`.
fn kubernetes(place: &Place, version: &str, files: &[(&str, &str)]) {
    let directory = format!("..{version}");
    files.iter().for_each(|(name, text)| drop(place.write(&format!("{directory}/{name}"), text)));
    symlink(&directory, place.0.join("..data_tmp")).expect("a link");
    let before = fs::read_link(place.0.join("..data")).ok();
    fs::rename(place.0.join("..data_tmp"), place.0.join("..data")).expect("renamed");
    for (name, _) in files {
        let first = name.split('/').next().expect("a name");
        let _ = symlink(format!("..data/{first}"), place.0.join(first));
    }
    if let Some(before) = before {
        fs::remove_dir_all(place.0.join(before)).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_volume_of_kubernetes_is_followed_again_and_again() {
    let place = Place::new("writing");
    let topics = |n: usize| -> String {
        let topics: String = (0..n).map(|n| format!("[topics.t{n}]\nschema = \"cat.json\"\n")).collect();
        format!("{HEAD}[anonymous]\npublish = [\"**\"]\n{topics}")
    };
    kubernetes(&place, "v1", &[("relay.toml", &topics(1)), ("cat.json", "{}")]);
    let site = Site::open(place, "relay.toml").await;
    site.watch();
    for n in 2..5 {
        let schema = format!("{{\"title\": \"{n}\"}}");
        kubernetes(&site.place, &format!("v{n}"), &[("relay.toml", &topics(n)), ("cat.json", &schema)]);
        site.until("the next volume", |site| site.has(&format!("t{}", n - 1))).await;
        let title = site.live.snapshot().topics.iter().next().expect("a topic").schema.document()["title"].clone();
        assert_eq!(title, n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_directory_is_followed_and_what_is_written_into_it_later_too() {
    let place = Place::new("writing");
    place.write("etc/relay.toml", &with_topics(&["cats"]));
    place.write("next/relay.toml", &with_topics(&["cats", "dogs"]));
    let site = Site::open(place, "etc/relay.toml").await;
    site.watch();
    let at = |name: &str| site.place.0.join(name);
    fs::rename(at("etc"), at("old")).expect("renamed");
    fs::rename(at("next"), at("etc")).expect("renamed");
    site.until("the other directory", |site| site.has("dogs")).await;
    site.place.write("etc/relay.toml", &with_topics(&["cats", "dogs", "birds"]));
    site.until("a file in it", |site| site.has("birds")).await;
    fs::remove_dir_all(at("etc")).expect("removed");
    site.until("that it is missed", |site| site.live.reloads.stale().is_some()).await;
    site.place.write("etc/relay.toml", &with_topics(&["cats", "dogs", "birds", "fish"]));
    site.until("a new directory", |site| site.has("fish") && site.live.reloads.stale().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn included_files_schemas_and_secrets_are_followed_too() {
    let main = format!(
        "{HEAD}{}",
        "[anonymous]\npublish = [\"**\"]\n[topics.cats]\nschema = \"schemas/cat.json\"\n\
         [tokens.shop]\nsecret = { file = \"secrets/shop\" }\nsubscribe = [\"**\"]\n"
    );
    let main = main.replace("version = 1\n", "version = 1\ninclude = [\"topics.d/*.toml\"]\n");
    let site = Site::watched(&[
        ("relay.toml", &main),
        ("topics.d/a.toml", "[topics.a]\nschema = \"any\"\n"),
        ("schemas/cat.json", "{\"$ref\": \"deep/age.json\"}"),
        ("schemas/deep/age.json", "{\"type\": \"integer\"}"),
        ("secrets/shop", "the-first-secret-that-is-long-enough\n"),
    ])
    .await;
    site.place.write("topics.d/b.toml", "[topics.b]\nschema = \"any\"\n");
    site.until("a new included file", |site| site.has("b")).await;
    assert_eq!(site.post("/publish/cats", "", "\"seven\"").await.status, 422);
    let generation = site.live.snapshot().generation;
    site.place.write("schemas/deep/age.json", "true");
    site.until("a schema that another refers to", |site| site.live.snapshot().generation > generation).await;
    assert_eq!(site.post("/publish/cats", "", "\"seven\"").await.status, 200);
    let mut socket = site.subscriber("the-first-secret-that-is-long-enough").await;
    site.place.write("secrets/shop", "another-secret-that-is-long-enough!\n");
    let took = site.until("the rotated secret", |site| site.live.snapshot().generation > generation + 1).await;
    assert!(took > Duration::from_millis(1_900), "a beginning of a secret must not be taken for one: {took:?}");
    assert_eq!(socket.closed().await.0, 4010);
    site.subscriber("another-secret-that-is-long-enough!").await;
}

/// Regression: a volume that was not mounted for a moment revoked every token in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_includes_that_is_gone_takes_nothing_away() {
    let main = with_topics(&["cats"]).replacen("version = 1\n", "version = 1\ninclude = [\"topics.d/*.toml\"]\n", 1);
    let site = Site::watched(&[("relay.toml", &main), ("topics.d/a.toml", "[topics.a]\nschema = \"any\"\n")]).await;
    let at = |name: &str| site.place.0.join(name);
    fs::rename(at("topics.d"), at("gone")).expect("renamed");
    let took = site.until("that it is missed", |site| site.live.reloads.stale().is_some()).await;
    assert!(took > Duration::from_millis(1_900), "somebody may be replacing it: {took:?}");
    let why = site.live.reloads.stale().expect("it is refused");
    assert!(why.ends_with("relay.toml:2: cannot include `topics.d/*.toml`: there is no directory `topics.d`"), "{why}");
    assert!(site.has("a"));
    fs::rename(at("gone"), at("topics.d")).expect("renamed");
    site.until("that it is back", |site| site.live.reloads.stale().is_none()).await;
    assert_eq!((site.has("a"), site.live.snapshot().generation), (true, 1));

    fs::remove_file(at("topics.d/a.toml")).expect("removed");
    site.until("an empty directory", |site| !site.has("a")).await;
    fs::remove_dir(at("topics.d")).expect("removed");
    site.until("that it is missed", |site| site.live.reloads.stale().is_some()).await;
    site.reloader.look(Trigger::Poll, None).await;
    assert!(site.live.reloads.stale().is_some(), "a start would fail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_writes_are_few_reloads_and_the_last_one_counts() {
    let site = Site::watched(&[("relay.toml", &with_topics(&["cats"]))]).await;
    let path = site.place.0.join("relay.toml");
    let began = Instant::now();
    for n in 0..1_000 {
        let text = with_topics(&["cats"]) + &format!("description = \"write {n}\"\n");
        if n % 2 == 0 {
            truncate_and_write(&path, &text)
        } else {
            rename_over(&path, &text)
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let last = |site: &Site| site.live.snapshot().config.topics[0].description == "write 999";
    let took = site.until("the last write", last).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (committed, refused) = site.live.reloads.counts();
    let most = began.elapsed().as_secs() * 4 + 4;
    assert!(committed + refused <= most, "{committed} + {refused} reloads in {:?}", began.elapsed());
}

fn limited(subscriptions: u32, topics: &str) -> String {
    let all = token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]");
    let topics: String = topics.split(' ').map(|name| format!("[topics.{name}]\nschema = \"any\"\n")).collect();
    format!("{HEAD}{all}{topics}[limits]\nbatch = 10\nsubscriptions = {subscriptions}\n")
}

/// The last line is the trap: `subscriptions = 120` is valid, and so is its beginning, `subscriptions = 1`.
#[tokio::test]
async fn no_beginning_of_a_file_is_taken_for_the_file() {
    let site = Site::start(&[("relay.toml", &limited(100, "cats dogs"))]).await;
    let next = limited(120, "cats dogs");
    let running = site.live.snapshot();
    for end in 0..next.len() {
        site.place.write("relay.toml", &next[..end]);
        match site.reloader.look(Trigger::File, None).await {
            Look::HalfWritten(_) => {}
            Look::Unstable | Look::Unchanged => panic!("there are descriptors"),
            Look::Done(report) => {
                assert!(matches!(report.result, Outcome::Refused), "{end}: {:?}", &next[..end]);
            }
        }
    }
    assert!(std::sync::Arc::ptr_eq(&running, &site.live.snapshot()));
    site.place.write("relay.toml", &next);
    assert!(matches!(site.reloader.look(Trigger::File, None).await, Look::Done(_)));
    assert_eq!(site.live.snapshot().config.limits.subscriptions, 120);
}

/// An included file that is empty, or has no line break at its end, must not excuse a truncated relay.toml.
#[tokio::test]
async fn a_truncated_relay_toml_is_half_written_whatever_its_includes_lack() {
    let main = |subscriptions| {
        let text = limited(subscriptions, "cats dogs");
        text.replacen("version = 1\n", "version = 1\ninclude = [\"empty.toml\", \"open.toml\"]\n", 1)
    };
    let open = "[topics.birds]\nschema = \"any\"";
    let site = Site::start(&[("empty.toml", ""), ("open.toml", open), ("relay.toml", &main(100))]).await;
    let next = main(120);
    let cut = next.strip_suffix("20\n").expect("the last line");
    site.place.write("relay.toml", cut);
    assert!(matches!(site.reloader.look(Trigger::File, None).await, Look::HalfWritten(_)));
    let of_before = Some("the hash of what was there before");
    assert!(
        matches!(site.reloader.look(Trigger::File, of_before).await, Look::HalfWritten(_)),
        "it is trusted as it was"
    );
    site.place.write("relay.toml", &next);
    assert!(matches!(site.reloader.look(Trigger::File, None).await, Look::Done(_)));
    assert_eq!(site.live.snapshot().config.limits.subscriptions, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_slowly_takes_nothing_away_before_it_is_whole() {
    let site = Site::watched(&[("relay.toml", &limited(100, "cats dogs"))]).await;
    let next = limited(120, "cats dogs birds");
    let path = site.place.0.join("relay.toml");
    let pieces: Vec<&str> = next.split_inclusive("\n[").collect();
    truncate_and_write(&path, "");
    for piece in &pieces {
        OpenOptions::new().append(true).open(&path).expect("a file").write_all(piece.as_bytes()).expect("written");
        let pause = Instant::now() + Duration::from_millis(400);
        while Instant::now() < pause {
            assert!(site.has("cats") && site.has("dogs"), "something is gone behind {piece:?}");
            assert!(site.live.snapshot().config.limits.subscriptions >= 100);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(pieces.len() > 3);
    site.until("the whole file", |site| site.has("birds")).await;
    assert_eq!(site.live.snapshot().config.limits.subscriptions, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_removes_a_topic_stands_still_for_two_seconds_unless_a_person_asks() {
    let site = Site::watched(&[("relay.toml", &with_topics(&["cats", "dogs", "birds"]))]).await;
    site.place.write("relay.toml", &with_topics(&["cats", "birds"]));
    let took = site.until("the removal", |site| !site.has("dogs")).await;
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
    let report = site.change(&with_topics(&["cats"])).await;
    assert_eq!(report["plan"], serde_json::json!({"topics_removed": ["birds"]}));
}

/// Looking at the files opens them, and the system reports that to the watcher like anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_look_at_the_files_is_no_reason_to_look_again() {
    let site = Site::watched(&[("relay.toml", "version = 2\n"), ("relay.toml", &with_topics(&["cats"]))]).await;
    site.place.write("relay.toml", "version = 2\n");
    site.until("a refusal", |site| site.live.reloads.stale().is_some()).await;
    site.place.write("relay.toml", &with_topics(&["cats"]));
    site.until("the recovery", |site| site.live.reloads.stale().is_none()).await;
    assert_eq!(site.live.reloads.counts(), (0, 1));
}
