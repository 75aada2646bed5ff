//! What callers are told when the log fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use relay::assemble::build;
use relay::hub::{Hub, Size};
use relay::live::Live;
use relay::plugin::{Store, StoreError, Unavailable};
use serde_json::json;

use crate::around::{Around, Surrounded};
use crate::event_stream::EventStream;
use crate::logs::log_everything;
use crate::rig::{self, Rig};
use crate::subscriber::Subscriber;

const BEARER: (&str, &str) = ("authorization", "Bearer secret-all");

/// How a store is to fail.
struct Faults {
    fault: AtomicUsize,
    cause: &'static str,
}

const APPEND: usize = 1;
const READ: usize = 2;
const IN_FLIGHT: usize = 3;

impl Faults {
    fn set(&self, fault: usize) {
        self.fault.store(fault, Ordering::SeqCst);
    }

    fn unavailable(&self) -> Result<(), Unavailable> {
        Err(Unavailable(self.cause.into()))
    }
}

/// Fails the calls that the current fault concerns.
impl Around for Arc<Faults> {
    fn append(&self) -> Result<(), StoreError> {
        match self.fault.load(Ordering::SeqCst) {
            APPEND => self.unavailable().map_err(StoreError::Unavailable),
            IN_FLIGHT => Err(StoreError::KeyInFlight(0)),
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<(), Unavailable> {
        if self.fault.load(Ordering::SeqCst) == READ { self.unavailable() } else { Ok(()) }
    }
}

async fn start(cause: &'static str) -> (Rig, Arc<Faults>) {
    let snapshot = rig::snapshot(|_| {});
    let faults = Arc::new(Faults { fault: AtomicUsize::new(0), cause });
    let store = Surrounded::new(faults.clone());
    store.retain(build::retention(&snapshot.config));
    let hub = Hub::new(store, Size::default(), build::topics(&snapshot));
    (Rig::serve(Arc::new(Live::new(snapshot, hub))).await, faults)
}

/// Regression: the store's error stood in a log line of its own, without the id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_500_stands_beside_what_the_store_said() {
    let page = log_everything();
    // A cause of its own, because all tests share one log.
    let (rig, faults) = start("the disk is under water").await;
    faults.set(APPEND);
    let refused_append = rig.post("/publish/cats", "secret-all", "1").await.json();
    faults.set(0);
    rig.post("/publish/cats", "secret-all", "1").await;
    faults.set(READ);
    let refused_read = rig.get("/history/cats", "secret-all").await.json();
    for (answer, cause) in [
        (refused_append, "the store could not append: the disk is under water"),
        (refused_read, "the store could not be read: the disk is under water"),
    ] {
        let id = answer["id"].as_str().expect("an id");
        let text = page.text();
        let line = text.lines().find(|line| line.contains(id)).expect("the id is in the log");
        assert!(line.contains(&format!("\"cause\":\"{cause}\"")), "{line}");
    }
    assert!(!page.text().contains("Unavailable(\\\"the disk is under water"), "and in no line of its own");
    rig.end().await;
}

/// Regression: the store was read again after it had failed, and the log had two lines, one of them under an id that
/// nobody was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_cannot_be_read_is_one_line_of_the_log() {
    let page = log_everything();
    let (rig, faults) = start("the tape is torn").await;
    rig.post("/publish/cats", "secret-all", "1").await;
    faults.set(READ);
    for (asked, target) in ["/history/cats", "/history/cats?wait=5"].into_iter().enumerate() {
        assert_eq!(rig.get(target, "secret-all").await.status, 500);
        assert_eq!(page.text().matches("the tape is torn").count(), asked + 1, "{target}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_the_log_does_not_take_is_told_so_and_can_be_tried_again() {
    let (rig, faults) = start("the disk is on fire").await;
    faults.set(APPEND);
    let answer = rig.post("/publish/cats", "secret-all", "1").await;
    let (status, slug, detail) = answer.problem();
    assert_eq!((status, slug.as_str()), (500, "internal"));
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(detail, format!("the cause is in the server's log under id `{id}`"));
    let mut socket = Subscriber::connect(&format!("ws://{}/ws", rig.public), &[BEARER]).await;
    assert_eq!(socket.json().await["type"], "hello");
    socket.send(r#"{"type":"publish","id":5,"topic":"cats","data":1}"#).await;
    let told = socket.json().await;
    assert_eq!((&told["type"], &told["id"], &told["problem"]["status"]), (&json!("error"), &json!(5), &json!(500)));
    faults.set(IN_FLIGHT);
    let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n\
                Authorization: Bearer secret-all\r\n";
    let answer = rig.call(head, "1").await;
    assert_eq!((answer.status, answer.header("retry-after")), (409, "1"));
    assert_eq!(answer.problem().1, "idempotency-in-flight");
    faults.set(0);
    assert_eq!(rig.call(head, "1").await.status, 200);
    assert_eq!(rig.payloads().await, ["1"]);
    drop(socket);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_cannot_be_read_ends_with_the_code_to_come_back_with() {
    let page = log_everything();
    let (rig, faults) = start("the shelf is empty").await;
    rig.post("/publish/cats", "secret-all", "1").await;
    let mut socket = Subscriber::connect(&format!("ws://{}/ws", rig.public), &[BEARER]).await;
    assert_eq!(socket.json().await["type"], "hello");
    socket.subscribe("cats").await;
    faults.set(READ);
    rig.post("/publish/cats", "secret-all", "2").await;
    assert_eq!(socket.payload().await, 2, "who keeps up needs no store");
    socket.send(r#"{"type":"subscribe","topics":["cats"],"after":"earliest"}"#).await;
    assert_eq!(socket.closed().await.0, 4103);
    assert!(page.text().contains(r#""error":"the shelf is empty""#), "as the store said it");
    let answer = rig.get("/history/cats", "secret-all").await;
    assert_eq!((answer.status, answer.problem().1.as_str()), (500, "internal"));
    let tcp = tokio::net::TcpStream::connect(rig.public).await.expect("the server listens");
    let header = "Authorization: Bearer secret-all\r\n";
    let mut stream = EventStream::open(tcp, "/events?topic=cats&after=earliest", header).await;
    assert_eq!(stream.expect("close").await["code"], 4103);
    stream.end().await;
    faults.set(0);
    assert_eq!(rig.get("/history/cats", "secret-all").await.json()["messages"].as_array().map(Vec::len), Some(2));
    drop((socket, stream));
    rig.end().await;
}
