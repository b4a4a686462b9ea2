//! What a scripted camera sends, and how.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use super::camera::Script;
use crate::client::pictures::picture;

/// What a track of a camera carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Pictures as H264.
    Pictures,
    /// Sound as PCMA.
    Sound,
    /// XML documents with the number of the picture.
    Metadata,
}

/// A packet before it is numbered.
pub(crate) struct Packet {
    payload_type: u8,
    marker: bool,
    timestamp: u32,
    payload: Vec<u8>,
}

/// A track that is set up.
pub(crate) struct Track {
    pub(crate) way: Way,
    /// Number of the next packet; it wraps soon.
    pub(crate) sequence: u16,
}

/// How the packets of a track leave.
pub(crate) enum Way {
    /// On the connection.
    Interleaved { channel: u8 },
    /// As datagrams; the second socket keeps the port of reports.
    Datagrams { rtp: UdpSocket, _rtcp: UdpSocket, to: SocketAddr },
}

/// A sequence parameter set and a picture parameter set, others than those of the usual description.
pub(crate) const PARAMETER_SETS: [&[u8]; 2] = [&[0x67, 0x42, 0, 0x29, 0xe2], &[0x68, 0xce, 0x3c, 0x80]];

/// The packets of one picture and of what is beside it, each with the index of its track.
pub(crate) fn packets(script: &Script, number: u32, is_keyframe: bool) -> Vec<(usize, Packet)> {
    let parts = picture(number, is_keyframe);
    let mut packets = Vec::new();
    for (track, &(kind, payload_type)) in script.tracks.iter().enumerate() {
        let mut push = |marker, timestamp: u32, payload: Vec<u8>| {
            let timestamp = timestamp.wrapping_add(script.clock);
            packets.push((track, Packet { payload_type, marker, timestamp, payload }));
        };
        match kind {
            Kind::Metadata => push(true, parts[0].timestamp, metadata(number)),
            Kind::Pictures | Kind::Sound => {
                if kind == Kind::Pictures && is_keyframe && script.sends_parameter_sets {
                    PARAMETER_SETS.iter().for_each(|set| push(false, parts[0].timestamp, set.to_vec()));
                }
                let wanted = if kind == Kind::Pictures { 0 } else { 1 };
                for part in parts.iter().filter(|part| part.track == wanted) {
                    push(part.marker, part.timestamp, part.payload.clone());
                }
            }
        }
    }
    packets
}

/// A document of ONVIF's kind.
pub(crate) fn metadata(number: u32) -> Vec<u8> {
    format!("<tt:MetadataStream><Number>{number}</Number></tt:MetadataStream>").into_bytes()
}

impl Track {
    pub(crate) fn new(way: Way) -> Track {
        Track { way, sequence: 65_500 }
    }

    pub(crate) fn send(&mut self, stream: &mut TcpStream, ssrc: u32, packet: Packet) -> std::io::Result<()> {
        let Packet { payload_type, marker, timestamp, payload } = packet;
        let mut bytes = vec![0x80, u8::from(marker) << 7 | payload_type];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        match &self.way {
            Way::Interleaved { channel } => {
                let [high, low] = (bytes.len() as u16).to_be_bytes();
                stream.write_all(&[&[b'$', *channel, high, low], &bytes[..]].concat())
            }
            Way::Datagrams { rtp, to, .. } => rtp.send_to(&bytes, *to).map(|_| ()),
        }
    }
}
