//! RTCP of viewers: our sender reports to them, their receiver reports to us (RFC 3550 section 6).

use bytes::{BufMut, Bytes};
use proto::io::Op;
use proto::rtcp::interval::Members;
use proto::rtcp::parse::{Compound, Packet};
use proto::rtcp::report::SenderInfo;
use proto::rtcp::{is_rtcp, write};
use proto::rtp::batch::interleaved_head;
use proto::time::{MediaTime, NtpTime};
use rand::RngExt;

use super::session::{Carrier, Session, SessionKey, Source};
use super::turn::Shard;
use crate::egress::track::{Route, TrackOut};

/// Our canonical name in source descriptions: the same for all tracks, so that players align them.
pub(super) const CNAME: &str = "ringcaster";

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Where the clocks stand.
    Report,
    /// That this was the last of the source.
    Bye,
}

impl Shard {
    /// Sends the sender reports that are due: the first at once, later ones by the RFC's interval.
    pub(super) fn send_due_reports(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        for slot in 0..session.tracks.len() {
            let track = &self.sessions[key].tracks[slot];
            // Before the first packet there is nothing that a report could be about.
            if track.report_at.is_some_and(|at| at <= self.now) && track.sent.packets > 0 {
                let random = self.ports.random.random();
                let members = match self.sessions[key].carrier {
                    Carrier::Groups(transmission) => self.members_of(transmission),
                    _ => Members::UNICAST,
                };
                let track = &mut self.sessions[key].tracks[slot];
                track.report_at = Some(self.now + track.interval.next(members, random));
                self.send_report(key, slot, Kind::Report);
            }
        }
    }

    /// Says goodbye for every track that has flowed.
    pub(super) fn send_bye(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        for slot in 0..session.tracks.len() {
            // A track that was silent so far ends as well: players wait for the end of each.
            let track = &self.sessions[key].tracks[slot];
            if track.sent.packets > 0 || track.report_at.is_some() {
                self.send_report(key, slot, Kind::Bye);
            }
        }
        if let Some(conn) = self.sessions.get(key).and_then(|session| session.conn) {
            self.flush_between_media(conn);
        }
    }

    /// Takes a compound packet from a viewer.
    pub(super) fn handle_report(&mut self, key: SessionKey, track: u8, bytes: &[u8]) {
        let wall = self.ports.driver.wall();
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.seen = self.now;
        let protection = session.tracks.iter_mut().find(|out| out.track == track);
        let plain = protection.and_then(|out| out.protection.as_mut()).map(|it| it.open_rtcp(bytes));
        let bytes = match &plain {
            Some(Ok(plain)) => plain,
            Some(Err(_)) => {
                session.numbers.malformed += u64::from(is_rtcp(bytes));
                return;
            }
            None => bytes,
        };
        let Ok(compound) = Compound::parse(bytes) else {
            // Players open their routers with RTP of no meaning; that is no report, and no fault.
            session.numbers.malformed += u64::from(is_rtcp(bytes));
            return;
        };
        let Some(out) = session.tracks.iter_mut().find(|out| out.track == track) else { return };
        let mut needs_keyframe = false;
        let before = out.heard.lost;
        for packet in compound.iter() {
            let (Packet::ReceiverReport { blocks, .. } | Packet::SenderReport { blocks, .. }) = packet else {
                needs_keyframe |= asks_keyframe(&packet, out.numbering.ssrc);
                continue;
            };
            for block in blocks.iter().filter(|block| block.ssrc == out.numbering.ssrc) {
                out.heard.handle_report(&block, wall);
                // Media arrives where it is sent: its address does not move any more.
                if let Route::Unicast(unicast) = &mut out.route {
                    unicast.movable = false;
                }
            }
        }
        // What is lost beyond what was: packets that come twice are counted against it (RFC 3550 section 6.4.1).
        self.counted.packets_lost +=
            u64::from(out.heard.lost.max(0).saturating_sub(before.max(0)).max(0) as u32);
        if needs_keyframe && let Source::Live(cursor) = &session.source {
            let stream = cursor.stream;
            self.ask_keyframe(stream);
        }
    }

