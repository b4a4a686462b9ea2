//! What players do that they should not: leaving without a word, garbage, requests out of order.

use bytes::{BufMut, Bytes, BytesMut};

use super::dialogue::Ask;
use super::faults::Kind;
use super::habits::Habit;
use super::player::{MS, Player, World};
use super::session::{Over, Route};

impl Player {
    /// Leaves without a word: nothing is read or written any more. Where only the program is gone, its host answers
    /// datagrams with "port unreachable"; sockets that are not connected, as the server's are, do not hear of it.
    pub(super) fn vanish(&mut self, world: &World<'_>) {
        self.fired(Kind::PlayerVanished);
        if self.random.chance(0.7) {
            for address in &self.addresses {
                world.net.unbind(*address);
            }
        }
        if let Some(line) = self.line.take() {
            self.lines[line].is_left = true;
            for session in self.sessions.iter_mut().filter(|session| session.line == line) {
                session.is_calm &= session.over == Over::Udp;
            }
        }
        self.current = None;
    }

    pub(super) fn hang_up(&mut self, world: &World<'_>, is_reset: bool) {
        let Some(line) = self.line else { return };
        self.fired(if is_reset { Kind::PlayerReset } else { Kind::PlayerFinished });
        let line = &mut self.lines[line];
        line.is_faulty = true;
        if is_reset {
            world.net.reset(line.wire);
        } else {
            world.net.finish(line.wire);
        }
        for session in &mut self.sessions {
            session.may_end |= session.over == Over::Tcp && Some(session.line) == self.line;
        }
        self.lose_line();
    }

    pub(super) fn misbehave(&mut self, world: &World<'_>, line: usize, habit: Habit) {
        let wire = self.lines[line].wire;
        match habit {
            Habit::Stalls => {
                self.fired(Kind::PlayerStalled);
                self.reads_at = world.now + self.random.time(&(MS(800)..MS(8_000)));
            }
            Habit::Slow => {
                self.fired(Kind::PlayerSlow);
                self.reads_at = world.now + MS(100);
                self.go_on(world, line);
            }
            Habit::Finishes => self.hang_up(world, false),
            Habit::Resets => self.hang_up(world, true),
            Habit::Vanishes => self.vanish(world),
            Habit::SendsGarbage => self.send_garbage(world, line),
            Habit::SendsHalves => {
                self.fired(Kind::RequestHalf);
                let mut bytes = self.request(world, line, Ask::Options, None);
                let half = self.random.within(1..bytes.len());
                bytes.truncate(half);
                world.net.write(wire, bytes);
                self.lines[line].asked.pop_back();
                if self.random.chance(0.5) {
                    self.hang_up(world, false);
                } else {
                    self.vanish(world);
                }
            }
            Habit::SendsRtcpGarbage => self.send_rtcp_garbage(world, line),
            Habit::Pipelines => self.pipeline(world, line),
            Habit::AsksWrongly => self.ask_wrongly(world, line),
            Habit::Hops => {
                let is_udp = self.current.is_some_and(|place| self.sessions[place].over == Over::Udp);
                if is_udp {
                    self.fired(Kind::SessionContinuedElsewhere);
                    if self.random.chance(0.5) {
                        world.net.finish(wire);
                        self.lines[line].is_faulty = true;
                    }
                    self.line = None;
                } else {
                    self.go_on(world, line);
                }
            }
            Habit::Silent | Habit::Translated | Habit::SplitsRequests => self.go_on(world, line),
        }
    }

