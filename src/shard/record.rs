//! RECORD (RFC 2326 section 10.11), and the SETUP of what a client is going to send.

use proto::io::{Conn, UdpOptions};
use proto::rtsp::headers::transport::{Delivery, Lower, Mode, Pair, Transport};
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::{Target, percent_decode};
use rand::RngExt;
use smallvec::SmallVec;
use std::net::SocketAddr;

use super::announce::{Announced, ClaimState};
use super::connection::Refusal;
use super::inflow::{Inflow, TrackIn, WayIn};
use super::ingest::{Arriving, Ingest, Sender};
use super::request::Outcome;
use super::session::{Carrier, SessionId, SessionKey, Source, State};
use super::turn::Shard;

/// Where one track of a publisher or talker will come in.
pub(super) struct Granted {
    pub way: WayIn,
    pub carrier: Carrier,
    pub transport: Transport,
}

impl Shard {
    /// Whether a SETUP is about what the connection has announced and does not send yet.
    pub(super) fn is_announced(&mut self, conn: Conn, target: &Target, session: Option<SessionKey>) -> bool {
        if let Some(session) = session.and_then(|key| self.sessions.get(key)) {
            return matches!(session.source, Source::Ingest(_));
        }
        let announced = self.connections.get(conn).and_then(|connection| connection.announced.as_deref());
        let Some(Announced { path, claim: ClaimState::Granted(grant), .. }) = announced else { return false };
        let asked = percent_decode(target.path.trim_matches('/')).unwrap_or_default();
        let is_inside =
            asked.strip_prefix(&**path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let publication = self.publications.get_mut(grant.tenure);
        is_inside && publication.is_some_and(|publication| publication.is_announced_by(conn))
    }

    /// Answers SETUP of a track that the client is going to send.
    pub(super) fn set_up_recording(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Outcome {
        match self.add_track_in(conn, request, target, session) {
            Ok(response) => Outcome::Reply(response),
            Err(refusal) => refusal.into(),
        }
    }

    /// Answers RECORD: media may come.
    pub(super) fn record(&mut self, conn: Conn, target: &Target, session: Option<SessionKey>) -> Outcome {
        let Some(key) = session else {
            return Refusal::new(
                Status::SESSION_NOT_FOUND,
                "RECORD needs a session: ANNOUNCE and SETUP first",
            )
            .into();
        };
        let session = &self.sessions[key];
        let Source::Ingest(ingest) = &session.source else {
            let reason = "the session was set up to play";
            return Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason).into();
        };
        if !session.is_meant_by(target) {
            return Refusal::new(Status::NOT_FOUND, "the session is of another URL").into();
        }
        let (tenure, count) = (ingest.tenure, ingest.inflow.tracks.len());
        let Some(publication) = self.publications.get_mut(tenure) else {
            return Refusal::new(Status::FORBIDDEN, "another publisher has taken the path over").into();
        };
        if count < publication.tracks.len() {
            return Refusal::new(Status::BAD_REQUEST, "a track that was announced is not set up").into();
        }
        if publication.offer.relay().is_none() {
            // It is on its way from the shard of the publisher before; media would find nothing to go to.
            return Outcome::Wait;
        }
        if !publication.is_recorded_by(key) {
            tracing::info!(session = %session.id, path = %publication.offer.path, "publishing begins");
        }
        publication.record(key);
        publication.pulse.beat(self.now);
        let response = Response::new(Status::OK).header("Session", session.id.to_string());
        publication.serve_waiting();
        let session = &mut self.sessions[key];
        session.state = State::Playing;
        session.conn = Some(conn);
        Outcome::Reply(response)
    }

    fn add_track_in(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Result<Response, Refusal> {
        if session.is_some_and(|key| self.sessions[key].state != State::Ready) {
            let reason = "the session is recording: PAUSE or TEARDOWN first";
            return Err(Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason));
        }
        let (track, tenure, clock_rate) = self.announced_track(conn, request, session)?;
        let granted = self.way_in(conn, request, session, Mode::Record)?;
        let key = match session {
            Some(key) => key,
            None => match self.begin_ingest(conn, target, tenure, granted.carrier) {
                Ok(key) => key,
                Err(refusal) => {
                    self.release_way_in(&granted.way);
                    return Err(refusal);
                }
            },
        };
        if let WayIn::Datagrams { pair, .. } = &granted.way {
            let sender = Sender::Session(key);
            self.udp.register_sender(pair, Arriving { sender, track, is_media: true });
        }
        let interval = self.interval();
        let reporter = self.ports.random.random();
        let session = &mut self.sessions[key];
        let Source::Ingest(ingest) = &mut session.source else {
            return Err(Refusal::new(Status::INTERNAL_SERVER_ERROR, ""));
        };
        ingest.inflow.tracks.push(TrackIn::new(track, clock_rate, granted.way, reporter, interval));
        let id = self.session_header(key);
        Ok(Response::new(Status::OK).header("Session", id).header("Transport", granted.transport.to_string()))
    }

    /// Which track a SETUP names: by the URL that the description gave it; the next one when it names all of them.
    fn announced_track(
        &self,
        conn: Conn,
        request: &Request,
        session: Option<SessionKey>,
    ) -> Result<(u8, u64, u32), Refusal> {
        let announced = self.connections.get(conn).and_then(|connection| connection.announced.as_deref());
        let Some(Announced { url: base, tracks, controls, claim: ClaimState::Granted(grant), .. }) =
            announced
        else {
            return Err(Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, "ANNOUNCE first"));
        };
        let set_up: SmallVec<[u8; 4]> = match session.map(|key| &self.sessions[key].source) {
            Some(Source::Ingest(ingest)) => ingest.inflow.tracks.iter().map(|track| track.track).collect(),
            _ => SmallVec::new(),
        };
        let is_free = |index: &usize| !set_up.contains(&(*index as u8));
        let uri = request.uri.trim_end_matches('/');
        let last = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
        let named = controls.iter().position(|control| control.trim_end_matches('/') == uri);
        // Some publishers join base and control in a way of their own.
        let named = named.or_else(|| controls.iter().position(|control| last(control) == last(uri)));
        let means_any = uri == base.trim_end_matches('/');
        let index = match named {
            Some(index) if !is_free(&index) => {
                return Err(Refusal::new(Status::BAD_REQUEST, "the track is set up already"));
            }
            Some(index) => index,
            None => (0..tracks.len())
                .find(|index| means_any && is_free(index))
                .ok_or_else(|| Refusal::new(Status::NOT_FOUND, "no such track was announced"))?,
        };
        Ok((index as u8, grant.tenure, tracks[index].clock_rate))
    }

