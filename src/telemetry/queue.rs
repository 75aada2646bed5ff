//! Log lines on their way to standard error: callers leave them here, and one thread writes them.
//!
//! A pipe that nobody reads would block every thread that writes to it, and with them the whole server. So no caller
//! waits: lines that do not fit are lost and counted, and the log says so where they are missing. This does not know
//! what a line says.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::counter::Counter;
use crate::lock::lock;

/// Most bytes that wait to be written; as many may be in the hands of the writer. A line longer than that is taken if
/// nothing else waits.
const ROOM: usize = 1 << 20;
/// How long to back off while standard error is non-blocking and full; another process that shares it may have set
/// that.
const PAUSE: Duration = Duration::from_millis(10);

/// The waiting lines. Clones share one queue.
#[derive(Clone, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the writing thread.
    more: Condvar,
    /// Wakes callers of [`Queue::flush`].
    written: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct Waiting {
    lines: Batch,
    /// The writing thread waits to be woken. Otherwise it need not be, which saves a system call.
    idle: bool,
}

/// Whole lines in order, and how many were lost after the last of them.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    /// The end of each line in `text`.
    ends: Vec<usize>,
    lost: u64,
}

impl Queue {
    /// Starts the thread that writes to `sink`; `told` makes the line that says how many were lost.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn write_to(
        &self,
        sink: impl Write + Send + 'static,
        told: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<()> {
        let queue = self.clone();
        // Not a task: it writes what is logged before the runtime starts and after it has ended.
        thread::Builder::new().name("log".into()).spawn(move || queue.write_all(sink, told)).map(drop)
    }

    /// Adds one line, or loses it.
    ///
    /// Losses are reported in one place: once a line is lost, all later ones are too, even if they would fit, until the
    /// writer takes the batch.
    pub fn push(&self, line: &[u8]) {
        let mut waiting = lock(&self.0.waiting);
        let lines = &mut waiting.lines;
        if lines.lost > 0 || (!lines.text.is_empty() && lines.text.len() + line.len() > ROOM) {
            lines.lost += 1;
            self.0.dropped.add(1);
            return;
        }
        lines.text.extend_from_slice(line);
        lines.ends.push(lines.text.len());
        if std::mem::take(&mut waiting.idle) {
            self.0.more.notify_one();
        }
    }

    /// Waits until everything added is written, but no longer than `within`.
    pub fn flush(&self, within: Duration) {
        let waiting = lock(&self.0.waiting);
        // The caller goes on either way.
        drop(self.0.written.wait_timeout_while(waiting, within, |waiting| !waiting.idle));
    }

    /// How many lines were lost.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// Takes the waiting text, for a queue that has no writer.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0.waiting).lines).text
    }

    fn write_all(&self, mut sink: impl Write, told: impl Fn(u64) -> Vec<u8>) {
        loop {
            let batch = self.next();
            let mut start = 0;
            for (index, end) in batch.ends.iter().enumerate() {
                // Line by line, so that lines of other processes come in between and not inside.
                if write(&mut sink, &batch.text[start..*end]).is_err() {
                    let unwritten = batch.ends.len() - index;
                    self.0.dropped.add(unwritten as u64);
                    break;
                }
                start = *end;
            }
            if batch.lost > 0 {
                // The lines are counted; if this cannot be written, the log cannot tell of them.
                let _ = write(&mut sink, &told(batch.lost));
            }
        }
    }

    fn next(&self) -> Batch {
        let mut waiting = lock(&self.0.waiting);
        while waiting.lines.text.is_empty() {
            waiting.idle = true;
            self.0.written.notify_all();
            waiting = self.0.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.idle = false;
        std::mem::take(&mut waiting.lines)
    }
}

/// Takes each call of `write` for one line, because that is how the log's formatter calls it.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(sink: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match sink.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this thread serves nobody")]
fn pause() {
    thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::{Duration, Instant};

    use super::{Queue, ROOM};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Takes a line when the test does.
    struct Reader(SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Queue, Receiver<Vec<u8>>) {
        let (sender, lines) = sync_channel(0);
        let queue = Queue::default();
        queue.write_to(Reader(sender), |lost| format!("{lost} lost\n").into_bytes()).expect("a thread");
        (queue, lines)
    }

    fn next(lines: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(lines.recv_timeout(PATIENCE).expect("a line in time")).expect("text")
    }

    #[test]
    fn lines_come_in_order_and_what_is_lost_is_told_where_it_is_missing() {
        let (queue, lines) = start();
        queue.push(b"first\n");
        assert_eq!(next(&lines), "first\n");
        queue.push(b"second\n");
        let long = vec![b'x'; ROOM / 4];
        // The thread may or may not have taken the second line by now: that line is in one batch either way.
        let mut pushed = 0;
        while queue.dropped() < 3 {
            queue.push(&long);
            pushed += 1;
        }
        queue.push(b"short, and lost as well\n");
        assert_eq!(next(&lines), "second\n");
        let mut seen = 0;
        let told = loop {
            match next(&lines) {
                line if line.starts_with('x') => seen += 1,
                line => break line,
            }
        };
        assert_eq!((told.as_str(), seen), ("4 lost\n", pushed - 3));
        queue.push(b"last\n");
        assert_eq!(next(&lines), "last\n");
        queue.flush(PATIENCE);
        assert_eq!(queue.dropped(), 4);
    }

    #[test]
    fn a_line_that_is_too_long_has_its_turn_when_nothing_else_waits() {
        let (queue, lines) = start();
        queue.push(&vec![b'x'; 2 * ROOM]);
        assert_eq!(next(&lines).len(), 2 * ROOM);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn the_end_waits_for_what_is_written_and_no_longer_than_it_may() {
        let (queue, lines) = start();
        queue.push(b"unread\n");
        let began = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50));
        assert_eq!(next(&lines), "unread\n");
        queue.flush(PATIENCE);
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_line_is_tried() {
        let (queue, lines) = start();
        drop(lines);
        for lost in 1..=3 {
            queue.push(b"nobody reads\n");
            queue.flush(PATIENCE);
            assert_eq!(queue.dropped(), lost);
        }
    }

    /// A pipe that is not blocking, and has no room now and then.
    struct Full<S>(S, u32);

    impl<S: Write> Write for Full<S> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            match self.1 % 3 {
                0 => self.0.write(bytes),
                1 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Err(io::ErrorKind::Interrupted.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_which_there_is_no_room_at_once_waits() {
        let (sender, lines) = sync_channel(0);
        let queue = Queue::default();
        let told = |lost| format!("{lost} lost\n").into_bytes();
        queue.write_to(Full(Reader(sender), 0), told).expect("a thread");
        for line in ["first\n", "second\n"] {
            queue.push(line.as_bytes());
            assert_eq!(next(&lines), line);
        }
        assert_eq!(queue.dropped(), 0);
    }
}
