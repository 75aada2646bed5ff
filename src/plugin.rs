//! The plugin traits, all on one page: what a kind of store, protocol or authenticator promises and may rely on.
//!
//! Each family has a folder. A kind is one file there, and one line of the folder's `KINDS` table; `auth/` has a
//! function `build` instead, because a credential does not say of which kind it is. Only `assemble` reads the tables.

use std::fmt;
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

/// A boxed future, which the methods of an object-safe trait can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A kind of log: one totally ordered sequence of messages, some of which it retains for each concrete topic.
///
/// Called from any task. Before anything is appended it is told its rules ([`Store::retain`], [`Store::remember`]), asked
/// where it stands, and followed. Its futures are never polled with a lock held that a publisher or a delivery waits for.
/// Methods that return at once may take a lock for as long as an append does, and no longer.
pub trait Store: Send + Sync {
    /// The log's identity. Constant while the process lives.
    fn epoch(&self) -> Epoch;

    /// The highest seq given so far, 0 when none.
    fn head(&self) -> Seq;

    /// Appends all drafts, adjacent and in order, or none.
    ///
    /// Answers one receipt for each draft, in order. Drafts of topics that nobody declares are appended, and count as
    /// evicted at once. Once the future resolves to `Ok`, [`Follower::appended`] has been or will be called for each
    /// message that is not a duplicate.
    ///
    /// A future that is dropped may have appended its drafts, but must not append them later: whoever drops it no longer
    /// keeps a reload's mark, or the end of the log, from coming before them.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was appended, nor will be.
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>>;

    /// Sets the one follower. It is told of everything after `after`, whoever appends it.
    fn follow(&self, after: Seq, follower: Arc<dyn Follower>);

    /// Reads what some topics retain, in seq order.
    ///
    /// No append waits for it, however many topics there are. A message that is evicted meanwhile is either in the page
    /// or covered by the evictions that the page reports, never both.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, Unavailable>>;

    /// Sets what each declared topic retains from now on. What exceeds it is evicted by the next [`Store::sweep`], because
    /// it may be millions of messages. Publishes may be waiting for this call.
    ///
    /// The same sweep drops a concrete topic that is no longer declared; its evictions are remembered.
    fn retain(&self, rules: Directory<Retention>);

    /// Sets how many idempotency keys are remembered from now on, and for how long. Must not block.
    ///
    /// The oldest surplus keys are forgotten; if there are many, the next [`Store::sweep`] may do it.
    fn remember(&self, keys: usize, window: Duration);

    /// How many idempotency keys there are. Must not block.
    fn keys(&self) -> KeyCounts;

    /// Evicts what has aged by `now` or exceeds what is to be retained. No append waits for all of that, but a reload does.
    /// Called about once a second, and after a reload by which something else is retained, perhaps while another sweep is
    /// under way.
    fn sweep(&self, now: Time) -> BoxFuture<'_, ()>;

    /// Bytes of payload retained now for each declared topic, for the metrics. No append waits for it.
    fn retained(&self) -> Vec<(Pattern, usize)>;
}

/// Receives every append.
pub trait Follower: Send + Sync {
    /// Called with one or more whole appends, in seq order and never concurrently.
    ///
    /// The store may hold its lock, for which every publisher waits. So this must not call the store, nor wait for a
    /// lock that is ever held for longer than an append takes.
    fn appended(&self, records: &[Arc<Record>]);
}

/// A message ready to append.
#[derive(Debug)]
pub struct Draft {
    /// The concrete topic.
    pub topic: TopicName,
    /// The only user whose connections receive it; everybody when `None`.
    pub user: Option<UserId>,
    /// The validated JSON.
    pub payload: Payload,
    /// While the log remembers this key, the message is not appended again.
    pub key: Option<IdempotencyKey>,
}

/// The longest idempotency key, in bytes.
pub const MAX_KEY: usize = 255;

/// Identifies a publish, so that a retry is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The token's name: keys of different principals, or of different topics, never collide.
    pub principal: Arc<str>,
    /// Chosen by the publisher.
    pub key: Arc<str>,
}

/// How many idempotency keys a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyCounts {
    /// Those remembered now.
    pub remembered: usize,
    /// Those forgotten before they had aged, because there were too many.
    pub forgotten_early: u64,
}

/// Proof that a message is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the log.
    pub seq: Seq,
    /// When it was appended.
    pub time: Time,
    /// Whether it was there already, under the same idempotency key.
    pub duplicate: bool,
}

