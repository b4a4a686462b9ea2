//! PLAY of a recording, and who may ask for it (ONVIF streaming specification sections 6.4 to 6.10).

use proto::io::Conn;
use proto::rtsp::headers::rate_control::yes_or_no;
use proto::rtsp::headers::require::{self, REPLAY};
use proto::rtsp::headers::scale::{Scale, Speed};
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;

use super::order::{Direction, Order, Standing};
use super::wish::{Wish, asks_replay};
use super::{Replay, bit};
use crate::media::library::Wanted;
use crate::shard::connection::{Mount, Refusal};
use crate::shard::play::first_numbers;
use crate::shard::request::Outcome;
use crate::shard::resolve::status_of;
use crate::shard::session::{Carrier, SessionKey, Source, State};
use crate::shard::turn::{Asker, Shard};
use crate::stream::catalog::leading;

impl Shard {
    /// Whether a request requires that a mount be replayed, which only files are.
    pub(in crate::shard) fn lacks_replay(&self, request: &Request, mount: &Mount) -> bool {
        require::has(&request.headers, REPLAY) && !matches!(mount, Mount::File(_))
    }

    /// Whether a PLAY requires that a session be replayed that cannot be.
    pub(in crate::shard) fn cannot_replay(&self, request: &Request, key: SessionKey) -> bool {
        let is_file = matches!(self.sessions[key].source, Source::File(_) | Source::Replay(_));
        require::has(&request.headers, REPLAY) && !is_file
    }

    /// Whether a PLAY is one of a recording.
    pub(in crate::shard) fn is_replayed(&self, request: &Request, key: SessionKey) -> bool {
        match self.sessions[key].source {
            Source::Replay(_) => true,
            Source::File(_) => asks_replay(&request.headers),
            Source::Live(_) | Source::Ingest(_) | Source::Member(_) => false,
        }
    }

    /// Has what a session plays told by its own times from now on, if SETUP requires it.
    pub(in crate::shard) fn note_replay(&mut self, request: &Request, key: SessionKey) {
        if require::has(&request.headers, REPLAY) {
            self.become_replay(key);
        }
    }

