//! A panic costs no more than its own request.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use relay::assemble::build;
use relay::config::model::Log;
use relay::drain::Drain;
use relay::plugin::{AuthError, Authenticator, BoxFuture};
use relay::principal::Principal;
use relay::telemetry::logs::{self, Logs};
use relay::telemetry::panics::log_places;
use relay::time::Time;

use crate::rig::{Rig, grants, snapshot, until};
use crate::subscriber::Subscriber;

/// Set in the process that a test starts from its own binary.
const CHILD: &str = "RELAY_TEST_CHILD";

/// An authenticator that panics.
struct Faulty;

impl Authenticator for Faulty {
    fn authenticate<'a>(&'a self, bearer: &'a str, _: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>> {
        Box::pin(async move { panic!("on purpose, for {bearer}") })
    }

    fn renew(&self, _: &Principal) -> Option<Arc<Principal>> {
        None
    }
}

async fn start() -> Rig {
    let mut snapshot = snapshot(|config| config.anonymous = grants(&["cats"], &["cats"], &[]));
    snapshot.auth = Arc::new(Faulty);
    Rig::serve(build::live(snapshot, 2)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_is_a_500_with_an_id_and_the_server_goes_on() {
    let rig = start().await;
    let mut witness = Subscriber::open(rig.public).await;
    witness.subscribe("cats").await;
    for path in ["/publish/cats", "/publish", "/validate/cats", "/register"] {
        let answer = rig.post(path, "whoever", "1").await;
        let (status, slug, detail) = answer.problem();
        assert_eq!((status, slug.as_str()), (500, "internal"), "{path}: {detail}");
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(detail, format!("the cause is in the server's log under id `{id}`"));
    }
    assert_eq!(rig.get("/events?topic=cats", "whoever").await.status, 500);
    assert_eq!(rig.live.stats.panics.get(), 5);
    assert_eq!(rig.post("/publish/cats", "", "2").await.status, 200);
    assert_eq!(witness.payload().await, 2);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_whose_task_panics_is_gone_and_nobody_else() {
    let rig = start().await;
    let mut witness = Subscriber::open(rig.public).await;
    let open = rig.live.connections.open();
    let mut lost = Subscriber::open(rig.public).await;
    lost.send(r#"{"type":"auth","token":"whoever"}"#).await;
    lost.gone().await;
    witness.send("ping").await;
    assert_eq!(witness.text().await, "pong");
    until("its place is free", || rig.live.connections.open() == open).await;
    rig.end().await;
}

/// Runs one test of this binary again, in a process of its own. Returns its exit code and its standard error.
fn in_a_process_of_its_own(test: &str) -> (Option<i32>, String) {
    let me = std::env::current_exe().expect("a path");
    let ran = Command::new(me)
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env_remove("RUST_LOG")
        .output()
        .expect("it starts");
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn a_panic_is_logged_by_its_place_and_not_by_its_text() {
    if std::env::var_os(CHILD).is_none() {
        let (code, log) = in_a_process_of_its_own("panics::a_panic_is_logged_by_its_place_and_not_by_its_text");
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("a panic; please report it") && log.contains("tests/it/panics.rs:"), "{log}");
        assert!(!log.contains("unspeakable"), "{log}");
        return;
    }
    Logs::start(&Log::default());
    log_places();
    let secret = String::from("unspeakable");
    assert!(std::panic::catch_unwind(|| panic!("{secret}")).is_err());
    logs::flush();
}

#[test]
fn a_task_that_the_server_cannot_do_without_takes_the_process_with_it() {
    if std::env::var_os(CHILD).is_none() {
        let (code, log) =
            in_a_process_of_its_own("panics::a_task_that_the_server_cannot_do_without_takes_the_process_with_it");
        assert_eq!(code, Some(70), "{log}");
        assert!(log.contains("an essential task panicked"), "{log}");
        assert!(log.contains("task=\"shard\""), "{log}");
        return;
    }
    Logs::start(&Log::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        Drain::default().detach("shard", async { panic!("on purpose") });
        std::future::pending::<()>().await;
    });
}

/// Regression: the line with the id said only that a handler had panicked; another line, without the id, said where.
/// With several panics at a time nobody could match them.
#[test]
fn the_id_of_a_500_leads_to_where_its_handler_panicked() {
    if std::env::var_os(CHILD).is_none() {
        let (code, log) = in_a_process_of_its_own("panics::the_id_of_a_500_leads_to_where_its_handler_panicked");
        assert_eq!(code, Some(0), "{log}");
        let line = log.lines().find(|line| line.contains("internal error")).expect("a line with the id");
        assert!(line.contains("id=") && line.contains("panicked at tests/it/panics.rs:"), "{log}");
        assert!(!log.contains("whoever"), "{log}");
        return;
    }
    Logs::start(&Log::default());
    log_places();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let rig = start().await;
        assert_eq!(rig.post("/publish/cats", "whoever", "1").await.status, 500);
        rig.end().await;
    });
    logs::flush();
}

#[test]
fn a_task_that_panics_is_named_in_the_log() {
    if std::env::var_os(CHILD).is_none() {
        let (code, log) = in_a_process_of_its_own("panics::a_task_that_panics_is_named_in_the_log");
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("a task panicked task=\"bad\""), "{log}");
        return;
    }
    Logs::start(&Log::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let drain = Drain::default();
        drain.spawn("bad", async { panic!("on purpose") });
        drain.begin();
        assert_eq!(drain.ended(Duration::from_secs(10)).await, Ok(()));
    });
    logs::flush();
}