/// The log cannot be reached, read or written; says why, for the log of this server.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a store could not append.
#[derive(Debug)]
pub enum StoreError {
    /// The idempotency key belongs to another payload or user of the same topic; carries the draft's index.
    KeyReused(usize),
    /// An append with the same key has not been answered yet; carries the draft's index.
    KeyInFlight(usize),
    /// A family has as many concrete topics as `limits.family_topics` allows; carries the draft's index.
    FamilyFull(usize),
    /// Nothing can be appended.
    Unavailable(Unavailable),
}

/// What a concrete topic retains: all of its messages, as far as these limits allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// At most so many messages.
    pub count: usize,
    /// At most so many bytes of payload.
    pub bytes: usize,
    /// For so long.
    pub age: Duration,
    /// The declared name. [`Store::retained`] adds up under it; [`Page::evicted`] does not use it.
    pub declared: Pattern,
    /// For a family: at most so many concrete topics at a time.
    pub topics: usize,
}

/// What to read from a log.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Topics that match any of these patterns.
    pub topics: &'a [Pattern],
    /// From here, exclusive.
    pub after: Seq,
    /// Up to here, inclusive.
    pub until: Seq,
    /// At most so many messages.
    pub limit: usize,
    /// And about so many bytes ([`Record::written_len`]), but at least one message: whoever reads further than it can send
    /// reads the rest again.
    pub bytes: usize,
    /// [`Page::seen`] of an earlier page of the same topics that began no later, 0 if there is none: the evictions that it
    /// stands for need not be reported again. A store that reports all of them each time may ignore it.
    pub seen: u64,
}

/// An answer to a [`Query`].
#[derive(Debug, Default)]
pub struct Page {
    /// In seq order.
    pub records: Vec<Arc<Record>>,
    /// Topics of the query that evicted messages after its `after`, each with the highest seq evicted. Topics that no
    /// longer exist are reported together, as the pattern of the query. Each name lies within a pattern of the query, or no
    /// subscriber is told. A seq that is too low hides a loss; one that is too high reports one that did not happen.
    pub evicted: Vec<(Pattern, Seq)>,
    /// The answer is complete up to here, inclusive: the query's `until`, unless `limit`, `bytes` or the log's head came
    /// first.
    pub until: Seq,
    /// Stands for the evictions that this page reports, and for those that its query had [`Query::seen`].
    pub seen: u64,
}

/// The number of encoders: one for each subprotocol, and one for server-sent events.
pub const ENCODERS: usize = 3;

/// Writes messages and notices as bytes that are ready for the socket.
///
/// Each answer is whole, because others may come between: complete frames for a [`Protocol`], unmasked and with their
/// headers, or else a complete event. Called during a fan-out, so it must not block.
pub trait Encoder: Send + Sync {
    /// The index of this encoder's encoding in each message's cache: below [`ENCODERS`], and different for every
    /// encoder.
    fn slot(&self) -> usize;

    /// A message: the same bytes for every subscriber. Called at most once for each message of the window, and again for
    /// each subscriber that reads it from the store.
    fn message(&self, epoch: Epoch, record: &Record) -> Bytes;

    /// A notice; `None` if this protocol does not tell it. It must not be silent about a gap, a lost subscription or a
    /// refusal.
    ///
    /// # Errors
    /// The close, if the protocol cannot tell it and must not stay silent; for [`Notice::Goaway`], which comes before a
    /// close, it counts as `None`. Some codes ask the peer to come back at once ([`Close`]), and must not stand for a
    /// position that stays lost.
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

    /// Reads one binary message of a subscriber, as [`Protocol::command`] reads text.
    ///
    /// `None` for a protocol of text only: a binary message then ends the connection with 1003. So far only the echo of
    /// the conformance suite reads binary messages; no protocol of Relay does.
    fn binary_command(&self) -> Option<ReadBinary> {
        None
    }
}

/// A kind of authentication: finds the principal of a bearer credential.
pub trait Authenticator: Send + Sync {
    /// The principal of a credential. How long it takes must not tell how much of a secret was right.
    ///
    /// # Errors
    /// [`AuthError`]; each is a failure that counts against the address.
    fn authenticate<'a>(&'a self, bearer: &'a str, now: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>>;

    /// The principal as this configuration knows it; `None` if it is gone, or its secret or user changed.
    ///
    /// Asked for each message that is published, and for connections and registrations after a reload, about any
    /// principal with a token, from whichever configuration. Must not block, and be about as cheap as a look-up.
    fn renew(&self, principal: &Principal) -> Option<Arc<Principal>>;
}

/// Why a credential is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// No token has this secret.
    Unknown,
    /// The token of this name is past its `not_after`.
    Expired(Arc<str>),
}
