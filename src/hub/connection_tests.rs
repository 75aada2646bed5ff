use std::mem::{offset_of, size_of};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, duplex};
use tokio::task::unconstrained;

use super::{Connection, NoSocket, Written};
use crate::hub::stamp::Stamp;
use crate::stopwatch::Stopwatch;

/// Of the same size as the server's socket, which a test there checks.
type Socket = [u64; 5];

#[test]
fn what_a_delivery_reads_of_a_connection_is_one_line() {
    // An `Arc` puts two counters in front, and the allocator aligns blocks of whole cache lines.
    const LINE: usize = 64;
    let (begins, ends) = (16 + offset_of!(Connection<Socket>, wire), 16 + size_of::<Connection<Socket>>());
    assert_eq!((begins, ends), (LINE, 2 * LINE));
}

#[tokio::test]
async fn a_peer_that_takes_the_rest_bit_by_bit_makes_progress() {
    let (near, mut far) = duplex(4);
    let connection = Connection::new(near, Arc::default());
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(connection.wire().write_now(b"12345678"), Written::Part(4));
    connection.wire().keep(b"5678");
    assert!(connection.poll_rest(&mut cx, || 5).is_pending());
    assert_eq!(connection.progress(), 0, "nothing was taken");
    for (bytes, now) in [(2, 7), (2, 9)] {
        far.read_exact(&mut vec![0; bytes]).await.expect("it was written");
        let written = connection.poll_rest(&mut cx, || now);
        assert_eq!((written.is_ready(), connection.progress()), (now == 9, now));
    }
    assert!(connection.poll_rest(&mut cx, || 11).is_ready());
    assert_eq!(connection.progress(), 9, "nothing was left");
}

/// The whole rest used to be moved to the front each time a few bytes were taken: 64 GiB here.
#[tokio::test]
async fn a_large_rest_that_is_taken_bit_by_bit_is_not_moved_each_time() {
    const LENGTH: usize = 4 << 20;
    let (near, mut far) = duplex(64);
    let connection = Connection::new(near, Arc::default());
    let mut cx = Context::from_waker(Waker::noop());
    let rest: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
    connection.wire().keep(&rest);
    let (began, mut got) = (Stopwatch::start(), Vec::with_capacity(LENGTH));
    let taken = async {
        while got.len() < LENGTH {
            let _ = connection.poll_rest(&mut cx, || 1);
            far.read_buf(&mut got).await.expect("it was written");
        }
    };
    unconstrained(taken).await;
    assert!(got == rest && connection.wire().is_clear(), "all of it, in order");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn whoever_is_served_makes_progress_and_it_stays_when_its_own_task_serves_it() {
    let connection = Connection::new(NoSocket, Arc::default());
    connection.progressed(3);
    let pass = Stamp::START.next(7);
    for (stamp, progress) in [(Stamp::START.next(2), 3), (pass.joined(), 3), (pass, 7)] {
        connection.wire().live = Some(stamp);
        assert_eq!(connection.progress(), progress);
        assert_eq!(connection.retire(&mut connection.wire()), Some(stamp));
        assert_eq!(connection.progress(), progress);
    }
    assert_eq!(connection.retire(&mut connection.wire()), None, "it is its own task's already");
}