    /// Takes a `$` frame from a client: of a viewer reports on the second channel of a track, and what it says.
    pub(super) fn handle_interleaved(&mut self, conn: proto::io::Conn, channel: u8, payload: &Bytes) {
        let Some(connection) = self.connections.get(conn) else { return };
        for key in connection.sessions.clone() {
            let Some(session) = self.sessions.get(key) else { continue };
            if let Source::Ingest(ingest) = &session.source
                && let Some((track, is_media)) = ingest.inflow.on_channel(channel)
            {
                return self.handle_published(key, track, is_media, payload);
            }
            if let Some(is_sound) = session.talk.as_ref().and_then(|talk| talk.on_channel(channel)) {
                return self.handle_talk(key, is_sound, payload);
            }
            let track = session.tracks.iter().find_map(|track| match track.route {
                Route::Interleaved { rtcp, .. } if rtcp == channel => Some(track.track),
                _ => None,
            });
            if let Some(track) = track {
                self.handle_report(key, track, payload);
                return;
            }
        }
    }

    fn send_report(&mut self, key: SessionKey, slot: usize, kind: Kind) {
        let wall = self.ports.driver.wall();
        let session = &self.sessions[key];
        let track = &session.tracks[slot];
        let Some((ntp, rtp)) = self.clocks_at(session, track, wall) else { return };
        let info = SenderInfo {
            ssrc: track.numbering.ssrc,
            ntp,
            rtp,
            packets: track.sent.packets,
            octets: track.sent.octets,
        };
        let compose = |out: &mut bytes::BytesMut| {
            let start = out.len();
            match kind {
                Kind::Report => write::sender_report(out, &info, CNAME),
                Kind::Bye => write::bye(out, &info, CNAME, ""),
            }
            if let Some(protection) = &track.protection {
                protection.protector.borrow_mut().protect_rtcp(out, start);
            }
        };
        match &track.route {
            Route::Interleaved { rtcp, .. } => {
                let body = self.heads.own(compose);
                let bytes = self.heads.own(|out| {
                    out.put_slice(&interleaved_head(*rtcp, body.len() as u16));
                    out.put_slice(&body);
                });
                if let Some(connection) = session.conn.and_then(|conn| self.connections.get_mut(conn))
                    && !connection.is_clogged()
                {
                    connection.push(bytes);
                    let conn = connection.conn;
                    if !connection.is_sending {
                        self.flush(conn);
                    }
                }
            }
            Route::Unicast(_) | Route::Groups(_) | Route::Elsewhere => {
                let Some(to) = track.reports_to() else { return };
                let bytes = self.heads.own(compose);
                self.ports.driver.submit(Op::datagram(to.udp, to.address, bytes));
            }
        }
    }

    /// What is told of the present moment: the time of day, and the viewer's RTP timestamp.
    fn clocks_at(&self, session: &Session, track: &TrackOut, wall: NtpTime) -> Option<(NtpTime, u32)> {
        let rtp = match &session.source {
            Source::File(file) => Some(file.rtp_timestamp(track.track, file.content_at(self.now))),
            // Where the viewer sets the pace there is no such moment (ONVIF streaming specification section 6.11).
            Source::Replay(replay) if replay.is_unpaced() => return Some((NtpTime(0), 0)),
            Source::Replay(replay) => Some(replay.rtp_timestamp(track.track, replay.content_at(self.now))),
            Source::Live(cursor) => {
                let stream = self.live.get(cursor.stream)?;
                let index = usize::from(track.track);
                let (known, content) = stream.clocks[index];
                let elapsed = wall.since(stream.description.origin).0 - content.0;
                let ticks = MediaTime(elapsed).to_ticks(stream.description.tracks[index].clock_rate);
                Some(known.wrapping_add(ticks as u32))
            }
            Source::Ingest(_) | Source::Member(_) => None,
        };
        rtp.map(|rtp| (wall, rtp))
    }
}

/// Whether a viewer's decoder has lost its picture (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1).
fn asks_keyframe(packet: &Packet<'_>, ssrc: u32) -> bool {
    match packet {
        Packet::PictureLossIndication { media, .. } => *media == ssrc,
        Packet::FullIntraRequest { entries, .. } => entries.iter().any(|(media, _)| media == ssrc),
        _ => false,
    }
}
