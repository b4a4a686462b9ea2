//! What this driver promises beyond what every driver keeps (`tests/driver`), over real sockets of the loopback device.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::io::{Conn, Driver, Event, Op, Piece, Udp, UdpOptions};
use proto::rtp::batch::{Batch, BatchWriter, Meta, Numbering};
use proto::time::MediaTime;
use smallvec::smallvec;

use super::{UringDriver, UringOptions, probe, socket};

mod connections;
mod datagrams;

/// A driver is made where its ports are taken, and run on its shard's thread.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<UringDriver>();
};

/// A driver with all that it has reported.
struct Rig {
    driver: UringDriver,
    events: Vec<Event>,
    received: Vec<u8>,
    datagrams: Vec<(SocketAddr, Vec<u8>, u16)>,
}

impl Rig {
    /// None where the kernel has no ring: such tests are skipped.
    fn new() -> Option<Rig> {
        Rig::with(UringOptions::default())
    }

    fn with(options: UringOptions) -> Option<Rig> {
        if let Err(refusal) = probe() {
            println!("skipped: {refusal}");
            return None;
        }
        let driver = UringDriver::new(options).unwrap();
        Some(Rig { driver, events: Vec::new(), received: Vec::new(), datagrams: Vec::new() })
    }

    fn turn(&mut self, wait: Duration) {
        let mut events = Vec::new();
        let until = self.driver.now() + wait;
        self.driver.turn(Some(until), &mut events).unwrap();
        for event in &events {
            match event {
                Event::Received { span, .. } => self.received.extend(self.driver.bytes(*span)),
                Event::Datagram { from, span, segment, .. } => {
                    self.datagrams.push((*from, self.driver.bytes(*span).to_vec(), *segment));
                }
                _ => {}
            }
        }
        self.events.extend(events);
    }

    /// Turns until `wanted` finds what it looks for.
    fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&mut Rig) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = wanted(self) {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", self.events);
            self.turn(Duration::from_millis(20));
        }
    }

    fn listen(&mut self) -> SocketAddr {
        self.driver.listen("127.0.0.1:0".parse().unwrap()).unwrap().1
    }

    fn connect(&mut self) -> (TcpStream, Conn) {
        let address = self.listen();
        let client = TcpStream::connect(address).unwrap();
        (client, self.accepted())
    }

    fn accepted(&mut self) -> Conn {
        self.until("accepted", |rig| {
            let position = rig.events.iter().position(|event| matches!(event, Event::Accepted { .. }))?;
            match rig.events.remove(position) {
                Event::Accepted { conn, .. } => Some(conn),
                _ => None,
            }
        })
    }

    fn has(&self, wanted: impl Fn(&Event) -> bool) -> Option<()> {
        self.events.iter().any(wanted).then_some(())
    }

    fn sent(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Sent { .. })).count()
    }

    fn bind(&mut self, options: &UdpOptions) -> (Udp, SocketAddr) {
        self.driver.bind("127.0.0.1:0".parse().unwrap(), options).unwrap()
    }

    fn send_to(&mut self, udp: Udp, to: SocketAddr, bytes: &[u8], segment: u16) {
        let piece = Piece::Shared(Bytes::copy_from_slice(bytes));
        self.driver.submit(Op::SendTo { udp, to, piece, segment });
    }

    fn send(&mut self, conn: Conn, bytes: impl Into<Bytes>) {
        self.driver.submit(Op::Send { conn, pieces: smallvec![Piece::Shared(bytes.into())] });
    }
}

fn sink() -> (UdpSocket, SocketAddr) {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    sink.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket::set(sink.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20).unwrap();
    let address = sink.local_addr().unwrap();
    (sink, address)
}

fn receive(sink: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let size = sink.recv(&mut bytes).unwrap();
    bytes.truncate(size);
    bytes
}

fn batch(sizes: &[usize]) -> Batch {
    let numbering = Numbering { ssrc: 7, payload_type: 96, sequence: 1, timestamp: 9 };
    let mut writer = BatchWriter::new(numbering, 0);
    for (index, size) in sizes.iter().enumerate() {
        writer.packet(index + 1 == sizes.len(), &[&vec![index as u8; size - 12]]);
    }
    let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
    writer.finish(meta).unwrap()
}

/// The batch with heads of 12 bytes of 0xee, and what arrives of it.
fn spliced(sizes: &[usize]) -> (Piece, Vec<Vec<u8>>) {
    let batch = batch(sizes);
    let packets = batch.packets().iter().map(|packet| {
        let mut bytes = batch.packet(packet).to_vec();
        bytes[..12].fill(0xee);
        bytes
    });
    let packets = packets.collect();
    let heads = Bytes::from(vec![0xee; 12 * sizes.len()]);
    let count = sizes.len() as u32;
    (Piece::Spliced { heads, batch: batch.into(), first: 0, count }, packets)
}