    pub(super) fn send_garbage(&mut self, world: &World<'_>, line: usize) {
        self.fired(Kind::GarbageSent);
        let wire = self.lines[line].wire;
        let garbage = match self.random.below(5) {
            0 => Bytes::from_static(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
            1 => Bytes::from_static(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            2 => Bytes::from(format!("OPTIONS {} RTSP/1.0\r\nCSeq: 1\r\n\r\n", "x".repeat(9_000))),
            3 => Bytes::from_static(b"DESCRIBE x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\n"),
            _ => super::content::noise(self.random.within(1..3_000)),
        };
        let session = self.current;
        self.lines[line].is_faulty = true;
        for session in &mut self.sessions {
            session.may_end |= session.over == Over::Tcp && session.line == line;
        }
        world.net.write(wire, garbage);
        if self.random.chance(0.7) {
            self.hang_up(world, false);
        } else if let Some(place) = session {
            self.sessions[place].signs = world.now;
            self.vanish(world);
        }
    }

    pub(super) fn send_rtcp_garbage(&mut self, world: &World<'_>, line: usize) {
        self.fired(Kind::RtcpGarbageSent);
        let Some(place) = self.current else { return };
        let size = self.random.within(1..200);
        let mut bytes = BytesMut::from(&super::content::noise(size)[..]);
        if self.random.chance(0.5) {
            bytes[0] = 0x81;
            if bytes.len() > 1 {
                bytes[1] = 201;
            }
        }
        self.show_life(world, place);
        let session = &self.sessions[place];
        let Some((_, route)) = session.tracks.first() else { return };
        match route {
            Route::Channels(rtp, rtcp) => {
                let channel = *self.random.pick(&[*rtp, *rtcp, 200]);
                let mut frame = BytesMut::from(&[b'$', channel][..]);
                frame.put_u16(bytes.len() as u16);
                frame.extend_from_slice(&bytes);
                world.net.write(self.lines[line].wire, frame.freeze());
            }
            Route::Ports(ports) => {
                let from = ports.translated_rtcp.unwrap_or(ports.rtcp);
                world.net.send_to(from, ports.server_rtcp, bytes.freeze());
            }
        }
    }

    pub(super) fn pipeline(&mut self, world: &World<'_>, line: usize) {
        self.fired(Kind::RequestsPipelined);
        let mut bytes = BytesMut::new();
        let asks = match self.current {
            None => vec![Ask::Options, Ask::Describe(self.name.clone()), Ask::Describe("missing".into())],
            // Datagrams do not wait for replies: between two PLAYs nobody could tell whose they are.
            Some(place) if self.sessions[place].over == Over::Udp => vec![
                Ask::Parameter(None),
                Ask::Pause(None),
                Ask::Play(self.playing(world, place)),
                Ask::Parameter(Some(false)),
            ],
            Some(place) => vec![
                Ask::Parameter(None),
                Ask::Play(self.playing(world, place)),
                Ask::Parameter(Some(false)),
                Ask::Pause(None),
                Ask::Play(self.playing(world, place)),
                Ask::Options,
            ],
        };
        for ask in asks {
            bytes.extend_from_slice(&self.request(world, line, ask, self.current));
        }
        world.net.write(self.lines[line].wire, bytes.freeze());
    }

    pub(super) fn ask_wrongly(&mut self, world: &World<'_>, line: usize) {
        self.fired(Kind::RequestRefused);
        let status = *self.random.pick(&[404, 451, 454, 459, 461, 501, 505, 551, 400]);
        if status == 459 && world.rules.content(&self.name).is_none_or(|content| content.track_count() < 2) {
            return;
        }
        self.ask(world, line, Ask::Wrong(status), None);
    }
}

/// A request that must be refused with a status.
pub fn wrong(status: u16, base: String) -> (&'static str, String, Vec<(String, String)>) {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let track = format!("{base}/trackID=0");
    match status {
        400 => ("SETUP", track, Vec::new()),
        404 => ("DESCRIBE", "rtsp://192.0.2.1/missing".to_owned(), Vec::new()),
        451 => ("SET_PARAMETER", base, Vec::new()),
        454 => ("PLAY", base, header("Session", "00ABCDEF12345678")),
        459 => ("SETUP", base, header("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")),
        461 => ("SETUP", track, header("Transport", "RAW/RAW/UDP;unicast;client_port=5000-5001")),
        551 => ("OPTIONS", base, header("Require", "com.example.magic")),
        _ => ("JUGGLE", base, Vec::new()),
    }
}
