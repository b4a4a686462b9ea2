//! A session that listens to groups: it plays and pauses by telling the home so.

use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::headers::range::{Npt, Range, Span};
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::rtsp::message::Response;

use super::{Offer, Starts, ToHome, Tracks};
use crate::shard::connection::{Mount, Refusal};
use crate::shard::request::Outcome;
use crate::shard::session::{SessionId, SessionKey, Source, State};
use crate::shard::turn::Shard;

/// What a session listens to.
#[derive(Debug)]
pub struct Member {
    /// Where it is sent.
    pub offer: Arc<Offer>,
    /// What was to come next when the session last began to listen.
    starts: Starts,
}

impl Member {
    /// A member of the groups of an offer.
    pub fn new(offer: Arc<Offer>) -> Member {
        Member { offer, starts: Starts::new() }
    }

    /// Whether a file is sent: it goes on for the others whatever one of them wants.
    pub fn is_of_file(&self) -> bool {
        matches!(self.offer.mount, Mount::File(_))
    }
}

impl Shard {
    /// Tells the home of a new member.
    pub(in crate::shard) fn enter(&self, key: SessionKey) {
        let session = &self.sessions[key];
        if let Source::Member(member) = &session.source {
            let Offer { home, key, .. } = *member.offer;
            self.tell_home(home, ToHome::Enter(key, session.id, session.peer.ip()));
        }
    }

    /// Tells the home what a member listens to.
    pub(in crate::shard) fn listen(&self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let Source::Member(member) = &session.source else { return };
        let tracks: Tracks = match session.state {
            State::Ready => Tracks::new(),
            State::Starting | State::Playing => {
                session.tracks.iter().filter(|track| track.enabled).map(|track| track.track).collect()
            }
        };
        let Offer { home, key, .. } = *member.offer;
        self.tell_home(home, ToHome::Listen(key, session.id, tracks));
    }

    /// Tells the home that a member is gone.
    pub(in crate::shard) fn leave_groups(&self, member: &Member, id: SessionId) {
        self.tell_home(member.offer.home, ToHome::Leave(member.offer.key, id));
    }

    /// Answers PLAY of a member, once the home has said what comes next.
    pub(in crate::shard) fn play_member(&mut self, conn: Conn, key: SessionKey) -> Outcome {
        let session = &mut self.sessions[key];
        if self.connections.get(conn).is_some_and(|connection| connection.is_retrying) {
            return Outcome::Reply(playing(session));
        }
        if session.state == State::Ready {
            session.state = State::Starting;
        }
        self.listen(key);
        self.await_start(conn, key)
    }

    /// The home has begun to send what a member listens to, or cannot.
    pub(super) fn flows(&mut self, member: SessionId, answer: Result<Starts, Refusal>) {
        let Some(key) = self.by_id.get(&member).copied() else { return };
        let session = &mut self.sessions[key];
        let Source::Member(place) = &mut session.source else { return };
        match answer {
            Ok(starts) => {
                place.starts = starts;
                if session.state == State::Starting {
                    session.state = State::Playing;
                }
            }
            Err(refusal) => {
                session.state = State::Ready;
                session.failed = Some(refusal);
            }
        }
        self.retry_awaited(key);
    }
}

/// The reply to a PLAY that flows.
fn playing(session: &crate::shard::session::Session) -> Response {
    let response = Response::new(proto::rtsp::status::Status::OK)
        .header("Session", session.id.to_string())
        .header("Range", Range::from(Span::Npt { from: Some(Npt::Now), to: None }).to_string());
    let Source::Member(member) = &session.source else { return response };
    let infos: Vec<_> = (session.tracks.iter().filter(|track| track.enabled))
        .map(|track| {
            let start = member.starts.iter().find(|(index, _)| *index == track.track);
            let first = start.and_then(|(_, first)| *first);
            let (seq, rtptime) = (first.map(|(seq, _)| seq), first.map(|(_, rtptime)| rtptime));
            RtpInfo { url: track.url.clone(), seq, rtptime }
        })
        .collect();
    if infos.is_empty() { response } else { response.header("RTP-Info", RtpInfo::write_list(&infos)) }
}