    fn become_replay(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key];
        if let Source::File(file) = &session.source {
            let replay = Replay::of(file, session.state == State::Playing, self.now);
            session.source = Source::Replay(Box::new(replay));
        }
    }

    /// Answers PLAY of a recording. Its first segment is awaited, because `RTP-Info` must be true.
    pub(in crate::shard) fn play_replay(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        key: SessionKey,
    ) -> Outcome {
        let wish = match Wish::read(&request.headers) {
            Ok(wish) => wish,
            Err(refusal) => return refusal.into(),
        };
        if let Some(outcome) = self.hinders_play(conn, request, key) {
            return outcome;
        }
        let is_retrying = self.connections.get(conn).is_some_and(|connection| connection.is_retrying);
        if is_retrying && self.sessions[key].state == State::Playing {
            return self.confirm_replay(key, &wish);
        }
        // What is refused changes nothing.
        let order = match self.order_of(key, &wish) {
            Ok(order) => order,
            Err(refusal) => return refusal.into(),
        };
        if let Err(refusal) = self.promise(key, order.pace.unwrap_or_default()) {
            return refusal.into();
        }
        self.finish_batch(key);
        self.become_replay(key);
        if let Err(refusal) = self.admit_replay(key) {
            return refusal.into();
        }
        if let Some(promise) = &mut self.sessions[key].promise {
            promise.set_takes_rest(order.pace.is_none());
        }
        self.enable(key, target);
        self.start_replay(conn, key, order, &wish)
    }

    /// Finds a recording that is made anew a place of its own among all that is.
    fn admit_replay(&mut self, key: SessionKey) -> Result<(), Refusal> {
        let session = &mut self.sessions[key];
        let Source::Replay(replay) = &mut session.source else { return Ok(()) };
        let admitted = self.ports.library.admit(&replay.info, None, &mut replay.place);
        admitted.map_err(|error| {
            tracing::warn!(session = %session.id, url = %session.url, %error, "not replayed");
            Refusal::new(status_of(&error), error.to_string())
        })
    }

    /// Goes on, or jumps, to what was granted.
    fn start_replay(&mut self, conn: Conn, key: SessionKey, order: Order, wish: &Wish) -> Outcome {
        let session = &mut self.sessions[key];
        session.start = None;
        let is_playing = session.state == State::Playing;
        let tracks = session.tracks.iter().fold(0, |tracks, track| tracks | bit(track.track));
        let Source::Replay(replay) = &mut session.source else { return Outcome::Wait };
        let goes_on = replay.is_underway(tracks) && wish.unit.is_none();
        if goes_on && (is_playing && wish.is_sign_of_life() || replay.order.is_same_mode(&order)) {
            session.start_granted = match is_playing {
                true => {
                    replay.confirm(order.cseq);
                    replay.reached(self.now)
                }
                false => replay.resume(self.now, order.cseq),
            };
            session.state = State::Playing;
            self.begin_tracks(key);
            self.begin_talk(key);
            return self.confirm_replay(key, wish);
        }
        replay.jump(order, tracks);
        session.await_segment();
        self.ask_first(key, Wanted::Seek(order.from));
        self.await_start(conn, key)
    }

    /// Asks for one of the segments that a recording begins with.
    pub(in crate::shard) fn ask_first(&mut self, key: SessionKey, wanted: Wanted) {
        let (ticket, reply) = self.ticket(Asker::Session(key, false));
        let Source::Replay(replay) = &mut self.sessions[key].source else { return };
        replay.asked = Some(ticket);
        let info = replay.info.clone();
        self.ports.library.segment(&info, wanted, ticket, &reply);
    }

    /// What can be granted of a wish.
    fn order_of(&self, key: SessionKey, wish: &Wish) -> Result<Order, Refusal> {
        let session = &self.sessions[key];
        if session.carrier == Carrier::Unicast {
            let is_secure = session.tracks.iter().any(|track| track.protection.is_some());
            self.fits_replay(is_secure)?;
        }
        let is_playing = session.state == State::Playing;
        let (info, standing) = match &session.source {
            Source::Replay(replay) => (&replay.info, replay.standing(is_playing, self.now)),
            Source::File(file) => {
                let replay = Replay::of(file, is_playing, self.now);
                (&file.info, replay.standing(false, self.now))
            }
            Source::Live(_) | Source::Ingest(_) | Source::Member(_) => {
                let reason = "only files can be replayed";
                return Err(Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason));
            }
        };
        let order = wish.order(info, Standing { at: standing.at.or(session.start), ..standing })?;
        let leading = leading(&info.tracks);
        if order.direction == Direction::Backward && session.track(leading).is_none() {
            let reason = "only pictures are played in reverse: set up their track";
            return Err(Refusal::new(Status::INVALID_RANGE, reason));
        }
        Ok(order)
    }

    /// Whether a datagram holds a packet with the extension.
    pub(in crate::shard) fn fits_replay(&self, is_secure: bool) -> Result<(), Refusal> {
        if self.settings.live.packets.hold_extended(is_secure) {
            return Ok(());
        }
        let reason = "packets of mtu are too large to be extended in datagrams: RTP/AVP/TCP is offered";
        Err(Refusal::new(Status::UNSUPPORTED_TRANSPORT, reason))
    }

    /// The reply to a PLAY that flows: what is granted, from where, and with which numbers.
    fn confirm_replay(&mut self, key: SessionKey, wish: &Wish) -> Outcome {
        let session = &mut self.sessions[key];
        let Source::Replay(replay) = &session.source else { return Outcome::Wait };
        let start = session.start_granted;
        let sequence = |track| replay.first_sequence(track);
        let timestamp = |track| replay.sends(track).then(|| replay.rtp_timestamp(track, start));
        let infos = first_numbers(&mut session.tracks, sequence, timestamp);
        let mut response = Response::new(Status::OK)
            .header("Session", session.id.to_string())
            .header("Range", replay.range(start, wish.unit.unwrap_or_default()).to_string());
        if !infos.is_empty() {
            response = response.header("RTP-Info", infos);
        }
        state(&mut response, replay, wish);
        self.make_ready(key);
        Outcome::Reply(response)
    }
}

/// A reply repeats what was asked with what is granted.
fn state(response: &mut Response, replay: &Replay, wish: &Wish) {
    let Order { direction, frames, pace, .. } = replay.order;
    if wish.scale.is_some() {
        let scale = replay.pace().scale;
        let scale = Scale::new(if direction == Direction::Backward { -scale } else { scale });
        response.headers.push("Scale", scale.unwrap_or(Scale::NORMAL).to_string());
    }
    if let Some(asked) = wish.speed {
        // Where the viewer sets the pace it has the speed that it wants.
        let speed = pace.map_or(Some(asked), |pace| Speed::new(pace.speed));
        response.headers.push("Speed", speed.unwrap_or(Speed::NORMAL).to_string());
    }
    if wish.rate_control.is_some() {
        response.headers.push("Rate-Control", yes_or_no(pace.is_some()));
    }
    if wish.frames.is_some() {
        response.headers.push("Frames", frames.to_string());
    }
}

impl From<ReplayAbsent> for Outcome {
    fn from(_: ReplayAbsent) -> Outcome {
        Outcome::Reply(Response::new(Status::OPTION_NOT_SUPPORTED).header("Unsupported", REPLAY))
    }
}

/// What is required cannot be replayed.
#[derive(Clone, Copy, Debug)]
pub struct ReplayAbsent;