    /// Picks the first offer that can be met. With [`Mode::Play`] it is the one track of a viewer that comes in.
    pub(super) fn way_in(
        &mut self,
        conn: Conn,
        request: &Request,
        session: Option<SessionKey>,
        mode: Mode,
    ) -> Result<Granted, Refusal> {
        let carrier = session.map(|key| self.sessions[key].carrier);
        let is_forwarded = self.is_forwarded(conn);
        let is_tunnel = self.connections.get(conn).is_some_and(|connection| connection.door.is_tunnel());
        for offer in Transport::parse_list(&request.headers) {
            let is_possible = !offer.profile.is_secure()
                && offer.mode.is_none_or(|asked| asked == mode)
                && offer.effective_delivery() == Delivery::Unicast;
            let is_possible = is_possible && !(is_tunnel && offer.lower == Lower::Udp);
            let offered = match offer.lower {
                Lower::Tcp => Carrier::Interleaved,
                Lower::Udp => Carrier::Unicast,
            };
            // Datagrams do not pass the proxy.
            let is_possible = is_possible && !(is_forwarded && offered == Carrier::Unicast);
            if !is_possible || carrier.is_some_and(|carrier| carrier != offered) {
                continue;
            }
            return match offer.lower {
                Lower::Tcp => Ok(self.channels_in(conn, &offer, said(mode))),
                Lower::Udp => self.ports_in(conn, &offer, said(mode)),
            };
        }
        let reason = "RTP/AVP unicast over UDP or TCP with mode=record is offered";
        Err(Refusal::new(Status::UNSUPPORTED_TRANSPORT, reason))
    }

    fn channels_in(&self, conn: Conn, offer: &Transport, mode: Option<Mode>) -> Granted {
        let (rtp, rtcp) = self.channels(conn, offer.interleaved);
        let transport = Transport {
            delivery: Some(Delivery::Unicast),
            interleaved: Some(Pair::new(rtp, rtcp)),
            lower: Lower::Tcp,
            mode,
            ..Transport::default()
        };
        Granted { way: WayIn::Interleaved { rtp, rtcp }, carrier: Carrier::Interleaved, transport }
    }

    fn ports_in(&mut self, conn: Conn, offer: &Transport, mode: Option<Mode>) -> Result<Granted, Refusal> {
        let Some(connection) = self.connections.get(conn) else {
            return Err(Refusal::new(Status::INTERNAL_SERVER_ERROR, ""));
        };
        let (peer, local) = (connection.peer, connection.local);
        let options = UdpOptions { ingest: true, ..UdpOptions::default() };
        let range = &self.settings.udp_ports;
        let (driver, random) = (&mut *self.ports.driver, &mut self.ports.random);
        let pair = super::datagrams::free_pair(local, range, &options, driver, random)
            .map_err(|error| super::datagrams::no_pair(range, &error))?;
        // Some publishers name port 0 and mean that it is to be learned from their packets.
        let named = offer.client_port.and_then(|ports| ports.rtcp).filter(|port| *port != 0);
        let reports_to = named.map(|port| SocketAddr::new(peer.ip(), port));
        let transport = Transport {
            delivery: Some(Delivery::Unicast),
            client_port: offer.client_port,
            server_port: Some(Pair::new(pair.port, pair.port + 1)),
            mode,
            ..Transport::default()
        };
        let sender = Some(peer.ip());
        let way = WayIn::Datagrams { pair, sender, media_from: None, reports_to };
        Ok(Granted { way, carrier: Carrier::Unicast, transport })
    }

    fn begin_ingest(
        &mut self,
        conn: Conn,
        target: &Target,
        tenure: u64,
        carrier: Carrier,
    ) -> Result<SessionKey, Refusal> {
        let peer = self.may_begin_session(conn)?;
        let source = Source::Ingest(Box::new(Ingest { tenure, inflow: Inflow::default() }));
        let id = SessionId::new(self.index, self.ports.random.random());
        let key = self.insert_session(conn, id, peer, target, source, carrier);
        let announced = self.connections.get_mut(conn).and_then(|connection| connection.announced.as_mut());
        if let Some(announced) = announced {
            self.sessions[key].url.clone_from(&announced.url);
            self.sessions[key].admission = announced.admission.take();
        }
        if let Some(publication) = self.publications.get_mut(tenure) {
            publication.begin(key);
        }
        Ok(key)
    }
}

/// What a grant says of the mode: nothing where it is the usual one.
fn said(mode: Mode) -> Option<Mode> {
    (mode != Mode::Play).then_some(mode)
}
