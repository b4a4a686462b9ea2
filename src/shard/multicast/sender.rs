//! The session that sends: a viewer like all others, whose addresses are groups.

use std::net::SocketAddr;

use proto::io::{Membership, UdpOptions};
use proto::rtsp::status::Status;
use proto::sdp::Group;
use proto::time::MediaTime;
use rand::RngExt;

use super::{Starts, TransmissionKey};
use crate::egress::track::{GroupRoute, Route, TrackOut};
use crate::shard::connection::{Mount, Refusal};
use crate::shard::datagrams::no_pair;
use crate::shard::file::{FilePlayback, Pace};
use crate::shard::live::LiveCursor;
use crate::shard::session::{Carrier, Session, SessionId, SessionKey, Source, State};
use crate::shard::turn::Shard;

impl Shard {
    /// Makes the session that sends a transmission. It does nothing yet.
    pub(super) fn make_sender(&mut self, key: TransmissionKey) -> Result<(), Refusal> {
        let absent = || Refusal::new(Status::SERVICE_UNAVAILABLE, "multicast is off");
        let settings = self.settings.clone();
        let multicast = settings.multicast.as_ref().ok_or_else(absent)?;
        let offer = self.transmissions.get(key).ok_or_else(absent)?.offer.clone();
        let options = UdpOptions {
            multicast_ttl: settings.multicast_ttl,
            ingest: false,
            patience: settings.slow_reader,
            membership: None,
        };
        let (driver, random) = (&mut *self.ports.driver, &mut self.ports.random);
        let pair = (self.udp.pair(multicast.local, &settings.udp_ports, &options, driver, random))
            .map_err(|error| no_pair(&settings.udp_ports, &error))?;
        let source = match &offer.mount {
            // A live channel: it begins again for as long as anybody listens.
            Mount::File(file) => Source::File(Box::new(FilePlayback::new(file.clone(), None))),
            Mount::Live(stream) => {
                self.live.get(stream.id).ok_or_else(ended)?;
                self.live.begin(stream.id);
                Source::Live(LiveCursor::new(stream.id, self.now))
            }
        };
        let to = |group: &Group, port| multicast.group_address(group.address, port);
        let first = offer.groups.first().map_or(multicast.local, |group| to(group, group.port));
        let id = SessionId::new(self.index, self.ports.random.random());
        let name = offer.mount.name();
        let mut session = Session::new(id, source, Carrier::Groups(key), first, self.now);
        session.url = format!("/{name}");
        name.clone_into(&mut session.path);
        for (track, group) in (0..).zip(&offer.groups) {
            let route = GroupRoute {
                rtp: pair.rtp,
                rtcp: pair.rtcp,
                rtp_to: to(group, group.port),
                rtcp_to: to(group, group.port + 1),
            };
            self.hear_group(key, track, route.rtcp_to, &options);
            let (clock_rate, ssrc) = (offer.mount.clock_rate(track), offer.mount.ssrc(track));
            let interval = self.interval();
            let out = TrackOut::new(track, clock_rate, String::new(), Route::Groups(route), ssrc, interval);
            session.tracks.push(TrackOut { enabled: false, ..out });
        }
        let sender = self.sessions.insert(session);
        if let Some(transmission) = self.transmissions.get_mut(key) {
            transmission.sender = Some(sender);
        }
        Ok(())
    }

    /// Hears what receivers report to a group. Where that cannot be, they are not heard, and sending goes on.
    fn hear_group(&mut self, key: TransmissionKey, track: u8, group: SocketAddr, options: &UdpOptions) {
        let Some(multicast) = &self.settings.multicast else { return };
        let membership = Membership { interface: Some(multicast.local.ip()), source: None };
        let options = UdpOptions { membership: Some(membership), ..options.clone() };
        match self.ports.driver.bind(group, &options) {
            Ok((socket, _)) => self.transmissions.register_socket(key, track, socket),
            Err(error) => tracing::warn!(%group, %error, "receivers of a group cannot be heard"),
        }
    }

