//! A raw client that publishes: it announces, sets up, records and sends what it is given.

use std::net::{SocketAddr, UdpSocket};

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
    ssrc: u32,
    sequence: u16,
    sockets: Option<(UdpSocket, UdpSocket)>,
    server: Option<SocketAddr>,
    channel: u8,
}

impl Publisher {
    /// Announces a description; the answer.
    pub(crate) fn announce(server: SocketAddr, url: &str, sdp: &str) -> (Client, Response) {
        let mut client = Client::connect(server);
        let length = sdp.len().to_string();
        let headers = [("Content-Type", "application/sdp"), ("Content-Length", &length)];
        let response = client.request_with_body("ANNOUNCE", url, &headers, sdp);
        (client, response)
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

    #[track_caller]
    fn setup_as(&mut self, payload_type: u8, ports: Option<&str>) {
        let index = self.tracks.len() as u8;
        let (channel, url) = (2 * index, format!("{}/streamid={index}", self.url));
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
        let answer = self.client.request("SETUP", &url, &[("Transport", &transport)]).expect(200);
        self.client.session = answer.session().map(str::to_owned);
        let port = answer.transport("server_port").and_then(|ports| ports.split('-').next()?.parse().ok());
        let server = port.map(|port| SocketAddr::new(self.client.peer().ip(), port));
        let (ssrc, sequence) = (0x1000 + u32::from(index), 65_500);
        self.tracks.push(Track { payload_type, ssrc, sequence, sockets, server, channel });
    }

    /// Sends one packet of a track.
    pub(crate) fn send(&mut self, track: usize, marker: bool, timestamp: u32, payload: &[u8]) {
        let track = &mut self.tracks[track];
        let mut packet = vec![0x80, u8::from(marker) << 7 | track.payload_type];
        packet.extend(track.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(track.ssrc.to_be_bytes());
        packet.extend(payload);
        track.sequence = track.sequence.wrapping_add(1);
        match (&track.sockets, track.server) {
            (Some((rtp, _)), Some(server)) => {
                rtp.send_to(&packet, server).unwrap();
            }
            _ => {
                let [high, low] = (packet.len() as u16).to_be_bytes();
                self.client.send([&[b'$', track.channel, high, low], &packet[..]].concat());
            }
        }
    }

    /// Sends a picture of three packets, a keyframe or one that depends on it, and the sound beside it. `index` counts
    /// pictures and is found again in every packet.
    pub(crate) fn picture(&mut self, index: u32, is_keyframe: bool) {
        for part in picture(index, is_keyframe) {
            self.send(part.track, part.marker, part.timestamp, &part.payload);
        }
    }
}
