//! The least of a log: it gives out seqs and keeps what was appended, for a test to look at.

use std::sync::{Arc, Mutex};

use relay::directory::Directory;
use relay::message::{Epoch, Seq, Time};
use relay::name::Pattern;
use relay::plugin::{BoxFuture, Draft, Follower, Page, Query, Receipt, Retention, Store, StoreError};

/// A log that only remembers.
#[derive(Default)]
pub struct Tape(pub Mutex<Vec<Draft>>);

impl Store for Tape {
    fn epoch(&self) -> Epoch {
        Epoch(0x9f3c_21aa)
    }

    fn head(&self) -> Seq {
        self.0.lock().expect("not poisoned").len() as Seq
    }

    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        let mut tape = self.0.lock().expect("not poisoned");
        let first = tape.len() as Seq + 1;
        let receipts = (first..).take(drafts.len()).map(|seq| Receipt { seq, time: Time(0), duplicate: false });
        let receipts = receipts.collect();
        tape.extend(drafts);
        Box::pin(std::future::ready(Ok(receipts)))
    }

    fn follow(&self, _: Arc<dyn Follower>) {}

    fn read<'a>(&'a self, _: Query<'a>) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(std::future::ready(Ok(Page::default())))
    }

    fn retain(&self, _: Directory<Retention>) {}

    fn retained(&self) -> Vec<(Pattern, usize)> {
        vec![(Pattern::parse("cats").expect("a name"), 42)]
    }

    fn sweep(&self, _: Time) {}
}