    /// Has a sender send the tracks that anybody listens to, and nothing while nobody does. What state it is in then.
    pub(super) fn adjust_sender(&mut self, key: TransmissionKey) -> Result<State, Refusal> {
        let transmission = self.transmissions.get(key);
        let (Some(transmission), Some(sender)) = (transmission, transmission.and_then(|one| one.sender))
        else {
            return Ok(State::Ready);
        };
        let Some(session) = self.sessions.get_mut(sender) else { return Ok(State::Ready) };
        let is_playing = session.state == State::Playing;
        for track in &mut session.tracks {
            let was_enabled = track.enabled;
            track.enabled = transmission.is_heard(track.track);
            track.awaits_keyframe |= track.enabled && !was_enabled && is_playing;
        }
        let is_heard = session.tracks.iter().any(|track| track.enabled);
        match session.state {
            State::Ready if is_heard => self.start_sender(sender)?,
            State::Playing if !is_heard => self.rest(sender),
            State::Playing => {
                self.begin_tracks(sender);
                self.make_ready(sender);
            }
            State::Ready | State::Starting => {}
        }
        Ok(self.sessions[sender].state)
    }

    fn start_sender(&mut self, sender: SessionKey) -> Result<(), Refusal> {
        self.promise(sender, Pace::default())?;
        self.admit(sender, Some(MediaTime::ZERO), Pace::default())?;
        let session = &mut self.sessions[sender];
        let tracks = session.tracks.iter().filter_map(|track| Some((track.track, track.media_to()?.address)));
        let groups: Vec<_> = tracks.map(|(track, group)| format!("{track} to {group}")).collect();
        tracing::info!(path = %session.path, tracks = groups.join(", "), "multicast begins");
        match &mut session.source {
            Source::Live(cursor) => {
                let stream = self.live.get(cursor.stream).filter(|stream| stream.finished.is_none());
                // Nobody gets a past: those who listen already would get it again.
                *cursor = LiveCursor {
                    not_before: stream.ok_or_else(ended)?.window.end(),
                    ..LiveCursor::new(cursor.stream, self.now)
                };
                let stream = cursor.stream;
                // Where it begins is not known yet.
                session.tracks.iter_mut().for_each(|track| track.next_sequence = None);
                session.state = State::Playing;
                self.live.join(stream, sender);
                self.begin_tracks(sender);
                self.make_ready(sender);
            }
            Source::File(file) => {
                file.jump(None, None);
                self.seek(sender, MediaTime::ZERO, Pace::default());
            }
            Source::Replay(_) | Source::Ingest(_) | Source::Member(_) => {}
        }
        Ok(())
    }

    /// Sends no more until somebody listens again.
    fn rest(&mut self, sender: SessionKey) {
        self.finish_batch(sender);
        let session = &mut self.sessions[sender];
        session.rest();
        match &mut session.source {
            Source::Live(cursor) => self.live.leave(cursor.stream, sender),
            Source::File(file) => drop(file.pause(self.now)),
            Source::Replay(_) | Source::Ingest(_) | Source::Member(_) => {}
        }
    }

    /// What comes next of each track that is sent.
    pub(super) fn starts(&mut self, key: TransmissionKey) -> Starts {
        let sender = self.transmissions.get(key).and_then(|transmission| transmission.sender);
        let Some(session) = sender.and_then(|sender| self.sessions.get_mut(sender)) else {
            return Starts::new();
        };
        match &session.source {
            Source::File(file) => {
                let content = file.reached(self.now);
                let start = |track: &mut TrackOut| {
                    // What is told here holds, wherever in the segment the track begins.
                    track.next_sequence = track.next_sequence.or_else(|| file.first_sequence(track.track));
                    (
                        track.track,
                        track.next_sequence.map(|seq| (seq, file.rtp_timestamp(track.track, content))),
                    )
                };
                session.tracks.iter_mut().map(start).collect()
            }
            Source::Live(cursor) => {
                let Some(stream) = self.live.get(cursor.stream) else { return Starts::new() };
                // All tracks tell their timestamp of one moment, which none of them has passed.
                let begun = || session.tracks.iter().filter(|track| track.next_sequence.is_some());
                let moment = begun().map(|track| stream.clocks[usize::from(track.track)].1).min();
                let start = |track: &TrackOut| {
                    let (known, content) = stream.clocks[usize::from(track.track)];
                    let ahead = MediaTime(moment?.0 - content.0).to_ticks(track.clock_rate) as u32;
                    Some((track.next_sequence?, known.wrapping_add(ahead)))
                };
                session.tracks.iter().map(|track| (track.track, start(track))).collect()
            }
            Source::Replay(_) | Source::Ingest(_) | Source::Member(_) => Starts::new(),
        }
    }
}

fn ended() -> Refusal {
    Refusal::new(Status::SERVICE_UNAVAILABLE, "the stream has ended")
}
