//! What the server asks of its log: how often, and on which thread.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relay::assemble::reload::Reloader;
use relay::assemble::{PROTOCOLS, build, load};
use relay::disk::Disk;
use relay::hub::connection::NoSocket;
use relay::hub::{Hub, Size};
use relay::live::Live;
use relay::name::{Pattern, TopicName, UserId};
use relay::notice::After;
use relay::plugin::{Draft, Query, Store, Unavailable};
use relay::protocol::sse::Sse;
use relay::reloads::{Outcome, Trigger};
use relay::schema::Payload;
use relay::schema::compile::SchemaCache;
use relay::time::Time;

use crate::around::{Around, Surrounded};
use crate::program::Place;
use crate::rig::{Rig, call, snapshot, somebody, spawn, until};
use crate::subscriber::Subscriber;

/// Counts the calls of a log, and holds up the one for retained bytes until the test allows it.
struct Watch {
    reads: AtomicUsize,
    retains: AtomicUsize,
    asked: AtomicUsize,
    /// How often settings were passed on, and how often by the time of the last sweep.
    settings: AtomicUsize,
    swept: AtomicUsize,
    go: Option<Mutex<Receiver<()>>>,
    /// Whether the test could not allow it in time.
    late: AtomicBool,
}

impl Watch {
    fn new(go: Option<Receiver<()>>) -> Self {
        let [reads, retains, asked, settings, swept] = Default::default();
        Self { reads, retains, asked, settings, swept, go: go.map(Mutex::new), late: AtomicBool::new(false) }
    }
}

impl Around for Watch {
    fn read(&self) -> Result<(), Unavailable> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn retain(&self) {
        self.retains.fetch_add(1, Ordering::SeqCst);
    }

    fn remember(&self) {
        self.settings.fetch_add(1, Ordering::SeqCst);
    }

