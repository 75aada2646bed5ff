//! The plugin traits, all of them: what a kind of store, protocol or authenticator promises and may rely on.
//!
//! Each family has a folder: a kind is a file of its own there, and one line of its `KINDS` table (`build` of `auth/`,
//! where a credential does not say of which kind it is). Only `assemble` reads them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::close::Close;
use crate::command::{BadCommand, Command};
use crate::directory::Directory;
use crate::message::{Epoch, Record, Seq};
use crate::name::{Pattern, TopicName, UserId};
use crate::notice::Notice;
use crate::principal::Principal;
use crate::schema::Payload;
use crate::time::Time;

/// A future that an object-safe trait can answer with.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A kind of log: one totally ordered sequence of messages, some of which it retains for each concrete topic.
///
/// Called from any task; the futures may wait for a disk or a network but are never polled with a lock held.
pub trait Store: Send + Sync {
    /// The log's identity. Constant while the process lives.
    fn epoch(&self) -> Epoch;

    /// The highest seq given so far, 0 when none.
    fn head(&self) -> Seq;

    /// Appends all drafts, in order and next to each other, or none: when it is called or when it is first polled, so that a
    /// call whose answer is dropped may have appended them. When it answers `Ok` the messages are in the log and
    /// [`Follower::appended`] has been or will be called for each that is not a duplicate.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was appended.
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>>;

    /// Names the one follower. It is told of everything behind `after`, by whomever it was appended.
    fn follow(&self, after: Seq, follower: Arc<dyn Follower>);

    /// Reads what is retained of some topics, in seq order. However many topics there are, appends do not wait for it;
    /// what they have a topic evict meanwhile is in the page or is told, and not both.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// Sets what each declared topic retains from now on; what is no longer allowed is evicted. A concrete topic that
    /// no longer resolves is dropped, its evictions remembered.
    fn retain(&self, rules: Directory<Retention>);

    /// Sets how many idempotency keys are remembered from now on, and for how long; the oldest beyond are forgotten, where
    /// they are many by the next [`Store::sweep`]. Must not block.
    fn remember(&self, keys: usize, window: Duration);

    /// How many idempotency keys there are. Must not block.
    fn keys(&self) -> KeyCounts;

    /// Evicts what has aged. Called about once a second.
    fn sweep(&self, now: Time) -> BoxFuture<'_, ()>;

    /// Bytes of payload retained now for each declared topic, for the metrics. No append waits for it.
    fn retained(&self) -> Vec<(Pattern, usize)>;
}

/// Who is told of every append.
pub trait Follower: Send + Sync {
    /// Called in seq order, never twice at a time, possibly with the store's lock held, under which every publisher waits:
    /// must not wait for a lock that anybody holds for longer than an append takes, nor call the store.
    fn appended(&self, records: &[Arc<Record>]);
}

/// A message on its way into the log.
#[derive(Debug)]
pub struct Draft {
    /// The concrete topic.
    pub topic: TopicName,
    /// The only user whose connections get it.
    pub user: Option<UserId>,
    /// The validated JSON.
    pub payload: Payload,
    /// Appended at most once within the log's memory of keys.
    pub key: Option<IdempotencyKey>,
}

/// The longest idempotency key, in bytes.
pub const MAX_KEY: usize = 255;

/// What makes a publish the same as an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The token's name: keys of different principals never meet.
    pub principal: Arc<str>,
    /// Chosen by the publisher.
    pub key: Arc<str>,
}

/// How many idempotency keys a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyCounts {
    /// That are remembered.
    pub remembered: usize,
    /// That were forgotten before their time, because there were too many.
    pub forgotten_early: u64,
}

/// A message is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Where.
    pub seq: Seq,
    /// When it was appended.
    pub time: Time,
    /// It was there already, under the same idempotency key.
    pub duplicate: bool,
}

