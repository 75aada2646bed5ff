//! One reader of a model run: it connects, subscribes, reads or does not read, leaves and comes back.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use relay::name::Pattern;
use relay::notice::After;
use serde_json::{Map, Value, json};

use crate::event_stream::EventStream;
use crate::model::dice::Dice;
use crate::model::direct::Direct;
use crate::model::ledger::{Ledger, Start};
use crate::model::wire::{WebSocket, Wire};
use crate::model::world::{PATTERNS, World};

/// How long a reader waits before the run fails.
const PATIENCE: Duration = Duration::from_secs(20);

enum Command {
    Subscribe(Vec<(usize, Start)>),
    Unsubscribe(Vec<usize>),
}

/// See the module's documentation.
pub struct Reader {
    user: usize,
    wire: Option<Wire>,
    pub ledger: Ledger,
    sent: VecDeque<(u64, Command)>,
    commands: u64,
    /// What it is subscribed to once every sent command is carried out.
    wants: Vec<usize>,
}

impl Reader {
    pub fn new(user: usize) -> Self {
        let (sent, ledger) = (VecDeque::new(), Ledger::new(user));
        Self { user, wire: None, ledger, sent, commands: 0, wants: Vec::new() }
    }

    pub fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    /// Leaves without a close.
    pub fn leave(&mut self) {
        self.wire = None;
    }

    /// Connects over a random transport, and resumes where it left off, if it had a position.
    pub async fn connect(&mut self, world: &World, dice: &mut Dice) {
        let left = self.ledger.last.take();
        self.ledger = Ledger::new(self.user).after(&self.ledger);
        self.sent.clear();
        if self.wants.is_empty() || dice.one_in(4) {
            self.wants = some_patterns(dice);
        }
        let start = match left {
            Some(left) => start_of(world, left),
            None => some_start(world, dice),
        };
        let list: Vec<_> = self.wants.iter().map(|pattern| (*pattern, start.clone())).collect();
        let buffer = 48 << dice.below(11);
        if dice.one_in(3) {
            self.wire = Some(Wire::Direct(Box::new(Direct::connect(&world.live, self.user, buffer).await)));
            self.subscribe(world, list).await;
            return;
        }
        if dice.one_in(2) {
            let socket = world.dial_websocket(self.user, buffer).await;
            self.wire = Some(Wire::WebSocket(Box::new(WebSocket::new(socket))));
            self.subscribe(world, list).await;
            return;
        }
        let mut target = "/events?".to_owned();
        let mut headers = format!("Authorization: Bearer secret-u{}\r\n", self.user);
        self.wants.iter().for_each(|pattern| target.push_str(&format!("topic={}&", PATTERNS[*pattern])));
        match text(world, &start) {
            Some(after) if after == "earliest" || dice.one_in(2) => target.push_str(&format!("after={after}")),
            Some(after) => headers.push_str(&format!("Last-Event-ID: {after}\r\n")),
            None => {}
        }
        let stream = EventStream::open(world.dial_http(buffer).await, target.trim_end_matches('&'), &headers).await;
        self.wire = Some(Wire::Events(Box::new(stream)));
        self.ledger.subscribe(0, &list);
    }

    /// Lets a [`Direct`] connection take some steps; the other transports have tasks of their own.
    pub async fn step(&mut self, steps: usize) {
        if let Some(Wire::Direct(direct)) = &mut self.wire {
            for _ in 0..steps {
                direct.step().await;
            }
        }
    }

    /// Sends a random command, if it is connected by a transport that takes commands.
    pub async fn command(&mut self, world: &World, dice: &mut Dice) {
        if !matches!(self.wire, Some(Wire::WebSocket(_) | Wire::Direct(_))) {
            return;
        }
        if !self.wants.is_empty() && dice.one_in(3) {
            let gone = vec![self.wants.swap_remove(dice.below(self.wants.len()))];
            let topics: Vec<&str> = gone.iter().map(|pattern| PATTERNS[*pattern]).collect();
            let command = json!({"type": "unsubscribe", "id": self.commands + 1, "topics": topics});
            return self.send(world, command, Command::Unsubscribe(gone)).await;
        }
        let same = some_start(world, dice);
        let each = dice.one_in(3);
        let patterns = some_patterns(dice);
        let start = |dice: &mut Dice| if each { some_start(world, dice) } else { same.clone() };
        let list: Vec<_> = patterns.into_iter().map(|pattern| (pattern, start(dice))).collect();
        self.subscribe(world, list).await;
    }

