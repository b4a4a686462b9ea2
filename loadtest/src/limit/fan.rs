//! One picture to all viewers, by one of the bare loops.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use bare::{Call, Datagrams, RingDatagrams, RingStreams};
use bytes::Bytes;
use proto::rtp::batch::Batch;

use super::tls::Sealer;
use crate::plan::Transport;

/// How pictures leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Loop {
    /// A datagram a call.
    Sendto,
    /// Up to 64 viewers a call, each with a train that the kernel cuts.
    Sendmmsg,
    /// The same through io_uring.
    UringUdp,
    /// A viewer's connection a call.
    Send,
    /// Up to 256 connections a call through io_uring.
    UringTcp,
    /// A viewer's connection a call, with records of 16 kB that AES-GCM has sealed for it.
    AesGcm,
}

impl Loop {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Loop::Sendto => "sendto",
            Loop::Sendmmsg => "sendmmsg+gso",
            Loop::UringUdp => "uring+gso",
            Loop::Send => "send",
            Loop::UringTcp => "uring",
            Loop::AesGcm => "aes-gcm+send",
        }
    }

    /// Its name on the command line.
    pub fn argument(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Those that send as the packets of a transport are sent; none where there is no such loop.
    pub fn all(transport: Transport) -> &'static [Loop] {
        match transport.bare() {
            Some(Transport::Udp) => &[Loop::Sendmmsg, Loop::UringUdp, Loop::Sendto],
            Some(Transport::Tcp) => &[Loop::Send, Loop::UringTcp],
            Some(Transport::Rtsps) => &[Loop::AesGcm],
            _ => &[],
        }
    }
}

/// Viewers over UDP and the loop that serves them.
pub(super) struct UdpFan {
    kind: UdpKind,
    viewers: Vec<SocketAddr>,
}

enum UdpKind {
    Each(UdpSocket),
    Many(Datagrams),
    Ring(Box<RingDatagrams>),
}

impl UdpFan {
    pub(super) fn new(socket: UdpSocket, by: Loop) -> io::Result<UdpFan> {
        let kind = match by {
            Loop::Sendto => UdpKind::Each(socket),
            Loop::UringUdp => UdpKind::Ring(Box::new(RingDatagrams::new(socket, &[])?)),
            _ => UdpKind::Many(Datagrams::new(socket, &[], Call::Many)?),
        };
        Ok(UdpFan { kind, viewers: Vec::new() })
    }

    pub(super) fn set_viewers(&mut self, viewers: Vec<SocketAddr>) -> io::Result<()> {
        match &mut self.kind {
            UdpKind::Each(_) => {}
            UdpKind::Many(datagrams) => datagrams.set_viewers(&viewers)?,
            UdpKind::Ring(datagrams) => datagrams.set_viewers(&viewers)?,
        }
        self.viewers = viewers;
        Ok(())
    }

    /// What does not fit the socket's buffer is lost; viewers will miss it.
    pub(super) fn send(&mut self, batch: &Batch) -> io::Result<()> {
        if self.viewers.is_empty() {
            return Ok(());
        }
        match &mut self.kind {
            UdpKind::Each(socket) => send_each(socket, &self.viewers, batch),
            UdpKind::Many(datagrams) => {
                trains(batch).try_for_each(|(train, segment)| datagrams.send(&train, segment).map(drop))
            }
            UdpKind::Ring(datagrams) => {
                trains(batch).try_for_each(|(train, segment)| datagrams.send(&train, segment).map(drop))
            }
        }
    }
}

