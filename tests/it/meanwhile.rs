//! A reload, or the end of the server, while the credential of a request is being checked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relay::assemble::build;
use relay::hub::connection::NoSocket;
use relay::live::Live;
use relay::plugin::{AuthError, Authenticator, BoxFuture};
use relay::principal::Principal;
use relay::protocol::sse::Sse;
use relay::time::Time;

use crate::event_stream::EventStream;
use crate::rig::{Rig, call, snapshot, somebody, spawn, until};

/// Does something first, then answers as the real authenticator does.
struct Meanwhile {
    real: Arc<dyn Authenticator>,
    deed: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Authenticator for Meanwhile {
    fn authenticate<'a>(&'a self, bearer: &'a str, now: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>> {
        let deed = self.deed.lock().expect("no panic").take();
        Box::pin(async move {
            if let Some(deed) = deed {
                deed.await;
            }
            self.real.authenticate(bearer, now).await
        })
    }

    fn renew(&self, principal: &Principal) -> Option<Arc<Principal>> {
        self.real.renew(principal)
    }
}

/// A server that runs `deed` when the first credential is checked.
async fn start<D: Future<Output = ()> + Send + 'static>(deed: impl FnOnce(Arc<Live>) -> D) -> Rig {
    // A quarter of the drain is longer than a test waits for an answer.
    let mut snapshot = snapshot(|config| config.limits.drain = Duration::from_secs(120));
    let meanwhile = Arc::new(Meanwhile { real: snapshot.auth.clone(), deed: Mutex::default() });
    snapshot.auth = meanwhile.clone();
    let live = build::live(snapshot, 2);
    *meanwhile.deed.lock().expect("no panic") = Some(Box::pin(deed(live.clone())));
    Rig::serve(live).await
}

async fn open_stream(rig: &Rig) -> EventStream<tokio::net::TcpStream> {
    let socket = tokio::net::TcpStream::connect(rig.public).await.expect("the server listens");
    EventStream::open(socket, "/events?topic=cats", "Authorization: Bearer secret-all\r\n").await
}

/// Takes away the grant to subscribe. The subscription is made only after the mark of this reload.
async fn reload(live: Arc<Live>) {
    let mut next = snapshot(|config| config.tokens[0].grants.subscribe = Vec::new().into());
    next.generation = 2;
    drop(live.commit(Arc::new(next)));
}

#[tokio::test]
async fn a_poll_that_a_reload_overtakes_is_answered_at_once() {
    let rig = start(reload).await;
    assert_eq!(rig.get("/history/cats?wait=60", "secret-all").await.status, 200);
}

#[tokio::test]
async fn a_stream_that_a_reload_overtakes_is_judged_again() {
    let rig = start(reload).await;
    open_stream(&rig).await.expect("unsubscribed").await;
}

#[tokio::test]
async fn a_poll_that_begins_in_a_drain_waits_until_all_are_told_to_go() {
    let rig = start(async |live: Arc<Live>| live.drain.begin()).await;
    let (live, public) = (rig.live.clone(), rig.public);
    let held = live.drain.hold();
    let head = "GET /history/cats?wait=60 HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";
    let poll = spawn(async move { call(public, head, "").await });
    until("it waits", || live.hub.connections().len() == 1 && live.hub.behind.get() == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!poll.is_finished(), "there may be more to come");
    drop(held);
    let began = Instant::now();
    assert_eq!(poll.await.expect("no panic").status, 200);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// Ends the server as far as telling everybody to go.
async fn end(live: Arc<Live>) {
    let other = live.hub.subscriber(NoSocket, &Sse, somebody());
    live.drain.begin();
    until("it is told to go", || other.connection().ending().is_some()).await;
}

#[tokio::test]
async fn a_poll_that_begins_when_all_were_told_to_go_gets_what_there_is() {
    let rig = start(end).await;
    let began = Instant::now();
    assert_eq!(rig.get("/history/cats?wait=60", "secret-all").await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_that_begins_when_all_were_told_to_go_is_told_too() {
    let rig = start(end).await;
    let mut stream = open_stream(&rig).await;
    while stream.event().await.name != "goaway" {}
    rig.end().await;
}
