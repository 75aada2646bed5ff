//! Large answers that can be asked for again, and that their peers have not taken. Each counts in `limits.outbound` as a slow
//! reader does, and goes before any of them: it is no subscriber.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hub::Hub;
use crate::hub::connection::{Connection, NoSocket};
use crate::lock::lock;

/// All of them, by the order in which they were made.
#[derive(Default)]
pub(super) struct Answers {
    made: u64,
    pub(super) all: BTreeMap<u64, Arc<Connection>>,
}

/// One of them, for as long as it lives.
pub struct Answer {
    hub: Arc<Hub>,
    number: u64,
    connection: Arc<Connection>,
}

impl Answer {
    /// A new one, which holds nothing yet.
    pub fn new(hub: Arc<Hub>) -> Self {
        let connection = Connection::new(NoSocket, hub.outbound.clone());
        let mut answers = lock(&hub.answers);
        answers.made += 1;
        let number = answers.made;
        answers.all.insert(number, connection.clone());
        drop(answers);
        Self { hub, number, connection }
    }

    /// What counts it, and is told when it is to be cut.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        lock(&self.hub.answers).all.remove(&self.number);
    }
}
