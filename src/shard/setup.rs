//! SETUP (RFC 2326 section 10.4): one track gets a way to the viewer.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::io::{Conn, UdpOptions};
use proto::rtcp::interval::{Interval, Members, Minimum};
use proto::rtsp::headers::require::{self, REPLAY};
use proto::rtsp::headers::transport::{Delivery, Lower, Mode, Pair, Profile, Transport};
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::time::MediaTime;
use proto::track::Track;
use rand::RngExt;
use smallvec::SmallVec;

use super::client_ports::{Claim, Holder};
use super::connection::{Mount, Refusal};
use super::datagrams::{Viewer, at_port, no_pair};
use super::file::FilePlayback;
use super::inbox::Message;
use super::live::LiveCursor;
use super::multicast::{GroupWish, Member, Offer};
use super::replay::ReplayAbsent;
use super::request::Outcome;
use super::resolve::Resolution;
use super::session::{Carrier, Session, SessionId, SessionKey, Source, State};
use super::talk::TalkError;
use super::turn::Shard;
use crate::egress::track::{Route, TrackOut, Unicast};

/// Bits a second that the report interval is reckoned from; above 40 kbit/s the minimum of 5 s decides.
const SESSION_BANDWIDTH: u64 = 1_000_000;

/// Sessions that one connection may begin: their channels are 256 in all, and each request looks at all of them.
const SESSIONS_A_CONNECTION: usize = 64;

impl Shard {
    /// Answers SETUP: makes a session, or adds a track to one.
    pub(super) fn set_up(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Outcome {
        if self.is_announced(conn, target, session) {
            return self.set_up_recording(conn, request, target, session);
        }
        let mount = match self.resolve(conn, target) {
            Resolution::Found(mount) => mount,
            Resolution::Refused(refusal) => return refusal.into(),
            Resolution::Waiting => return Outcome::Wait,
        };
        if let Err(outcome) = self.may_watch(conn, &mount) {
            return outcome;
        }
        if self.lacks_replay(request, &mount) {
            return ReplayAbsent.into();
        }
        if self.lacks_backchannel(request, &mount) {
            return TalkError::Absent.into();
        }
        if let Some(outcome) = self.set_up_talk(conn, request, target, session, &mount) {
            return outcome;
        }
        let asked = (self.track_asked_for(&mount, request, target, session))
            .and_then(|track| Ok((track, self.routes(conn, request, session)?)))
            .and_then(|(track, ways)| Ok((track, self.fitting(ways, &mount)?)))
            .and_then(|(track, ways)| Ok((track, self.fitting_replay(ways, request)?)));
        let (track, ways) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return refusal.into(),
        };
        let member = session.and_then(|key| match &self.sessions[key].source {
            Source::Member(member) => Some(Ok(member.offer.clone())),
            _ => None,
        });
        let offer = match ways.iter().any(|way| matches!(way, Way::Groups(_))) {
            true => match member.or_else(|| self.offer_of(conn, &mount)) {
                None => return Outcome::Wait,
                known => known,
            },
            false => None,
        };
        match self.add_track(conn, request, target, session, &mount, track, Choice { ways, offer }) {
            Ok(response) => Outcome::Reply(response),
            Err(refusal) => refusal.into(),
        }
    }

