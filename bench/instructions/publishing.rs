//! From the bytes of a request body to the log.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use relay::ingest::{Publication, Publisher, judge};
use relay::live::Live;
use relay::name::TopicName;

use crate::{live, payload};

/// Publishes that are measured: fewer than in other cases, because each takes many instructions.
const PUBLISHES: usize = 100;

/// A server and a publication of `size` bytes, with white space that compaction removes.
pub fn publication(size: usize) -> (Arc<Live>, Publication) {
    const SPACES: usize = 4;
    let body = payload(size - SPACES).replacen("\":", "\" : ", 2);
    assert_eq!(body.len(), size, "two spaces at each of two members");
    let topic = TopicName::parse("bench").expect("a topic");
    (live(0), Publication { topic, user: None, body: Bytes::from(body), key: None })
}

/// Authorises, parses, validates and compacts, without appending.
pub fn ingest((live, publication): (Arc<Live>, Publication)) -> Arc<Live> {
    let snapshot = live.snapshot();
    for _ in 0..PUBLISHES {
        let judged = judge(&snapshot, &snapshot.anonymous, black_box(&publication));
        assert!(black_box(judged).is_ok(), "the schema accepts it");
    }
    live
}

/// Does the same, and appends the message to the log.
pub fn publish((live, publication): (Arc<Live>, Publication)) -> Arc<Live> {
    let snapshot = live.snapshot();
    let publisher = Publisher { principal: &snapshot.anonymous, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    for _ in 0..PUBLISHES {
        let published = relay::ingest::publish(&live, snapshot.clone(), publisher, &publication).now_or_never();
        assert!(black_box(published).is_some_and(|published| published.is_ok()), "a log in memory does not wait");
    }
    drop(snapshot);
    live
}
