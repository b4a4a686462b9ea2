//! What a shard can be asked, and what it answers. Every answer is made within a turn, so whoever asks for many things
//! asks for some at a time.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::client::Transfer;
use proto::histogram::Histogram;
use proto::io::DriverStats;
use proto::track::Track;

use crate::shard::accounts::Account;
use crate::shard::session::{Numbers, SessionId, State};
use crate::stream::catalog::Description;

/// Takes an answer on the shard's thread; it must return at once.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

/// A question to a shard, or an order.
#[derive(Debug)]
pub enum Question {
    /// What it has counted.
    Totals(Reply<Totals>),
    /// What each user has had.
    Users(Reply<HashMap<Arc<str>, Account>>),
    /// Which sessions it has: the cheapest way to page through many.
    SessionIds(Reply<Vec<SessionId>>),
    /// What there is to say of these sessions. Those that it does not have are left out.
    Sessions(Vec<SessionId>, Reply<Vec<SessionReport>>),
    /// The streams that come here: all, or the one of this path.
    Streams(Option<String>, Reply<ShardStreams>),
    /// What it pulls: all, or what comes to this path.
    Proxies(Option<String>, Reply<Vec<ProxyReport>>),
    /// To keep what a session sends and receives for so long; None when it is not here, false when enough are looked at.
    Tap(SessionId, Duration, Reply<Option<bool>>),
    /// To end that; a file of packets.
    Untap(SessionId, Reply<Option<Vec<u8>>>),
    /// To end a session; whether it had it.
    End(SessionId, Reply<bool>),
}

/// What a shard has counted since it began, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were let in.
    pub connections_accepted: u64,
    /// Connections and requests that were turned away: banned, denied, or beyond a bound.
    pub refused: u64,
    /// Wrong passwords.
    pub log_ins_failed: u64,
    /// Sessions that began.
    pub sessions_begun: u64,
    /// Sessions that ended.
    pub sessions_ended: u64,
    /// Bytes of RTP, and what stands around it on connections, that were sent to viewers.
    pub bytes_sent: u64,
    /// Bytes of RTP, or of pictures, that publishers, proxies and pushers have brought.
    pub bytes_received: u64,
    /// Packets of publishers, proxies and pushers that have not come, by the gaps in their numbers.
    pub packets_missing: u64,
    /// Packets that viewers have reported as lost.
    pub packets_lost: u64,
    /// Pictures and pieces of sound that were left out for viewers who were too slow.
    pub batches_shed: u64,
    /// Microseconds from a session's first PLAY to the first media that left for it.
    pub first_media: Histogram,
    /// What its driver has counted.
    pub driver: DriverStats,
    /// Connections that there are now.
    pub connections: usize,
    /// Sessions that there are now.
    pub sessions: usize,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Its client watches.
    Play,
    /// Its client publishes.
    Publish,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Its identifier.
    pub id: SessionId,
    /// What it is for.
    pub kind: SessionKind,
    /// Where it stands.
    pub state: State,
    /// The URL that its client asked for.
    pub url: String,
    /// The mount's path, without the slash before it.
    pub path: String,
    /// The client.
    pub peer: SocketAddr,
    /// The user; None where nobody was asked.
    pub user: Option<String>,
    /// How its media travels.
    pub transport: &'static str,
    /// Whether its connection is in TLS; None while it has none.
    pub is_secure: Option<bool>,
    /// How long it has been there.
    pub age: Duration,
    /// Bytes of media that were sent, or received of a publisher.
    pub bytes: u64,
    /// Packets lost, as the viewer's reports count them, or as the gaps in a publisher's numbers do.
    pub packets_lost: u64,
    /// Pictures and pieces of sound left out because the viewer was too slow.
    pub batches_shed: u64,
    /// Longest latest round trip; None before the viewer has reported.
    pub round_trip: Option<Duration>,
}

/// The streams that come to a shard.
#[derive(Clone, Debug, Default)]
pub struct ShardStreams {
    /// Live streams that are received for viewers here, with bits a second where that is known.
    pub live: Vec<(Arc<Description>, Option<u64>)>,
    /// Streams whose packets come here from outside: those of publishers, proxies and pushers.
    pub taken_in: Vec<PublicationReport>,
}

/// A stream whose packets come to a shard from outside.
#[derive(Clone, Debug)]
pub struct PublicationReport {
    /// Its path, without the slash before it.
    pub path: Arc<str>,
    /// Where it stands.
    pub state: StreamState,
    /// What it carries, as far as that is known.
    pub tracks: Vec<Track>,
    /// Who plays it.
    pub viewers: u32,
    /// Bytes of RTP that have come of it, as long as its source was not lost for good.
    pub bytes: u64,
    /// Packets of its source that have not come, by the gaps in their numbers, since that was last connected; None where
    /// nobody numbers them.
    pub missing: Option<u64>,
    /// The address that sends it; None where nobody does or that is told elsewhere.
    pub sender: Option<SocketAddr>,
}

/// A stream that a shard pulls.
#[derive(Clone, Debug)]
pub struct ProxyReport {
    /// Its path, without the slash before it.
    pub path: Arc<str>,
    /// Where it stands.
    pub state: StreamState,
    /// Whether there is a connection to its source.
    pub is_connected: bool,
    /// How its packets come, or are to come with the next attempt; None of an HTTP server's pictures.
    pub transfer: Option<Transfer>,
    /// Why the latest attempt came to nothing; None once media comes.
    pub failure: Option<String>,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// Media comes, or is about to.
    Running,
    /// Nobody wants it.
    Idle,
    /// Its source is lost and may come back.
    Lost,
}

impl Totals {
    /// Counts what has come of a sender from one time to another.
    pub(in crate::shard) fn took(&mut self, before: Numbers, after: Numbers) {
        self.bytes_received += after.bytes - before.bytes;
        self.packets_missing += after.missing - before.missing;
    }
}

impl<T> Reply<T> {
    /// Answers are passed to that function.
    pub fn new(take: impl FnOnce(T) + Send + 'static) -> Reply<T> {
        Reply(Box::new(take))
    }

    /// Answers.
    pub fn answer(self, answer: T) {
        (self.0)(answer);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
