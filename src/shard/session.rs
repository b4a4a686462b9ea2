//! One session: its state, its tracks, and what it plays (RFC 2326 section 3.4 and appendix A).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::Conn;
use proto::rtsp::uri::{Target, percent_decode};
use proto::time::{MediaTime, Time};
use smallvec::SmallVec;

use super::connection::Refusal;
use super::file::{FilePlayback, Pace};
use super::hooks::Admission;
use super::ingest::Ingest;
use super::limits::Promise;
use super::live::LiveCursor;
use super::multicast::{Member, TransmissionKey};
use super::replay::Replay;
use super::talk::TalkIn;
use crate::egress::track::{Route, TrackOut};
use crate::stream::catalog::ShardIndex;

slotmap::new_key_type! {
    /// Names a session on its shard.
    pub struct SessionKey;
}

/// The identifier in the `Session` header: the shard, then 56 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// A fresh identifier of a session on `shard`.
    pub fn new(shard: ShardIndex, random: u64) -> SessionId {
        SessionId(u64::from(shard as u8) << 56 | random >> 8)
    }

    /// Reads the header's value; None when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<SessionId> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(SessionId)
    }

    /// Some of the random bits, for telling sessions apart in a narrow place.
    pub fn random_bits(self) -> u32 {
        self.0 as u32
    }

    /// The shard that the session lives on.
    pub fn shard(self) -> ShardIndex {
        ShardIndex::from((self.0 >> 56) as u8)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// Where a session stands (RFC 2326 appendix A.2). A session in state Init does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Set up, or paused.
    Ready,
    /// PLAY is being prepared: its first segment is on the way.
    Starting,
    /// Media flows.
    Playing,
}

/// What a session plays.
#[derive(Debug)]
pub enum Source {
    /// A file, pulled at the session's own position.
    File(Box<FilePlayback>),
    /// A file as well, which is told by its own times.
    Replay(Box<Replay>),
    /// A live stream, as a cursor in the shard's window.
    Live(LiveCursor),
    /// Nothing: the client sends, and others watch.
    Ingest(Box<Ingest>),
    /// Nothing: the client listens to groups that another session sends to.
    Member(Box<Member>),
}

/// How all tracks of a session travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `$` frames on the RTSP connection.
    Interleaved,
    /// Datagrams.
    Unicast,
    /// Datagrams that another session sends to groups.
    Multicast,
    /// Datagrams to groups: a session without a client, which sends a transmission.
    Groups(TransmissionKey),
}

impl Carrier {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Carrier::Interleaved => "tcp",
            Carrier::Unicast => "udp",
            Carrier::Multicast | Carrier::Groups(_) => "multicast",
        }
    }
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// State.
    pub state: State,
    /// What it plays.
    pub source: Source,
    /// How.
    pub carrier: Carrier,
    /// The tracks that were set up.
    pub tracks: SmallVec<[TrackOut; 2]>,
    /// The track that its viewer sends; None when it was not set up.
    pub talk: Option<Box<TalkIn>>,
    /// How its media travels, by its name in the log.
    pub transport: &'static str,
    /// The connection that last spoke for it; None while none is there (datagrams only).
    pub conn: Option<Conn>,
    /// The client.
    pub peer: SocketAddr,
    /// The user it belongs to; None where nobody was asked.
    pub user: Option<usize>,
    /// Under whose name it is counted; None where nobody was asked, or there are too many users.
    pub account: Option<Arc<str>>,
    /// What a web service has admitted; told of its end with this. None where there are none, and before PLAY.
    pub admission: Option<Box<Admission>>,
    /// What its playing was promised; None while it does not play, and where nothing is bounded.
    pub promise: Option<Box<Promise>>,
    /// The URL as the client asked for it, without a track's name.
    pub url: String,
    /// The mount's path: all tracks of a session are of one mount. That of a publisher is decoded.
    pub path: String,
    /// Where a first PLAY without a range begins: the URL's `s` parameter.
    pub start: Option<MediaTime>,
    /// What the PLAY that is being prepared asked for: content time and pace.
    pub starting: Option<(MediaTime, Pace)>,
    /// The connections whose PLAY waits for it: another one may speak for the session meanwhile.
    pub awaited_by: SmallVec<[Conn; 1]>,
    /// Why the PLAY that was being prepared fails.
    pub failed: Option<Refusal>,
    /// Content time that the latest PLAY begins at.
    pub start_granted: MediaTime,
    /// When it began.
    pub began: Time,
    /// When its first PLAY came.
    pub played: Option<Time>,
    /// When the client last showed life.
    pub seen: Time,
    /// How long it may live without: what its client was told. Zero = for ever.
    pub timeout: Duration,
    /// Whether it waits in the shard's list of sessions that may send.
    pub is_ready: bool,
    /// Whether it has a backlog to catch up with: others come first.
    pub is_behind: bool,
    /// When it is to be looked at again; None when nothing is scheduled.
    pub wake_at: Option<Time>,
    /// What it sent, and what its reports say.
    pub numbers: Numbers,
    /// Trains of the batch at the cursor that have left already: paced batches leave in several turns.
    pub trains_sent: usize,
}