    /// Which track is meant, and whether it may be set up now.
    fn track_asked_for(
        &self,
        mount: &Mount,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Result<u8, Refusal> {
        let replayed = session.and_then(|key| match &self.sessions[key].source {
            Source::Replay(replay) => Some(replay.info.media()),
            _ => None,
        });
        let count = replayed.unwrap_or(mount.tracks_for(request)).len();
        let track = match target.track {
            Some(track) if usize::from(track) < count => track,
            Some(track) => {
                return Err(Refusal::new(Status::NOT_FOUND, format!("there is no track {track}")));
            }
            // The URL of a presentation with one track names that track as well.
            None if count == 1 => 0,
            None => {
                let reason = "SETUP takes the URL of one track: see a=control in the description";
                return Err(Refusal::new(Status::AGGREGATE_OPERATION_NOT_ALLOWED, reason));
            }
        };
        if let Some(key) = session {
            self.may_add_track(key, target, mount)?;
            if self.sessions[key].track(track).is_some() {
                return Err(Refusal::new(Status::BAD_REQUEST, "the track is set up already"));
            }
        }
        Ok(track)
    }

    /// Whether a session can get another track of a mount now.
    pub(super) fn may_add_track(
        &self,
        key: SessionKey,
        target: &Target,
        mount: &Mount,
    ) -> Result<(), Refusal> {
        let session = &self.sessions[key];
        let is_same = match (&session.source, mount) {
            (Source::File(playing), Mount::File(file)) => playing.info.id == file.id,
            (Source::Replay(playing), Mount::File(file)) => playing.info.id == file.id,
            (Source::Live(playing), Mount::Live(stream)) => playing.stream == stream.id,
            (Source::Member(member), mount) => member.offer.mount.is_same(mount),
            _ => false,
        };
        if session.path != target.path || !is_same {
            return Err(Refusal::new(Status::BAD_REQUEST, "the session plays another URL"));
        }
        if session.state != State::Ready {
            let reason = "the session is playing: PAUSE or TEARDOWN first";
            return Err(Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason));
        }
        Ok(())
    }

    /// The offers that can be met, best first; at least one.
    pub(super) fn routes(
        &self,
        conn: Conn,
        request: &Request,
        session: Option<SessionKey>,
    ) -> Result<Ways, Refusal> {
        let offers = Transport::parse_list(&request.headers);
        if offers.is_empty() && request.headers.get("Transport").is_none() {
            return Err(Refusal::new(Status::BAD_REQUEST, "Transport is missing"));
        }
        let carrier = session.and_then(|key| self.sessions.get(key)).map(|session| session.carrier);
        let is_forwarded = self.is_forwarded(conn);
        // Whoever came through a tunnel is behind a wall that datagrams do not pass.
        let is_tunnel = self.connections.get(conn).is_some_and(|connection| connection.door.is_tunnel());
        let (mut ways, mut is_other_carrier) = (Ways::new(), false);
        for offer in offers {
            if offer.mode == Some(Mode::Record) || offer.profile.is_secure() && !self.describes_keys(conn) {
                continue;
            }
            let profile = offer.profile;
            let way = match (offer.effective_delivery(), offer.lower) {
                (_, Lower::Udp) if is_tunnel => None,
                (Delivery::Unicast, Lower::Tcp) => {
                    Some(Way::Interleaved(self.channels(conn, offer.interleaved), profile))
                }
                (Delivery::Unicast, Lower::Udp) => offer
                    .client_port
                    .filter(|ports| ports.rtp != 0 && ports.rtcp != Some(0) && !is_forwarded)
                    .map(|ports| Way::Unicast(ports, profile)),
                (Delivery::Multicast, Lower::Udp)
                    if self.settings.multicast.is_some() && !profile.is_secure() =>
                {
                    Some(Way::Groups(GroupWish { destination: offer.destination, ttl: offer.ttl }))
                }
                (Delivery::Multicast, _) => None,
            };
            match way {
                Some(way) if carrier.is_none_or(|carrier| carrier == way.carrier()) => ways.push(way),
                Some(_) => is_other_carrier = true,
                None => {}
            }
        }
        if !ways.is_empty() {
            return Ok(ways);
        }
        if is_other_carrier {
            return Err(Refusal::new(Status::BAD_REQUEST, "all tracks of a session take the same transport"));
        }
        let reason = match self.settings.multicast {
            _ if is_forwarded => {
                "datagrams do not pass the proxy that the connection came by: RTP/AVP/TCP is offered"
            }
            _ if is_tunnel => "RTP/AVP/TCP is offered here",
            Some(_) => "RTP/AVP unicast over UDP or TCP and multicast are offered",
            None => "RTP/AVP unicast over UDP or TCP is offered",
        };
        Err(Refusal::new(Status::UNSUPPORTED_TRANSPORT, reason))
    }

