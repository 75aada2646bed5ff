//! The part of epoll that the loads and the floor need.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Most events taken from epoll at a time.
const EVENTS: usize = 1_024;

/// Tells which of many sockets are readable, level-triggered.
pub struct Readiness {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Readiness {
    /// Watches no socket yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Watches a socket, and reports it under this number.
    ///
    /// # Errors
    /// The socket is watched already.
    pub fn watch(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?)
    }

    /// Stops watching a socket.
    ///
    /// # Errors
    /// The socket is not watched.
    pub fn forget(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// The numbers of the sockets that are ready. Waits at most `wait` for the first, or forever when it is `None`.
    ///
    /// # Errors
    /// epoll fails, other than by an interruption.
    pub fn ready(&mut self, wait: Option<Duration>) -> io::Result<impl Iterator<Item = u64>> {
        let wait = wait.map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.drain(..).map(|event| event.data.u64()))
    }
}
