//! The drivers of the server, used as a shard uses them: operations for at most 256 viewers, then a turn.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use proto::io::{Conn, Driver, Event, Op, Piece, Udp, UdpOptions};
use ringcaster::driver::uring::{UringDriver, UringOptions};
use ringcaster_benches::compare::{Maker, Variant};
use ringcaster_benches::frame::{Frame, SEGMENT};
use ringcaster_benches::sinks::{TcpSinks, UdpSinks};
use smallvec::smallvec;

/// Transmits of one turn, as a shard bounds them.
const TRANSMITS_A_TURN: usize = 256;

pub const UDP: &[Maker<UdpSinks>] = &[
    Maker { name: "ring+gso", make: |sinks| udp("ring+gso", Box::new(ring(true)?), sinks) },
    Maker { name: "ring", make: |sinks| udp("ring", Box::new(ring(false)?), sinks) },
    Maker { name: "fallback+gso", make: |sinks| udp("fallback+gso", fallback()?, sinks) },
];

pub const TCP: &[Maker<TcpSinks>] = &[
    Maker { name: "ring", make: |sinks| tcp("ring", Box::new(ring(true)?), sinks) },
    Maker { name: "fallback", make: |sinks| tcp("fallback", fallback()?, sinks) },
];

fn ring(segmentation: bool) -> io::Result<UringDriver> {
    UringDriver::new(UringOptions { segmentation, ..UringOptions::default() })
}

fn fallback() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(fallback::TokioDriver::new()?))
}

struct DrivenUdp {
    name: &'static str,
    driver: Box<dyn Driver>,
    udp: Udp,
    viewers: Vec<SocketAddr>,
    events: Vec<Event>,
}

fn udp(name: &'static str, mut driver: Box<dyn Driver>, sinks: &UdpSinks) -> io::Result<Box<dyn Variant>> {
    let (udp, _) = driver.bind((Ipv4Addr::LOCALHOST, 0).into(), &UdpOptions::default())?;
    let viewers = sinks.addresses().to_vec();
    Ok(Box::new(DrivenUdp { name, driver, udp, viewers, events: Vec::new() }))
}

impl Variant for DrivenUdp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        for viewers in self.viewers.chunks(TRANSMITS_A_TURN) {
            for to in viewers {
                let piece = Piece::Shared(frame.train_bytes());
                self.driver.submit(Op::SendTo { udp: self.udp, to: *to, piece, segment: SEGMENT });
            }
            let until = self.driver.now();
            self.driver.turn(Some(until), &mut self.events)?;
        }
        Ok(())
    }
}

struct DrivenTcp {
    name: &'static str,
    driver: Box<dyn Driver>,
    viewers: Vec<Conn>,
    events: Vec<Event>,
}

fn tcp(name: &'static str, mut driver: Box<dyn Driver>, sinks: &TcpSinks) -> io::Result<Box<dyn Variant>> {
    let (_, address) = driver.listen((Ipv4Addr::LOCALHOST, 0).into())?;
    let (mut viewers, mut events) = (Vec::new(), Vec::new());
    while viewers.len() < sinks.viewers() {
        sinks.connect(address)?;
        driver.turn(None, &mut events)?;
        viewers.extend(events.drain(..).filter_map(|event| match event {
            Event::Accepted { conn, .. } => Some(conn),
            _ => None,
        }));
    }
    Ok(Box::new(DrivenTcp { name, driver, viewers, events }))
}

impl Variant for DrivenTcp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let mut sent = 0;
        for viewers in self.viewers.chunks(TRANSMITS_A_TURN) {
            for conn in viewers {
                let pieces = smallvec![Piece::Shared(frame.interleaved().clone())];
                self.driver.submit(Op::Send { conn: *conn, pieces });
            }
            let until = self.driver.now();
            self.driver.turn(Some(until), &mut self.events)?;
            sent += count_sent(&mut self.events)?;
        }
        while sent < self.viewers.len() {
            self.driver.turn(None, &mut self.events)?;
            sent += count_sent(&mut self.events)?;
        }
        Ok(())
    }
}

fn count_sent(events: &mut Vec<Event>) -> io::Result<usize> {
    let mut sent = 0;
    for event in events.drain(..) {
        match event {
            Event::Sent { .. } => sent += 1,
            event => return Err(io::Error::other(format!("{event:?}"))),
        }
    }
    Ok(sent)
}