    async fn subscribe(&mut self, world: &World, list: Vec<(usize, Start)>) {
        let mut command = json!({"type": "subscribe", "id": self.commands + 1});
        match list.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|(_, start)| start == first) => {
                command["topics"] = list.iter().map(|(pattern, _)| PATTERNS[*pattern]).collect();
                if let Some(after) = text(world, first) {
                    command["after"] = after.into();
                }
            }
            _ => {
                let each =
                    list.iter().map(|(pattern, start)| (PATTERNS[*pattern].to_owned(), json!(text(world, start))));
                command["topics"] = Value::Object(each.collect::<Map<_, _>>());
            }
        }
        self.wants.retain(|pattern| !list.iter().any(|(new, _)| new == pattern));
        self.wants.extend(list.iter().map(|(pattern, _)| *pattern));
        self.send(world, command, Command::Subscribe(list)).await;
    }

    async fn send(&mut self, world: &World, json: Value, command: Command) {
        self.commands += 1;
        match &mut self.wire {
            Some(Wire::WebSocket(socket)) => {
                tokio::time::timeout(PATIENCE, socket.send(&json)).await.expect("the server reads");
            }
            Some(Wire::Direct(direct)) => match &command {
                Command::Subscribe(list) => {
                    let list = list.iter().map(|(pattern, start)| (pattern_of(*pattern), after(world, start)));
                    direct.subscribe(self.commands, list.collect());
                }
                Command::Unsubscribe(patterns) => {
                    let patterns: Vec<_> = patterns.iter().map(|pattern| pattern_of(*pattern)).collect();
                    direct.unsubscribe(self.commands, &patterns);
                }
            },
            _ => {}
        }
        self.sent.push_back((self.commands, command));
    }

    /// Reads what has already arrived, at most `most` things.
    pub fn read(&mut self, world: &World, most: usize) {
        for _ in 0..most {
            let Some(wire) = &mut self.wire else { return };
            let Some(told) = wire.ready() else { return };
            self.take(world, told);
        }
    }

    /// Reads until nothing more is due: all subscriptions have everything up to the last message of each topic.
    pub async fn read_all(&mut self, world: &World, last: &HashMap<usize, u64>) {
        while !self.sent.is_empty() || !self.ledger.has_all(last) {
            self.read_one(world).await;
            assert!(self.is_connected(), "the server ended the connection: {:#?}", self.ledger);
        }
    }

    /// Reads to the end of the connection.
    pub async fn read_to_end(&mut self, world: &World) {
        if let Some(Wire::Direct(_)) = self.wire {
            self.leave();
        }
        while self.is_connected() {
            self.read_one(world).await;
        }
    }

    async fn read_one(&mut self, world: &World) {
        let Some(wire) = &mut self.wire else { return };
        match tokio::time::timeout(PATIENCE, wire.next()).await {
            Ok(told) => self.take(world, told),
            Err(_) => panic!("nothing comes any more: {:#?}\nof {:#?}", self.ledger, world.log),
        }
    }

    fn take(&mut self, world: &World, told: Option<(Value, Option<String>)>) {
        let Some((told, id)) = told else {
            self.wire = None;
            return;
        };
        match told["type"].as_str() {
            Some("hello") => {}
            Some("goaway") => assert_eq!(told["reason"], "draining"),
            Some("close") => {
                assert_eq!(told["code"], 4200, "{told}");
                self.wire = None;
            }
            Some("ok") => {
                let (id, command) = self.sent.pop_front().expect("a command that this answers");
                assert_eq!(told["id"], id);
                match command {
                    Command::Subscribe(list) => self.ledger.subscribe(id, &list),
                    Command::Unsubscribe(patterns) => self.ledger.unsubscribe(&patterns),
                }
            }
            _ => self.ledger.take(world, &told, id.as_deref()),
        }
    }
}

fn some_patterns(dice: &mut Dice) -> Vec<usize> {
    let mut patterns: Vec<usize> = (0..1 + dice.below(3)).map(|_| dice.below(PATTERNS.len())).collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// A random start for a subscription.
pub fn some_start(world: &World, dice: &mut Dice) -> Start {
    let head = usize::try_from(world.head()).expect("few messages");
    match dice.below(12) {
        0..4 => Start::Live,
        4..6 => Start::Earliest,
        6 => Start::Foreign("00000000-7".to_owned()),
        7 => Start::Foreign(world.id(world.head() + 1_000)),
        8 => Start::After(head as u64),
        _ => Start::After(dice.below(head + 1) as u64),
    }
}

fn start_of(world: &World, position: String) -> Start {
    let (epoch, seq) = position.split_once('-').expect("a position");
    let own = epoch == world.live.hub.epoch().to_string();
    if own { Start::After(seq.parse().expect("a number")) } else { Start::Foreign(position) }
}

/// A start as the text of `after`; `None` for live.
pub fn text(world: &World, start: &Start) -> Option<String> {
    match start {
        Start::Live => None,
        Start::Earliest => Some("earliest".to_owned()),
        Start::After(seq) => Some(world.id(*seq)),
        Start::Foreign(text) => Some(text.clone()),
    }
}

fn pattern_of(pattern: usize) -> Pattern {
    Pattern::parse(PATTERNS[pattern]).expect("a pattern")
}

fn after(world: &World, start: &Start) -> After {
    match text(world, start) {
        None => After::Live,
        Some(text) if text == "earliest" => After::Earliest,
        Some(text) => text.parse().map_or(After::Foreign, After::Position),
    }
}