/// Why a store could not do it.
#[derive(Debug)]
pub enum StoreError {
    /// The idempotency key belongs to another payload or user of the same topic; carries the draft's index.
    KeyReused(usize),
    /// An append with the same key has not been answered yet; carries the draft's index.
    KeyInFlight(usize),
    /// A family has as many concrete topics as `limits.family_topics` allows; carries the draft's index.
    FamilyFull(usize),
    /// The log cannot be reached or written; the text is for the log of this server.
    Unavailable(String),
}

/// What a concrete topic retains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// At most so many messages.
    pub count: usize,
    /// At most so many bytes of payload.
    pub bytes: usize,
    /// For so long.
    pub age: Duration,
    /// The declared name, to which evictions of forgotten topics are ascribed.
    pub declared: Pattern,
    /// For a family: at most so many concrete topics at a time.
    pub topics: usize,
}

/// What to read from a log.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Topics that any of these patterns matches.
    pub topics: &'a [Pattern],
    /// From here, exclusive.
    pub after: Seq,
    /// Up to here, inclusive.
    pub until: Seq,
    /// At most so many messages.
    pub limit: usize,
}

/// An answer to a [`Query`].
#[derive(Debug, Default)]
pub struct Page {
    /// In seq order.
    pub records: Vec<Arc<Record>>,
    /// Topics of the query that have evicted messages after its `after`, each with the highest seq evicted. Topics that
    /// no longer exist stand together, as the pattern of the query.
    pub evicted: Vec<(Pattern, Seq)>,
    /// The answer is complete up to here, inclusive; equal to the query's `until` unless the limit ended it.
    pub until: Seq,
}

/// How many encoders there are: the subprotocols, and server-sent events.
pub const ENCODERS: usize = 3;

/// Writes messages and notices as bytes that are ready for the socket.
pub trait Encoder: Send + Sync {
    /// Which of a message's cached encodings is this one's: below [`ENCODERS`], different for every encoder.
    fn slot(&self) -> usize;

    /// A message: the same bytes for every subscriber.
    fn message(&self, epoch: Epoch, record: &Record) -> Bytes;

    /// A notice; `None` where this protocol does not tell it.
    ///
    /// # Errors
    /// The close code, where the protocol cannot tell it and must not stay silent.
    fn notice(&self, notice: &Notice) -> Result<Option<Bytes>, Close>;
}

/// Reads one binary message of a subscriber.
pub type ReadBinary = fn(&[u8]) -> Result<Command, BadCommand>;

/// A kind of WebSocket subprotocol.
pub trait Protocol: Encoder {
    /// The subprotocol's name (RFC 6455, section 1.9).
    fn name(&self) -> &'static str;

    /// Reads one text message of a subscriber.
    ///
    /// # Errors
    /// [`BadCommand`] says what is wrong with it.
    fn command(&self, text: &str) -> Result<Command, BadCommand>;

    /// Reads one binary message of a subscriber, as [`Protocol::command`] reads text. `None` for a protocol of text alone:
    /// a binary message then ends the connection with 1003. No protocol of Relay reads them so far: the echo of the conformance
    /// suite does.
    fn binary_command(&self) -> Option<ReadBinary> {
        None
    }
}

/// A kind of authentication: decides who a bearer credential is.
pub trait Authenticator: Send + Sync {
    /// Who it is. Must take the same time for a wrong secret as for a right one.
    ///
    /// # Errors
    /// [`AuthError`].
    fn authenticate<'a>(&'a self, bearer: &'a str, now: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>>;

    /// The principal as it is now, for a live connection after a reload; `None` when it is gone or has changed its
    /// secret or user. Asked of those only of whom the plan of the reload says that something changed.
    fn renew(&self, principal: &Principal) -> Option<Arc<Principal>>;
}

/// Why a credential does not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// It belongs to no token.
    Unknown,
    /// The token of this name is past its `not_after`.
    Expired(Arc<str>),
}
