use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::watch::Watch;
use super::{QUIET, STABLE, keep_up};
use crate::assemble::reload::Reloader;
use crate::assemble::{build, load};
use crate::disk::Disk;
use crate::live::Live;
use crate::schema::compile::SchemaCache;
use crate::time::Time;

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("relay-triggers-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&path).expect("a directory");
        Self(fs::canonicalize(path).expect("it is there"))
    }

    fn write(&self, text: &str) {
        fs::write(self.0.join("relay.toml"), text).expect("a file");
    }

    fn live(&self) -> (Arc<Live>, Arc<Reloader>) {
        let path = self.0.join("relay.toml");
        let mut loaded = load(&Disk::new(&path), &SchemaCache::default(), Time::now());
        let config = loaded.config.take().expect("a good configuration");
        let live = build::live(build::snapshot(config, &loaded, None), 1);
        let reloader = Reloader::new(path, live.clone(), None, loaded);
        (live, Arc::new(reloader))
    }

    /// The same, looked at from now on.
    fn watched(&self, watch: Watch) -> (Arc<Live>, Arc<Reloader>) {
        let (live, reloader) = self.live();
        live.drain.spawn("watch", keep_up(watch, hangup(), reloader.clone(), live.clone()));
        (live, reloader)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn relay_toml(poll: &str, description: &str) -> String {
    format!(
        "version = 1\n[topics.cats]\nschema = \"any\"\ndescription = \"{description}\"\n[limits]\nreload_poll = \"{poll}\"\n"
    )
}

fn hangup() -> Signal {
    signal(SignalKind::hangup()).expect("a signal")
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} does not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_can_be_watched_a_look_finds_the_change() {
    let place = Place::new();
    place.write(&relay_toml("50 ms", "one"));
    let (live, _) = place.watched(Watch::blind());
    let modified = fs::metadata(place.0.join("relay.toml")).and_then(|file| file.modified()).expect("a time");
    place.write(&relay_toml("50 ms", "two"));
    // The content decides, not the modification time.
    let file = fs::File::options().write(true).open(place.0.join("relay.toml")).expect("a file");
    file.set_modified(modified).expect("set back");
    until("the change", || live.snapshot().config.topics[0].description == "two").await;
    live.drain.begin();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_polling_nothing_looks_that_was_not_told_to() {
    let place = Place::new();
    place.write(&relay_toml("0 s", "one"));
    let (live, reloader) = place.watched(Watch::blind());
    place.write(&relay_toml("0 s", "two"));
    tokio::time::sleep(2 * QUIET).await;
    assert_eq!(live.snapshot().config.topics[0].description, "one");
    reloader.reload(super::Trigger::Request, false).await.expect("a report");
    assert_eq!(live.snapshot().config.topics[0].description, "two");
    live.drain.begin();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_does_not_hide_a_change_from_the_next_look() {
    let place = Place::new();
    place.write(&relay_toml("500 ms", "one"));
    let (live, reloader) = place.watched(Watch::blind());
    place.write(&relay_toml("500 ms", "two"));
    reloader.reload(super::Trigger::Request, true).await.expect("a plan");
    assert_eq!(live.snapshot().config.topics[0].description, "one");
    until("the change", || live.snapshot().config.topics[0].description == "two").await;
    live.drain.begin();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_pace_counts_from_the_reload_that_set_it() {
    let place = Place::new();
    place.write(&relay_toml("1 h", "one"));
    let (live, reloader) = place.watched(Watch::blind());
    place.write(&relay_toml("50 ms", "one"));
    reloader.reload(super::Trigger::Request, false).await.expect("a report");
    place.write(&relay_toml("50 ms", "two"));
    until("the change", || live.snapshot().config.topics[0].description == "two").await;
    live.drain.begin();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_before_the_watch_began_is_seen() {
    let place = Place::new();
    place.write(&relay_toml("0 s", "one"));
    let (live, reloader) = place.live();
    place.write(&relay_toml("0 s", "two"));
    live.drain.spawn("watch", keep_up(Watch::new(), hangup(), reloader, live.clone()));
    until("the change", || live.snapshot().config.topics[0].description == "two").await;
    live.drain.begin();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_is_no_news_and_writing_is() {
    let place = Place::new();
    place.write("one");
    let mut watch = Watch::new();
    assert!(watch.set(vec![place.0.join("relay.toml")]).await, "it is watched now");
    assert!(!watch.set(vec![place.0.join("relay.toml")]).await, "and was already");
    for _ in 0..10 {
        fs::read(place.0.join("relay.toml")).expect("it is there");
        fs::read_dir(&place.0).expect("it is there").count();
    }
    // Events come in order: once the event of the new file is here, those of the reads above would be here too.
    fs::write(place.0.join("other"), "").expect("a file");
    tokio::time::timeout(Duration::from_secs(10), watch.event()).await.expect("news");
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        let _ = watch.event().now_or_never();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::read(place.0.join("relay.toml")).expect("it is there");
    let more = tokio::time::timeout(Duration::from_millis(300), watch.event()).await;
    assert!(more.is_err(), "reading was told as news");
}

/// Regression: the directories to watch were looked for on a serving thread. With thousands of files it stood still for
/// seconds, and on a file system that does not answer, for ever.
#[tokio::test]
async fn what_is_to_be_watched_is_looked_for_on_another_thread() {
    let place = Place::new();
    let files: Vec<PathBuf> = (0..5_000).map(|n| place.0.join(format!("{n}/a/b/c/schema.json"))).collect();
    let mut watch = Watch::blind();
    let began = Instant::now();
    let mut turns = 0;
    let mut set = Box::pin(watch.set(files));
    while futures::poll!(&mut set).is_pending() {
        turns += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(turns > 1, "others had no turn for {:?}", began.elapsed());
}

/// However often the files are looked at meanwhile: a writer may pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_removes_a_key_stands_still_for_its_time_before_it_counts() {
    let place = Place::new();
    place.write(&relay_toml("20 ms", "one"));
    let (live, _) = place.watched(Watch::blind());
    let began = Instant::now();
    place.write("version = 1\n[topics.cats]\nschema = \"any\"\n[limits]\nreload_poll = \"20 ms\"\n");
    until("the change", || live.snapshot().config.topics[0].description.is_empty()).await;
    assert!(began.elapsed() >= STABLE, "{:?}", began.elapsed());
    live.drain.begin();
}

/// What is written slowly is another text at each look: it has its time from the last change on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_changing_while_it_looks_half_written_does_not_count_yet() {
    let place = Place::new();
    place.write(&relay_toml("20 ms", "one"));
    let (live, _) = place.watched(Watch::blind());
    let text = "version = 1\n[topics.cats]\nschema = \"any\"\n[limits]\nreload_poll = \"20 ms\"\n";
    place.write(text);
    tokio::time::sleep(STABLE / 2).await;
    let changed = Instant::now();
    place.write(&format!("{text}# and more\n"));
    until("the change", || live.snapshot().config.topics[0].description.is_empty()).await;
    assert!(changed.elapsed() >= STABLE, "{:?}", changed.elapsed());
    live.drain.begin();
}

/// Other files in the directory may be written for as long as the server runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_which_it_is_never_quiet_is_looked_at_all_the_same() {
    let place = Place::new();
    place.write(&relay_toml("0 s", "one"));
    let (live, reloader) = place.live();
    live.drain.spawn("watch", keep_up(Watch::new(), hangup(), reloader, live.clone()));
    let noise = place.0.join("noise");
    let writing = tokio::spawn(async move {
        for n in 0_u64.. {
            fs::write(&noise, n.to_string()).expect("a file");
            tokio::time::sleep(QUIET / 5).await;
        }
    });
    tokio::time::sleep(QUIET).await;
    place.write(&relay_toml("0 s", "two"));
    until("the change", || live.snapshot().config.topics[0].description == "two").await;
    assert!(!writing.is_finished());
    writing.abort();
    let _ = writing.await;
    live.drain.begin();
}

/// What is watched is a directory, not its name: another one in its place was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_replaced_is_watched() {
    let above = Place::new();
    let place = Place(above.0.join("conf"));
    fs::create_dir(&place.0).expect("a directory");
    place.write(&relay_toml("0 s", "one"));
    let (live, reloader) = place.live();
    live.drain.spawn("watch", keep_up(Watch::new(), hangup(), reloader, live.clone()));
    tokio::time::sleep(2 * QUIET).await;
    fs::rename(&place.0, above.0.join("old")).expect("it is there");
    fs::create_dir(&place.0).expect("a directory");
    place.write(&relay_toml("0 s", "two"));
    until("the new directory", || live.snapshot().config.topics[0].description == "two").await;
    tokio::time::sleep(2 * QUIET).await;
    place.write(&relay_toml("0 s", "three"));
    until("a change in it", || live.snapshot().config.topics[0].description == "three").await;
    live.drain.begin();
}
