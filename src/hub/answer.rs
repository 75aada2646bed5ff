//! Large answers that can be requested again and that their peers have not read yet.
//!
//! They count against `limits.outbound` like slow readers, and are dropped before any subscriber.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::connection::{Connection, NoSocket};
use crate::lock::lock;

/// All of them, in the order in which they were made.
#[derive(Default)]
pub(super) struct Answers {
    made: u64,
    pub(super) all: BTreeMap<u64, Arc<Connection>>,
}

/// One of them; it is counted for as long as this lives.
pub struct Answer {
    hub: Arc<Hub>,
    number: u64,
    connection: Arc<Connection>,
}

impl Answer {
    /// Registers an answer, which holds nothing yet.
    pub fn new(hub: Arc<Hub>) -> Self {
        let connection = Connection::new(NoSocket, hub.outbound.clone());
        let mut answers = lock(&hub.answers);
        answers.made += 1;
        let number = answers.made;
        answers.all.insert(number, connection.clone());
        drop(answers);
        Self { hub, number, connection }
    }

    /// Its accounting, which also says when it is to be cut off.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        lock(&self.hub.answers).all.remove(&self.number);
    }
}