/// What a session has sent and heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// Bytes of RTP.
    pub bytes: u64,
    /// As many of them as were counted as sent.
    pub measured: u64,
    /// Batches skipped because the viewer was too slow.
    pub skipped: u64,
    /// How often that was.
    pub sheds: u64,
    /// Reports from the viewer that could not be read.
    pub malformed: u64,
    /// Packets of a sender that have not come, by the gaps in their numbers.
    pub missing: u64,
}

impl Session {
    /// A session without tracks.
    pub fn new(id: SessionId, source: Source, carrier: Carrier, peer: SocketAddr, now: Time) -> Session {
        Session {
            id,
            state: State::Ready,
            source,
            carrier,
            transport: carrier.name(),
            tracks: SmallVec::new(),
            talk: None,
            conn: None,
            user: None,
            account: None,
            peer,
            url: String::new(),
            path: String::new(),
            start: None,
            starting: None,
            admission: None,
            promise: None,
            awaited_by: SmallVec::new(),
            failed: None,
            start_granted: MediaTime::ZERO,
            began: now,
            played: None,
            seen: now,
            timeout: Duration::ZERO,
            is_ready: false,
            is_behind: false,
            wake_at: None,
            numbers: Numbers::default(),
            trains_sent: 0,
        }
    }

    /// Gives back what its playing was promised. What it was sent beyond that keeps nobody out.
    pub fn give_back_promise(&mut self) {
        if self.promise.take().is_some_and(|promise| promise.takes_rest()) {
            self.numbers.measured = self.numbers.bytes;
        }
    }

    /// Plays no more until it is asked to again.
    pub fn rest(&mut self) {
        self.state = State::Ready;
        self.wake_at = None;
        self.trains_sent = 0;
        self.give_back_promise();
        for track in &mut self.tracks {
            track.report_at = None;
        }
    }

    /// Waits for the segment that a PLAY begins with.
    pub fn await_segment(&mut self) {
        self.state = State::Starting;
        self.trains_sent = 0;
        self.wake_at = None;
        for track in &mut self.tracks {
            // Its clocks stand elsewhere behind the jump: the next report is due with the first packet.
            track.report_at = None;
        }
    }

    /// Packets lost on all tracks, as the viewer's reports count them.
    pub fn lost(&self) -> u64 {
        self.tracks.iter().map(|track| u64::from(track.heard.lost.max(0) as u32)).sum()
    }

    /// Longest latest round trip; None before the viewer has reported.
    pub fn round_trip(&self) -> Option<Duration> {
        self.tracks.iter().filter_map(|track| track.heard.round_trip).max()
    }

    /// The viewer's UDP addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.tracks.iter().flat_map(TrackOut::addresses)
    }

    /// Whether a request's URL means this session: its presentation or whatever lies below, with or without its
    /// parameters, in whatever spelling the client gives it back.
    pub fn is_meant_by(&self, target: &Target) -> bool {
        let Ok(own) = Target::parse(&self.url) else { return true };
        let decoded = |path: &str| {
            let path = path.trim_matches('/');
            percent_decode(path).unwrap_or_else(|_| path.to_owned())
        };
        let [ours, asked] =
            [&own, target].map(|target| [&target.path, &target.raw_path].map(|path| decoded(path)));
        let is_inside = |path: &str, base: &str| {
            path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        asked.iter().any(|path| ours.iter().any(|base| is_inside(path, base)))
    }

    /// The set-up track with this index.
    pub fn track(&self, index: u8) -> Option<&TrackOut> {
        self.tracks.iter().find(|track| track.track == index)
    }

    /// Whether the index is that of the track that its viewer sends.
    pub fn is_talk(&self, index: u8) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.track == index)
    }

    /// Whether its media is bound to a connection other than this one.
    pub fn is_bound_elsewhere(&self, conn: Conn) -> bool {
        self.carrier == Carrier::Interleaved && self.conn != Some(conn)
    }

    /// Whether the interleaved channel is one of this session's.
    pub fn has_channel(&self, channel: u8) -> bool {
        if let Source::Ingest(ingest) = &self.source {
            return ingest.inflow.on_channel(channel).is_some();
        }
        if self.talk.as_ref().is_some_and(|talk| talk.on_channel(channel).is_some()) {
            return true;
        }
        self.tracks.iter().any(|track| match track.route {
            Route::Interleaved { rtp, rtcp } => rtp == channel || rtcp == channel,
            Route::Unicast(_) | Route::Groups(_) | Route::Elsewhere => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_names_its_shard() {
        let id = SessionId::new(3, u64::MAX);
        assert_eq!(id.shard(), 3);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(SessionId::parse("12345678"), None);
        assert_eq!(SessionId::parse("+123456789abcdef"), None);
    }
}