    /// The ways that can carry a mount's packets.
    fn fitting(&self, mut ways: Ways, mount: &Mount) -> Result<Ways, Refusal> {
        let is_too_narrow = |way: &Way| matches!(way, Way::Unicast(_, profile) if profile.is_secure());
        if ways.iter().any(is_too_narrow) && !self.fits_datagrams(mount) {
            ways.retain(|way| !is_too_narrow(way));
        }
        if ways.is_empty() {
            let reason = "packets of mtu are too large to be encrypted in datagrams: RTP/SAVP/TCP is offered";
            return Err(Refusal::new(Status::UNSUPPORTED_TRANSPORT, reason));
        }
        Ok(ways)
    }

    /// The ways that what is replayed can take.
    fn fitting_replay(&self, mut ways: Ways, request: &Request) -> Result<Ways, Refusal> {
        if !require::has(&request.headers, REPLAY) {
            return Ok(ways);
        }
        let mut refusal =
            Refusal::new(Status::UNSUPPORTED_TRANSPORT, "what is sent to groups is not replayed");
        ways.retain(|way| match way {
            Way::Interleaved(..) => true,
            Way::Groups(_) => false,
            Way::Unicast(_, profile) => match self.fits_replay(profile.is_secure()) {
                Ok(()) => true,
                Err(too_large) => {
                    refusal = too_large;
                    false
                }
            },
        });
        if ways.is_empty() { Err(refusal) } else { Ok(ways) }
    }

    /// The channels that a client asked for, or others when it asked for none or for some that are taken.
    pub(super) fn channels(&self, conn: Conn, asked: Option<Pair<u8>>) -> (u8, u8) {
        let sessions =
            self.connections.get(conn).map(|connection| &connection.sessions[..]).unwrap_or_default();
        let is_taken = |channel| {
            sessions
                .iter()
                .any(|key| self.sessions.get(*key).is_some_and(|session| session.has_channel(channel)))
        };
        if let Some(asked) = asked {
            // 255 has no neighbour above.
            let rtcp = asked.rtcp.unwrap_or(asked.rtp.saturating_add(1));
            if asked.rtp != rtcp && !is_taken(asked.rtp) && !is_taken(rtcp) {
                return (asked.rtp, rtcp);
            }
        }
        let free = (0..=127)
            .map(|pair| (pair * 2, pair * 2 + 1))
            .find(|(rtp, rtcp)| !is_taken(*rtp) && !is_taken(*rtcp));
        free.unwrap_or((0, 1))
    }

    #[allow(clippy::too_many_arguments)]
    fn add_track(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
        mount: &Mount,
        track: u8,
        choice: Choice,
    ) -> Result<Response, Refusal> {
        let Some(connection) = self.connections.get(conn) else {
            return Err(Refusal::new(Status::INTERNAL_SERVER_ERROR, ""));
        };
        let (peer, local) = (connection.peer, connection.local);
        if session.is_none() {
            self.may_begin_session(conn)?;
        }
        let id = match session.and_then(|key| self.sessions.get(key)) {
            Some(session) => session.id,
            None => SessionId::new(self.index, self.ports.random.random()),
        };
        let offer = choice.offer.as_ref().and_then(|offer| offer.as_ref().ok()).cloned();
        let (carrier, route, mut granted) = match self.take_first(conn, id, track, &choice, peer, local) {
            Ok(taken) => taken,
            Err(refusal) => {
                if session.is_none() {
                    self.settings.limits.end(peer.ip());
                }
                return Err(refusal);
            }
        };
        let offer = offer.filter(|_| carrier == Carrier::Multicast);
        // What is sent to groups is what their home has.
        let mount = offer.as_ref().map_or(mount, |offer| &offer.mount);
        let (clock_rate, mut ssrc) = (mount.clock_rate(track), mount.ssrc(track));
        let mut told = None;
        let mut protection = None;
        if granted.profile.is_secure() {
            match self.protected(conn, request, id, mount, track) {
                Ok(protected) => {
                    told = protected.told;
                    ssrc = protected.ssrc;
                    protection = Some(Box::new(protected.protection));
                }
                Err(refusal) => {
                    self.give_back(id, &route);
                    if session.is_none() {
                        self.settings.limits.end(peer.ip());
                    }
                    return Err(refusal);
                }
            }
        }
        // RFC 2326 section 12.39: for unicast alone.
        granted.ssrc = offer.is_none().then_some(ssrc);
        let interval = self.interval();
        let mut track_out = TrackOut::new(track, clock_rate, request.uri.clone(), route, ssrc, interval);
        track_out.protection = protection;
        let key = session.unwrap_or_else(|| {
            let source = match &offer {
                Some(offer) => Source::Member(Box::new(Member::new(offer.clone()))),
                None => self.source_of(mount),
            };
            let key = self.make_session(conn, id, peer, target, source, carrier);
            self.enter(key);
            key
        });
        for address in track_out.addresses() {
            self.udp.register(address, Viewer { session: key, track });
        }
        if track_out.protection.is_some() && carrier == Carrier::Unicast {
            self.keep_packets_small(key);
        }
        self.sessions[key].tracks.push(track_out);
        self.note_replay(request, key);
        let response = Response::new(Status::OK).header("Session", self.session_header(key));
        let response = response.header("Transport", granted.to_string());
        Ok(match told {
            Some(told) => response.header("KeyMgmt", told.to_string()),
            None => response,
        })
    }

