use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::commit;
use crate::appending::Entry;
use crate::assemble::build;
use crate::assemble::plan::Plan;
use crate::config::model::Limits;
use crate::name::UserId;
use crate::plugin::{AuthError, Authenticator, BoxFuture};
use crate::principal::{Grants, Principal};
use crate::registrations::Registration;
use crate::snapshot::Snapshot;
use crate::time::Time;

/// Knows no token any more, and says so only once it may.
struct Slow(Mutex<mpsc::Receiver<()>>);

impl Authenticator for Slow {
    fn authenticate<'a>(&'a self, _: &'a str, _: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>> {
        unreachable!("nobody comes")
    }

    fn renew(&self, _: &Principal) -> Option<Arc<Principal>> {
        let may = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        may.recv_timeout(Duration::from_secs(10)).expect("publishes need not wait for this");
        None
    }
}

fn principal(token: Option<&str>) -> Arc<Principal> {
    let token = token.map(Arc::from);
    Arc::new(Principal { token, user: None, grants: Grants::default(), not_after: None, fingerprint: 0 })
}

fn snapshot(generation: u64, auth: Arc<dyn Authenticator>) -> Arc<Snapshot> {
    Arc::new(Snapshot { generation, ..Snapshot::without_topics(auth, principal(None)) })
}

/// Publishers waited until all registrations of a token that a reload took away were gone through: 30 ms for 80,000 of
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_do_not_wait_until_what_a_reload_takes_away_has_ended() {
    let (may, waits) = mpsc::channel();
    let slow: Arc<dyn Authenticator> = Arc::new(Slow(Mutex::new(waits)));
    let running = snapshot(1, slow.clone());
    let live = build::live(Arc::into_inner(snapshot(1, slow.clone())).expect("its only owner"), 1);
    let registration = Registration::new(principal(Some("gone")), UserId::parse("u").expect("a user"), vec![]);
    live.registrations.register(registration, &Limits::default(), Instant::now()).expect("there is room");
    let plan = Plan { tokens_removed: vec!["gone".into()], ..Plan::default() };
    let publish = async {
        assert!(matches!(live.appending.enter(2).await, Entry::In(_)));
        may.send(()).expect("it waits");
    };
    tokio::join!(commit(&live, None, &running, snapshot(2, slow), plan), publish);
    assert_eq!(live.registrations.count(), 0, "the reload is answered once they have ended");
}