    fn sweep(&self) {
        self.swept.store(self.settings.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn retained(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(go) = &self.go {
            let allowed = go.lock().expect("no panic").recv_timeout(Duration::from_secs(5));
            self.late.store(allowed.is_err(), Ordering::SeqCst);
        }
    }
}

/// A server without its sockets: its log, its live state and its reloader.
fn open(path: PathBuf) -> (Arc<Surrounded<Watch>>, Arc<Live>, Arc<Reloader>) {
    let mut loaded = load(&Disk::new(&path), &SchemaCache::default(), Time::now());
    let config = loaded.config.take().expect("a good configuration");
    let snapshot = build::snapshot(config, &loaded, None);
    let store = Surrounded::new(Watch::new(None));
    store.retain(build::retention(&snapshot.config));
    let hub = Hub::new(store.clone(), Size::default(), build::topics(&snapshot));
    let live = Arc::new(Live::new(snapshot, hub));
    let reloader = Arc::new(Reloader::new(path, live.clone(), None, loaded));
    (store, live, reloader)
}

/// Regression: every reload, even one of a description, went through all rings twice while all publishers waited.
#[tokio::test]
async fn a_reload_that_changes_nothing_that_is_retained_does_not_ask_for_it() {
    let place = Place::new("retains");
    let text = |cats: &str, more: &str| {
        format!(
            "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"\"\n[topics.cats]\nschema = \"any\"\n{cats}\n\
             [anonymous]\npublish = [\"**\"]\nsubscribe = [\"**\"]\n{more}"
        )
    };
    let path = place.write("relay.toml", &text("", ""));
    let (store, _, reloader) = open(path);
    let dogs = "[topics.dogs]\nschema = \"any\"\n";
    for (what, cats, more, asks) in [
        ("a description", "description = \"Cats\"", "", 0),
        ("a shorter history", "history = { count = 3 }", "", 1),
        ("a new topic", "history = { count = 3 }", dogs, 1),
        ("a limit of families", "history = { count = 3 }", &format!("{dogs}[limits]\nfamily_topics = 7\n"), 1),
        ("a topic less", "history = { count = 3 }", "[limits]\nfamily_topics = 7\n", 1),
        ("that one again", "history = { count = 3 }", dogs, 1),
        ("it less and another history", "", "", 2),
        ("nothing that is kept", "description = \"Tom\"", "", 0),
    ] {
        let before = store.1.retains.load(Ordering::SeqCst);
        place.write("relay.toml", &text(cats, more));
        let report = reloader.reload(Trigger::Request, false).await.expect("it goes on");
        assert!(matches!(report.result, Outcome::Committed(_)), "{what}: {report:?}");
        assert_eq!(store.1.retains.load(Ordering::SeqCst) - before, asks, "{what}");
    }
}

/// Nothing else sweeps here.
#[tokio::test]
async fn what_a_reload_leaves_no_room_for_is_gone_when_it_has_ended() {
    let place = Place::new("no-room");
    let cats = "version = 1\n[topics.cats]\nschema = \"any\"\n";
    let dogs = "[topics.dogs]\nschema = \"any\"\n";
    let (store, _, reloader) = open(place.write("relay.toml", &format!("{cats}{dogs}")));
    for topic in ["cats", "dogs", "cats", "cats"] {
        let topic = TopicName::parse(topic).expect("a topic");
        let draft = Draft { topic, user: None, payload: Payload::from_log("1".into()), key: None };
        store.append(vec![draft]).await.expect("memory takes it");
    }
    let shorter = format!("{cats}history = {{ count = 2 }}\n");
    for (text, left) in [(format!("{shorter}{dogs}"), &[2, 3, 4][..]), (shorter, &[3, 4])] {
        place.write("relay.toml", &text);
        reloader.reload(Trigger::Request, false).await.expect("it goes on");
        let query = Query { topics: &[Pattern::everything()], after: 0, until: 4, limit: 9, bytes: 900, seen: 0 };
        let page = store.read(query).await.expect("memory can be read");
        assert_eq!(page.records.iter().map(|record| record.seq).collect::<Vec<_>>(), left);
    }
}

/// They used to wait until all that the reload leaves no room for was gone.
#[tokio::test]
async fn the_settings_of_a_reload_do_not_wait_for_its_sweep() {
    let place = Place::new("settings");
    let text = "version = 1\n[topics.cats]\nschema = \"any\"\n";
    let (store, _, reloader) = open(place.write("relay.toml", text));
    place.write("relay.toml", &format!("{text}history = {{ count = 3 }}\n"));
    reloader.reload(Trigger::Request, false).await.expect("it goes on");
    assert_eq!(store.1.swept.load(Ordering::SeqCst), 1, "they are passed on before");
}

#[tokio::test]
async fn who_is_behind_a_smaller_window_reads_from_the_log() {
    let place = Place::new("window");
    let text = "version = 1\n[topics.cats]\nschema = \"any\"\n[limits]\nbody = \"1 KiB\"\n";
    let (store, live, reloader) = open(place.write("relay.toml", text));
    let topic = TopicName::parse("cats").expect("a topic");
    let mut readers = [(); 2].map(|()| live.hub.subscriber(NoSocket, &Sse, somebody()));
    readers.iter_mut().for_each(|reader| _ = reader.subscribe(vec![(Pattern::from(&topic), After::Live)]));
    for _ in 0..100 {
        let payload = Payload::from_log(vec![b'1'; 1_000].into());
        let draft = Draft { topic: topic.clone(), user: None, payload, key: None };
        store.append(vec![draft]).await.expect("memory takes it");
    }
    let [mut before, mut after] = readers;
    before.pull(1).await.expect("from the window");
    assert_eq!(store.1.reads.load(Ordering::SeqCst), 0);
    place.write("relay.toml", &format!("{text}window = \"64 KiB\"\n"));
    reloader.reload(Trigger::Request, false).await.expect("it goes on");
    after.pull(1).await.expect("memory can be read");
    assert_eq!(store.1.reads.load(Ordering::SeqCst), 1);
}

/// Nothing is written to it meanwhile, so it never waits for its socket.
#[tokio::test]
async fn who_reads_past_what_is_for_others_leaves_them_the_thread() {
    const MESSAGES: usize = 1_000;
    let snapshot = snapshot(|config| config.topics[0].history.bytes = 1 << 30);
    let store = Surrounded::new(Watch::new(None));
    store.retain(build::retention(&snapshot.config));
    let hub = Hub::new(store.clone(), Size::default(), build::topics(&snapshot));
    let rig = Rig::serve(Arc::new(Live::new(snapshot, hub))).await;
    // A page of the log has room for one.
    let (topic, user) = (TopicName::parse("cats").expect("a topic"), UserId::parse("somebody").expect("a user"));
    let payload = Payload::from_log(vec![b'1'; 128 << 10].into());
    let draft = || Draft { topic: topic.clone(), user: Some(user.clone()), payload: payload.clone(), key: None };
    store.append(std::iter::repeat_with(draft).take(MESSAGES).collect()).await.expect("memory takes it");
    let url = format!("ws://{}/ws", rig.public);
    let mut reader = Subscriber::connect(&url, &[("authorization", "Bearer secret-all")]).await;
    reader.send(r#"{"type":"subscribe","topics":["cats"],"after":"earliest"}"#).await;
    let (mut read, began) = (0, Instant::now());
    while read < MESSAGES && began.elapsed() < Duration::from_secs(20) {
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut read, store.1.reads.load(Ordering::SeqCst));
        assert!(read - before < MESSAGES / 2, "{} reads in one turn", read - before);
    }
    assert!(read >= MESSAGES, "it has read only {read}");
    drop(reader);
    rig.end().await;
}

/// Regression: with many subscriptions a scrape took a tenth of a second, during which everybody else on the same
/// thread waited. What a scrape asks of the log is tested elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_scrape_does_not_hold_up_the_thread_that_serves() {
    let snapshot = snapshot(|_| {});
    let (go, wait) = sync_channel(1);
    let store = Surrounded::new(Watch::new(Some(wait)));
    store.retain(build::retention(&snapshot.config));
    let hub = Hub::new(store.clone(), Size::default(), build::topics(&snapshot));
    let rig = Rig::serve_with(Arc::new(Live::new(snapshot, hub)), PROTOCOLS, None).await;
    let scrape = spawn(call(rig.admin, "GET /metrics HTTP/1.1\r\n", ""));
    until("it is under way", || store.1.asked.load(Ordering::SeqCst) == 1).await;
    assert_eq!(rig.get("/health", "").await.status, 200);
    go.send(()).expect("somebody is there");
    assert_eq!(scrape.await.expect("no panic").status, 200);
    assert!(!store.1.late.load(Ordering::SeqCst), "the one thread that serves was held up");
    rig.end().await;
}
