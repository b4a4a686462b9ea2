//! A raw sender for the ports of a pusher: RTP over UDP, or over TCP behind heads of 4 bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    /// Lengths in network order.
    Tcp,
    /// Lengths as a processor of the other order has them.
    TcpSwapped,
}

/// All of them.
pub(crate) const WAYS: [Way; 3] = [Way::Udp, Way::Tcp, Way::TcpSwapped];

/// A raw sender of pictures and sound.
pub(crate) struct Pusher {
    pub(crate) tracks: Vec<Track>,
    way: Way,
}

/// One track, which has a port of its own.
pub(crate) struct Track {
    pub(crate) payload_type: u8,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    link: Link,
}

enum Link {
    Datagrams(UdpSocket),
    Connection(TcpStream),
}

impl Pusher {
    /// A sender to the ports of loopback, the first for pictures.
    pub(crate) fn connect(way: Way, ports: &[u16]) -> Pusher {
        let tracks = ports.iter().zip([(33, 0x2000), (0, 0x2001)]);
        let tracks = tracks.map(|(port, (payload_type, ssrc))| Track {
            payload_type,
            ssrc,
            sequence: 65_500,
            link: Link::to((Ipv4Addr::LOCALHOST, *port).into(), way),
        });
        Pusher { tracks: tracks.collect(), way }
    }

    /// Sends one packet of a track.
    pub(crate) fn send(&mut self, track: usize, marker: bool, timestamp: u32, payload: &[u8]) {
        let packet = self.tracks[track].packet(marker, timestamp, payload);
        let bytes = self.framed(&packet);
        self.tracks[track].write(&bytes);
    }

    /// Sends one packet in writes of one byte.
    pub(crate) fn trickle(&mut self, track: usize, marker: bool, timestamp: u32, payload: &[u8]) {
        let packet = self.tracks[track].packet(marker, timestamp, payload);
        for byte in self.framed(&packet) {
            self.tracks[track].write(&[byte]);
        }
    }

    /// Sends a whole packet that was made elsewhere.
    pub(crate) fn forward(&mut self, track: usize, packet: &[u8]) {
        let bytes = self.framed(packet);
        self.tracks[track].write(&bytes);
    }

    /// The three packets of a picture, a keyframe with its parameter sets or one that depends on it. `index` counts
    /// pictures and is found again in every packet.
    pub(crate) fn picture(&mut self, index: u32, is_keyframe: bool) {
        let timestamp = 1_000u32.wrapping_add(3_600 * index);
        if is_keyframe {
            for set in [&[0x67, 0x42, 0, 0x29, 0xe2, 0x90][..], &[0x68, 0xce, 0x3c, 0x80]] {
                self.send(0, false, timestamp, set);
            }
        }
        let kind = if is_keyframe { 5 } else { 1 };
        for (part, bits) in [0x80, 0, 0x40].into_iter().enumerate() {
            let body = [&[0x60 | 28, bits | kind][..], &index.to_be_bytes(), &vec![part as u8; 700]].concat();
            self.send(0, part == 2, timestamp, &body);
        }
        if self.tracks.len() > 1 {
            self.send(1, false, 77 + 320 * index, &[index as u8; 320]);
        }
    }

    /// The packet as it goes.
    fn framed(&self, packet: &[u8]) -> Vec<u8> {
        let size = packet.len() as u16;
        let size = match self.way {
            Way::Udp => return packet.to_vec(),
            Way::Tcp => size.to_be_bytes(),
            Way::TcpSwapped => size.to_le_bytes(),
        };
        [&[0x24, 0], &size[..], packet].concat()
    }
}

impl Track {
    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match &mut self.link {
            // Nobody may be there: the system says so at the next datagram.
            Link::Datagrams(socket) => drop(socket.send(bytes)),
            Link::Connection(stream) => stream.write_all(bytes).expect("the server reads"),
        }
    }

    /// Whether the server has closed the connection within `patience`.
    pub(crate) fn is_closed_within(&mut self, patience: Duration) -> bool {
        let Link::Connection(stream) = &mut self.link else { return false };
        stream.set_read_timeout(Some(patience)).unwrap();
        match stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    fn packet(&mut self, marker: bool, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, u8::from(marker) << 7 | self.payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}

impl Link {
    fn to(address: SocketAddr, way: Way) -> Link {
        if way == Way::Udp {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(address).unwrap();
            return Link::Datagrams(socket);
        }
        let stream = TcpStream::connect(address).expect("the server accepts senders");
        stream.set_nodelay(true).unwrap();
        Link::Connection(stream)
    }
}