    /// Gives the addresses of a way back that leads nowhere.
    fn give_back(&mut self, id: SessionId, route: &Route) {
        if let Route::Unicast(unicast) = route {
            let holder = Holder::of(id);
            self.ports.client_ports.release(unicast.rtp_to, holder);
            if let Some(address) = unicast.rtcp_to {
                self.ports.client_ports.release(address, holder);
            }
        }
    }

    /// Takes the first way that can be had.
    fn take_first(
        &mut self,
        conn: Conn,
        id: SessionId,
        track: u8,
        choice: &Choice,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<(Carrier, Route, Transport), Refusal> {
        let mut refused = None;
        for way in &choice.ways {
            let taken = match way {
                Way::Interleaved((rtp, rtcp), _) => Ok(interleaved_way(*rtp, *rtcp)),
                Way::Unicast(client, _) => self.unicast_way(conn, id, *client, peer, local),
                Way::Groups(wish) => self.group_way(choice.offer.as_ref(), track, wish),
            };
            match taken {
                Ok((route, granted)) => {
                    let granted = Transport { profile: way.profile(), ..granted };
                    return Ok((way.carrier(), route, granted));
                }
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        Err(refused.unwrap_or_else(|| Refusal::new(Status::UNSUPPORTED_TRANSPORT, "")))
    }

    /// Takes a viewer's ports, and says what is granted.
    fn unicast_way(
        &mut self,
        conn: Conn,
        id: SessionId,
        client: Pair<u16>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<(Route, Transport), Refusal> {
        let options = UdpOptions {
            multicast_ttl: self.settings.multicast_ttl,
            ingest: false,
            patience: self.settings.slow_reader,
            membership: None,
        };
        let range = &self.settings.udp_ports;
        let random = &mut self.ports.random;
        let pair = self
            .udp
            .pair(local, range, &options, &mut *self.ports.driver, random)
            .map_err(|error| no_pair(range, &error))?;
        let rtp_to = at_port(peer, client.rtp);
        let rtcp_to = client.rtcp.map(|port| at_port(peer, port));
        self.claim(conn, id, rtp_to, rtcp_to)?;
        let unicast =
            Unicast { rtp: pair.rtp, rtcp: pair.rtcp, rtp_to, rtcp_to, movable: true, reports_movable: true };
        let server = Pair { rtp: pair.port, rtcp: client.rtcp.map(|_| pair.port + 1) };
        let granted = Transport {
            delivery: Some(Delivery::Unicast),
            client_port: Some(client),
            server_port: Some(server),
            ..Transport::default()
        };
        Ok((Route::Unicast(unicast), granted))
    }

    /// Takes the viewer's addresses for a session. Those of a session whose viewer has vanished, or has begun anew on
    /// the same connection, are taken over.
    fn claim(
        &mut self,
        conn: Conn,
        id: SessionId,
        rtp: SocketAddr,
        rtcp: Option<SocketAddr>,
    ) -> Result<(), Refusal> {
        let holder = Holder::of(id);
        let mut claimed = None;
        for address in [Some(rtp), rtcp].into_iter().flatten() {
            if let Some(viewer) = self.udp.viewer(address)
                && (self.sessions.get(viewer.session))
                    .is_some_and(|other| other.conn == Some(conn) && other.id != id)
            {
                self.drop_session(viewer.session, "its viewer has begun anew");
            }
            if self.claim_address(address, holder) == Claim::Refused {
                if let Some(address) = claimed {
                    self.ports.client_ports.release(address, holder);
                }
                let reason = "client_port is in use by another session of this address";
                // A player that is told so takes TCP.
                return Err(Refusal::new(Status::UNSUPPORTED_TRANSPORT, reason));
            }
            claimed = Some(address);
        }
        Ok(())
    }

    /// Takes one address; a session that loses it ends.
    pub(super) fn claim_address(&mut self, address: SocketAddr, holder: Holder) -> Claim {
        let claim = self.ports.client_ports.claim(address, holder);
        if let Claim::TakenOver(previous) = claim {
            if previous.shard() == self.index {
                self.give_way(address, previous);
            } else if let Some(outside) = self.ports.shards.get(usize::from(previous.shard())) {
                // A shard that has ended has no sessions.
                outside.send(Message::Overtaken(address, previous));
            }
        }
        claim
    }

    /// The pace of reports; the first one is sent when the track begins to flow and needs no interval.
    pub(super) fn interval(&mut self) -> Interval {
        let mut interval = Interval::new(SESSION_BANDWIDTH, Minimum::Fixed);
        interval.next(Members::UNICAST, self.ports.random.random());
        interval
    }

    /// What a viewer of a mount plays.
    pub(super) fn source_of(&mut self, mount: &Mount) -> Source {
        match mount {
            Mount::File(file) => Source::File(Box::new(FilePlayback::new(file.clone(), self.settings.loops))),
            Mount::Live(stream) => {
                self.live.begin(stream.id);
                Source::Live(LiveCursor::new(stream.id, self.now))
            }
        }
    }

    pub(super) fn make_session(
        &mut self,
        conn: Conn,
        id: SessionId,
        peer: SocketAddr,
        target: &Target,
        source: Source,
        carrier: Carrier,
    ) -> SessionKey {
        let start = target.parameter("s").and_then(|seconds| seconds.parse::<f64>().ok());
        let key = self.insert_session(conn, id, peer, target, source, carrier);
        let start = start.filter(|start| start.is_finite() && *start >= 0.0);
        self.sessions[key].start = start.map(MediaTime::from_secs_f64);
        key
    }

    /// Counts a session in on the limits; returns the client.
    pub(super) fn may_begin_session(&mut self, conn: Conn) -> Result<SocketAddr, Refusal> {
        let Some(connection) = self.connections.get(conn) else {
            return Err(Refusal::new(Status::INTERNAL_SERVER_ERROR, ""));
        };
        if connection.sessions.len() >= SESSIONS_A_CONNECTION {
            let reason = "the connection has too many sessions";
            return Err(Refusal::new(Status::NOT_ENOUGH_BANDWIDTH, reason));
        }
        let peer = connection.peer;
        match self.settings.limits.begin(peer.ip()) {
            Ok(()) => Ok(peer),
            Err(reached) => Err(self.over_limit(reached, peer)),
        }
    }

    /// The value of a reply's `Session`, with the time-out if there is one.
    pub(super) fn session_header(&self, key: SessionKey) -> String {
        let Session { id, timeout, .. } = &self.sessions[key];
        match timeout.as_secs() {
            0 => id.to_string(),
            timeout => format!("{id};timeout={timeout}"),
        }
    }

    /// Makes a session without tracks that was counted in.
    pub(super) fn insert_session(
        &mut self,
        conn: Conn,
        id: SessionId,
        peer: SocketAddr,
        target: &Target,
        source: Source,
        carrier: Carrier,
    ) -> SessionKey {
        let user = self.user(conn);
        let transport = match (carrier, self.connections.get(conn)) {
            (Carrier::Interleaved, Some(connection)) => connection.door.name(),
            _ => carrier.name(),
        };
        // A publisher names one of its tracks, by whatever name it has given it.
        let published = match &source {
            Source::Ingest(ingest) => self.publications.get_mut(ingest.tenure),
            _ => None,
        };
        let key = self.sessions.insert(Session {
            conn: Some(conn),
            user,
            transport,
            url: target.content_base().trim_end_matches('/').to_owned(),
            path: published.map_or_else(|| target.path.clone(), |it| it.offer.path.to_string()),
            timeout: self.settings.session_timeout,
            ..Session::new(id, source, carrier, peer, self.now)
        });
        self.by_id.insert(id, key);
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.sessions.push(key);
        }
        let account = self.user_name(user).map(str::to_owned);
        self.sessions[key].account = account.and_then(|name| self.accounts.begin(&name));
        let session = &self.sessions[key];
        let user = self.user_name(user);
        tracing::info!(session = %id, %peer, user, url = %session.url, transport, "session begins");
        self.counted.sessions_begun += 1;
        self.tell_beginning(key);
        key
    }
}

/// Several, best first.
pub(super) type Ways = SmallVec<[Way; 1]>;

/// The ways that a client can take, with the groups that are to be had where one of them leads there.
struct Choice {
    ways: Ways,
    offer: Option<Result<Arc<Offer>, Refusal>>,
}

/// How a track will travel.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// Channels for RTP and RTCP.
    Interleaved((u8, u8), Profile),
    /// The client's ports.
    Unicast(Pair<u16>, Profile),
    /// By groups, if they are as the client wants them.
    Groups(GroupWish),
}

impl Way {
    fn carrier(&self) -> Carrier {
        match self {
            Way::Interleaved(..) => Carrier::Interleaved,
            Way::Unicast(..) => Carrier::Unicast,
            Way::Groups(_) => Carrier::Multicast,
        }
    }

    fn profile(&self) -> Profile {
        match self {
            Way::Interleaved(_, profile) | Way::Unicast(_, profile) => *profile,
            Way::Groups(_) => Profile::Avp,
        }
    }
}

/// What is granted on a connection.
fn interleaved_way(rtp: u8, rtcp: u8) -> (Route, Transport) {
    let granted = Transport {
        delivery: Some(Delivery::Unicast),
        interleaved: Some(Pair::new(rtp, rtcp)),
        lower: Lower::Tcp,
        ..Transport::default()
    };
    (Route::Interleaved { rtp, rtcp }, granted)
}

impl Mount {
    /// Its name: a stream's path, or a file's below the media folder.
    pub(super) fn name(&self) -> &str {
        match self {
            Mount::File(file) => &file.name,
            Mount::Live(stream) => stream.path(),
        }
    }

    /// Whether both are the same run of a stream, or the same version of a file.
    pub(super) fn is_same(&self, other: &Mount) -> bool {
        match (self, other) {
            (Mount::File(file), Mount::File(other)) => file.id == other.id,
            (Mount::Live(stream), Mount::Live(other)) => stream.id == other.id,
            _ => false,
        }
    }

    /// The name of the stream's run, or of the file's version.
    pub(super) fn id(&self) -> u64 {
        match self {
            Mount::File(file) => file.id,
            Mount::Live(stream) => stream.id,
        }
    }

    pub(super) fn tracks(&self) -> &[Track] {
        match self {
            Mount::File(file) => &file.tracks,
            Mount::Live(stream) => &stream.tracks,
        }
    }

    /// The tracks that a request is offered: of a recording those that were recorded, without what is said of a playing.
    pub(super) fn tracks_for(&self, request: &Request) -> &[Track] {
        match self {
            Mount::File(file) if require::has(&request.headers, REPLAY) => file.media(),
            Mount::File(_) | Mount::Live(_) => self.tracks(),
        }
    }

    pub(super) fn clock_rate(&self, track: u8) -> u32 {
        self.tracks().get(usize::from(track)).map_or(90_000, |track| track.clock_rate)
    }

    pub(super) fn ssrc(&self, track: u8) -> u32 {
        let ssrc = match self {
            Mount::File(file) => &file.ssrc,
            Mount::Live(stream) => &stream.ssrc,
        };
        ssrc.get(usize::from(track)).copied().unwrap_or_default()
    }
}