fn send_each(socket: &UdpSocket, viewers: &[SocketAddr], batch: &Batch) -> io::Result<()> {
    for viewer in viewers {
        for packet in batch.packets() {
            match socket.send_to(batch.packet(packet), viewer) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The fewest sends that carry a batch: a packet that is longer than the first, or behind a shorter one, begins anew,
/// and so does what goes beyond a datagram. The batch's own trains are smaller where a server would pace them.
fn trains(batch: &Batch) -> impl Iterator<Item = (Bytes, u16)> {
    let packets = batch.packets();
    let mut first = 0;
    std::iter::from_fn(move || {
        let segment = packets.get(first)?.size;
        let (mut end, mut bytes, mut is_open) = (first, 0, true);
        while let Some(packet) = packets.get(end).filter(|packet| is_open && packet.size <= segment) {
            if end - first == SEGMENTS_MAX || bytes + usize::from(packet.size) > TRAIN_BYTES_MAX {
                break;
            }
            is_open = packet.size == segment;
            bytes += usize::from(packet.size);
            end += 1;
        }
        let offset = packets[first].offset as usize;
        first = end;
        Some((batch.rtp().slice(offset..offset + bytes), segment))
    })
}

/// UDP_MAX_SEGMENTS of Linux 4.18 to 6.8.
const SEGMENTS_MAX: usize = 64;

/// Payload of the largest UDP datagram over IPv4.
const TRAIN_BYTES_MAX: usize = 65_507;

/// The loop that serves viewers over TCP.
pub(super) enum TcpFan {
    Each,
    Ring(Box<RingStreams>),
    /// With room for what was sealed for one viewer.
    Sealed(Vec<u8>),
}

/// A connection that plays.
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    pub(super) rest: Rest,
    /// None where it is plain.
    pub(super) sealer: Option<Sealer>,
}

/// What one connection still has to take.
#[derive(Default)]
pub(super) struct Rest(Bytes);

impl TcpFan {
    pub(super) fn new(by: Loop) -> io::Result<TcpFan> {
        Ok(match by {
            Loop::UringTcp => TcpFan::Ring(Box::new(RingStreams::new()?)),
            Loop::AesGcm => TcpFan::Sealed(Vec::new()),
            _ => TcpFan::Each,
        })
    }

    /// Hands bytes to every viewer that has taken the last ones; a picture is lost to others.
    pub(super) fn send(&mut self, viewers: &mut HashMap<u64, Stream>, bytes: &Bytes) -> io::Result<()> {
        let mut ready = viewers.values_mut().filter(|stream| stream.rest.0.is_empty());
        match self {
            TcpFan::Each => {
                for stream in ready {
                    stream.send(bytes.clone());
                }
                Ok(())
            }
            TcpFan::Sealed(room) => ready.try_for_each(|stream| stream.send_sealed(bytes, room)),
            TcpFan::Ring(ring) => {
                let (streams, mut rests): (Vec<BorrowedFd<'_>>, Vec<&mut Rest>) =
                    ready.map(|stream| (stream.socket.as_fd(), &mut stream.rest)).unzip();
                ring.offer(&streams, bytes, |index, sent| {
                    // An error shows when its connection is read.
                    rests[index].0 = bytes.slice(usize::try_from(sent).unwrap_or(0)..);
                })
            }
        }
    }
}

impl Stream {
    /// Sends plain bytes behind what is left.
    pub(super) fn send(&mut self, bytes: Bytes) {
        self.rest.push(bytes);
        self.rest.flush(&self.socket);
    }

    /// Seals bytes in `room` and sends them; nothing is left before them.
    pub(super) fn send_sealed(&mut self, bytes: &[u8], room: &mut Vec<u8>) -> io::Result<()> {
        let Some(sealer) = &mut self.sealer else { return Ok(()) };
        sealer.seal(bytes, room)?;
        let taken = offer(&self.socket, room);
        if taken < room.len() {
            self.rest.push(Bytes::copy_from_slice(&room[taken..]));
        }
        Ok(())
    }
}

impl Rest {
    /// Offers what is left.
    pub(super) fn flush(&mut self, socket: &TcpStream) {
        let taken = offer(socket, &self.0);
        drop(self.0.split_to(taken));
    }

    /// Adds what is to follow.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.0 = if self.0.is_empty() { bytes } else { [&self.0[..], &bytes].concat().into() };
    }
}

/// How much of the bytes a connection takes.
fn offer(mut socket: &TcpStream, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.write(&bytes[taken..]) {
            Ok(size) => taken += size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An error shows when its connection is read.
            Err(_) => break,
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proto::rtp::batch::{BatchWriter, Meta, Numbering};
    use proto::time::MediaTime;

    use super::*;

    #[test]
    fn a_picture_leaves_in_as_few_sends_as_can_be() {
        let sizes = |sizes: &[usize]| {
            let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
            let mut writer = BatchWriter::new(numbering, 0);
            sizes.iter().for_each(|size| writer.packet(false, &[&vec![1; size - 12]]));
            let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
            let batch = writer.finish(meta).unwrap();
            trains(&batch).map(|(train, segment)| (train.len(), segment)).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[1400, 1400, 900]), [(3_700, 1400)]);
        assert_eq!(sizes(&[60, 1400, 1400, 300, 300]), [(60, 60), (3_100, 1400), (300, 300)]);
        let many = [1400; 60];
        assert_eq!(sizes(&many), [(46 * 1400, 1400), (14 * 1400, 1400)]);
        assert_eq!(sizes(&[100; 65]), [(6_400, 100), (100, 100)]);
    }
}
