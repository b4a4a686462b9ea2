//! A raw client that publishes: it announces, sets up, records and sends what it is given.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::pictures::picture;
use super::viewer::{Over, port_pair};
use super::{Client, Response};

/// A description of pictures and sound whose parameter sets are known.
pub(crate) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==\r\n\
    a=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:streamid=1\r\n";

/// A raw publisher.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) url: String,
    over: Over,
    pub(crate) tracks: Vec<Track>,
}

/// A track that was set up.
pub(crate) struct Track {
    payload_type: u8,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    sockets: Option<(UdpSocket, UdpSocket)>,
    server: Option<SocketAddr>,
    channel: u8,
}

impl Publisher {
    /// Announces a description; the answer.
    pub(crate) fn announce(server: SocketAddr, url: &str, sdp: &str) -> (Client, Response) {
        let mut client = Client::connect(server);
        let response = Publisher::announce_on(&mut client, url, sdp);
        (client, response)
    }

    /// The same on a connection.
    pub(crate) fn announce_on(client: &mut Client, url: &str, sdp: &str) -> Response {
        let length = sdp.len().to_string();
        let headers = [("Content-Type", "application/sdp"), ("Content-Length", &length)];
        client.request_with_body("ANNOUNCE", url, &headers, sdp)
    }

    /// Announces [`SDP`], sets up both tracks and records.
    #[track_caller]
    pub(crate) fn start(server: SocketAddr, url: &str, over: Over) -> Publisher {
        let (client, response) = Publisher::announce(server, url, SDP);
        response.expect(200);
        let mut publisher = Publisher::of(client, url, over);
        publisher.setup(96);
        publisher.setup(8);
        publisher.client.request("RECORD", url, &[("Range", "npt=0.000-")]).expect(200);
        publisher
    }

    /// A publisher whose announcement was taken.
    pub(crate) fn of(client: Client, url: &str, over: Over) -> Publisher {
        Publisher { client, url: url.to_owned(), over, tracks: Vec::new() }
    }

    /// Sets up the next track.
    #[track_caller]
    pub(crate) fn setup(&mut self, payload_type: u8) {
        self.setup_as(payload_type, None);
    }

    /// The same over UDP without naming ports, as GStreamer's publisher does.
    #[track_caller]
    pub(crate) fn setup_on_any_port(&mut self, payload_type: u8) {
        self.setup_as(payload_type, Some("0-0"));
    }

    /// Sets up the next track under a URL that the description gave it.
    #[track_caller]
    pub(crate) fn setup_at(&mut self, payload_type: u8, url: &str) {
        self.setup_with(payload_type, url, None);
    }

    #[track_caller]
    fn setup_as(&mut self, payload_type: u8, ports: Option<&str>) {
        let url = format!("{}/streamid={}", self.url, self.tracks.len());
        self.setup_with(payload_type, &url, ports);
    }

    #[track_caller]
    fn setup_with(&mut self, payload_type: u8, url: &str, ports: Option<&str>) {
        let index = self.tracks.len() as u8;
        let channel = 2 * index;
        let (transport, sockets) = match self.over {
            Over::Tcp => {
                (format!("RTP/AVP/TCP;unicast;interleaved={channel}-{};mode=record", channel + 1), None)
            }
            Over::Udp => {
                let pair = port_pair();
                let port = pair.0.local_addr().unwrap().port();
                let named = ports.map_or(format!("{port}-{}", port + 1), str::to_owned);
                (format!("RTP/AVP/UDP;unicast;client_port={named};mode=record"), Some(pair))
            }
        };
        let answer = self.client.request("SETUP", url, &[("Transport", &transport)]).expect(200);
        self.client.session = answer.session().map(str::to_owned);
        let port = answer.transport("server_port").and_then(|ports| ports.split('-').next()?.parse().ok());
        let server = port.map(|port| SocketAddr::new(self.client.peer().ip(), port));
        let (ssrc, sequence) = (0x1000 + u32::from(index), 65_500);
        self.tracks.push(Track { payload_type, ssrc, sequence, sockets, server, channel });
    }

    /// Sends one packet of a track.
    pub(crate) fn send(&mut self, index: usize, marker: bool, timestamp: u32, payload: &[u8]) {
        let track = &mut self.tracks[index];
        let mut packet = vec![0x80, u8::from(marker) << 7 | track.payload_type];
        packet.extend(track.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(track.ssrc.to_be_bytes());
        packet.extend(payload);
        track.sequence = track.sequence.wrapping_add(1);
        self.send_raw(index, &packet);
    }

    /// Sends bytes where the packets of a track go.
    pub(crate) fn send_raw(&mut self, track: usize, packet: &[u8]) {
        let Track { sockets, server, channel, .. } = &self.tracks[track];
        match (sockets, server) {
            (Some((rtp, _)), Some(server)) => drop(rtp.send_to(packet, server)),
            _ => self.client.send(framed(*channel, packet)),
        }
    }

    /// Sends bytes where the reports of a track go.
    pub(crate) fn report(&mut self, track: usize, bytes: &[u8]) {
        let Track { sockets, server, channel, .. } = &self.tracks[track];
        match (sockets, server) {
            (Some((_, rtcp)), Some(server)) => {
                let to = SocketAddr::new(server.ip(), server.port() + 1);
                drop(rtcp.send_to(bytes, to));
            }
            _ => self.client.send(framed(channel + 1, bytes)),
        }
    }

    /// What the server has sent about a track over UDP within `patience`: its RTCP.
    pub(crate) fn heard(&self, track: usize, patience: Duration) -> Option<Vec<u8>> {
        let (_, rtcp) = self.tracks[track].sockets.as_ref()?;
        rtcp.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = vec![0; 2_000];
        let size = rtcp.recv(&mut buffer).ok()?;
        Some(buffer[..size].to_vec())
    }

    /// Sends a picture of three packets, a keyframe or one that depends on it, and the sound beside it. `index` counts
    /// pictures and is found again in every packet.
    pub(crate) fn picture(&mut self, index: u32, is_keyframe: bool) {
        let tracks = self.tracks.len();
        for part in picture(index, is_keyframe).into_iter().filter(|part| part.track < tracks) {
            self.send(part.track, part.marker, part.timestamp, &part.payload);
        }
    }

    /// The same in so many packets of that size.
    pub(crate) fn picture_of(&mut self, index: u32, is_keyframe: bool, parts: usize, bytes: usize) {
        let timestamp = 1_000u32.wrapping_add(3_600 * index);
        let kind = if is_keyframe { 0x65 } else { 0x41 };
        for part in 0..parts {
            let bits = if part == 0 { 0x80 } else { 0 } | if part == parts - 1 { 0x40 } else { 0 };
            let head = [0x60 | 28, bits | (kind & 0x1f)];
            let body = [&head[..], &index.to_be_bytes(), &vec![part as u8; bytes]].concat();
            self.send(0, part == parts - 1, timestamp, &body);
        }
        if self.tracks.len() > 1 {
            self.send(1, false, 77 + 320 * index, &[index as u8; 320]);
        }
    }
}

/// A `$` frame (RFC 2326 section 10.12).
pub(crate) fn framed(channel: u8, packet: &[u8]) -> Vec<u8> {
    let [high, low] = (packet.len() as u16).to_be_bytes();
    [&[b'$', channel, high, low], packet].concat()
}
