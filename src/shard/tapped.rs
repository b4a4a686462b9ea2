//! The driver as a shard uses it, and taps on it: what one session sends and receives is kept for a while, for whoever has to
//! find out why a player does not like it.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use proto::io::{Conn, Driver, Event, Op, Piece, Udp};
use proto::pcap::{Direction, Pcap};
use proto::time::Time;

use super::session::SessionId;

/// Bytes of what a tap keeps.
const TAP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Taps of one shard at once.
const TAPS_MAX: usize = 4;

/// How long what was kept waits for whoever wanted it.
const UNCLAIMED: Duration = Duration::from_secs(10);

/// Sockets and clocks, with taps. Without any they cost one comparison an operation.
pub struct Tapped {
    driver: Box<dyn Driver>,
    taps: Vec<Tap>,
}

/// What a session's packets are known by.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Its connection, with our address and the client's.
    pub conn: Option<(Conn, SocketAddr, SocketAddr)>,
    /// Sockets of ours, each with its address, and the address at the other end; None for whoever sends there.
    pub sockets: Vec<(Udp, SocketAddr, Option<SocketAddr>)>,
}

/// What is kept of one session.
struct Tap {
    id: SessionId,
    marks: Marks,
    /// Bytes that went before on its connection since the tap was there, out and in.
    passed: (u32, u32),
    pcap: Pcap,
    /// Nothing more is kept from here on: it is full, or the time is over.
    is_over: bool,
    until: Time,
}

impl Tapped {
    /// A driver without taps.
    pub fn new(driver: Box<dyn Driver>) -> Tapped {
        Tapped { driver, taps: Vec::new() }
    }

    /// Queues an operation: [`Driver::submit`].
    pub fn submit(&mut self, op: Op) {
        if !self.taps.is_empty() {
            self.note_op(&op);
        }
        self.driver.submit(op);
    }

    /// Lets the driver work: [`Driver::turn`].
    pub fn turn(&mut self, until: Option<Time>, events: &mut Vec<Event>) -> io::Result<()> {
        self.driver.turn(until, events)?;
        if !self.taps.is_empty() {
            self.note_events(events);
        }
        Ok(())
    }

    /// Keeps what a session sends and receives for so long; false when there are enough taps, or it has one.
    pub fn tap(&mut self, id: SessionId, marks: Marks, duration: Duration) -> bool {
        if self.taps.len() >= TAPS_MAX || self.taps.iter().any(|tap| tap.id == id) {
            return false;
        }
        let until = self.driver.now() + duration;
        let pcap = Pcap::new(TAP_BYTES_MAX);
        self.taps.push(Tap { id, marks, passed: (0, 0), pcap, is_over: false, until });
        true
    }

    /// Ends a tap; a file of packets.
    pub fn untap(&mut self, id: SessionId) -> Option<Vec<u8>> {
        let index = self.taps.iter().position(|tap| tap.id == id)?;
        Some(self.taps.swap_remove(index).pcap.into_bytes())
    }

    fn note_op(&mut self, op: &Op) {
        let wall = self.driver.wall();
        for tap in self.taps.iter_mut().filter(|tap| !tap.is_over) {
            let fits = match op {
                Op::Send { conn, pieces } => match tap.marks.conn {
                    Some((own, from, to)) if own == *conn => {
                        let bytes = joined(pieces);
                        let fits = tap.pcap.segment(wall, Direction { from, to }, tap.passed, &bytes);
                        tap.passed.0 = tap.passed.0.wrapping_add(bytes.len() as u32);
                        fits
                    }
                    _ => true,
                },
                Op::SendTo { udp, to, piece, segment } => match tap.marks.local(*udp, *to) {
                    Some(from) => joined(std::slice::from_ref(piece))
                        .chunks(usize::from(*segment).max(1))
                        .all(|datagram| tap.pcap.datagram(wall, Direction { from, to: *to }, datagram)),
                    None => true,
                },
                _ => true,
            };
            tap.is_over |= !fits;
        }
    }

    fn note_events(&mut self, events: &[Event]) {
        let (now, wall) = (self.driver.now(), self.driver.wall());
        self.taps.retain(|tap| now < tap.until + UNCLAIMED);
        for tap in &mut self.taps {
            tap.is_over |= now >= tap.until;
        }
        for tap in self.taps.iter_mut().filter(|tap| !tap.is_over) {
            let fits = events.iter().all(|event| match event {
                Event::Received { conn, span } => match tap.marks.conn {
                    Some((own, to, from)) if own == *conn => {
                        let bytes = self.driver.bytes(*span);
                        let numbers = (tap.passed.1, tap.passed.0);
                        tap.passed.1 = tap.passed.1.wrapping_add(bytes.len() as u32);
                        tap.pcap.segment(wall, Direction { from, to }, numbers, bytes)
                    }
                    _ => true,
                },
                Event::Datagram { udp, from, span, segment } => match tap.marks.local(*udp, *from) {
                    Some(to) => (self.driver.bytes(*span).chunks(usize::from(*segment).max(1)))
                        .all(|datagram| tap.pcap.datagram(wall, Direction { from: *from, to }, datagram)),
                    None => true,
                },
                _ => true,
            });
            tap.is_over |= !fits;
        }
    }
}

impl Marks {
    /// Our address on a socket, if what it exchanges with another one is the session's.
    fn local(&self, udp: Udp, other: SocketAddr) -> Option<SocketAddr> {
        let is_its = |(own, _, peer): &&(Udp, SocketAddr, Option<SocketAddr>)| {
            *own == udp && peer.is_none_or(|peer| peer == other)
        };
        self.sockets.iter().find(is_its).map(|(_, local, _)| *local)
    }
}

impl Deref for Tapped {
    type Target = dyn Driver;

    fn deref(&self) -> &(dyn Driver + 'static) {
        &*self.driver
    }
}

impl DerefMut for Tapped {
    fn deref_mut(&mut self) -> &mut (dyn Driver + 'static) {
        &mut *self.driver
    }
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(Piece::slices).flatten().copied().collect()
}
