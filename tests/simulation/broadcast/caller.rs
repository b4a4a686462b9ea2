//! The RTSP side of publishers and viewers: one connection, one request at a time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use proto::time::Time;
use ringcaster::driver::sim::{Net, Status, Wire};

use super::super::dialogue::{Item, Line, Response};
use super::super::flow::Fault;
use super::super::session::seconds;
use super::super::streams::SimStreams;
use super::rules::Rules;

/// What is around everyone.
pub struct World<'a> {
    pub now: Time,
    pub rules: &'a Rules,
    pub net: &'a Net,
    pub streams: &'a SimStreams,
    pub traces: bool,
}

/// A request that waits for its reply.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: &'static str,
    pub at: Time,
    cseq: u32,
}

/// Whoever calls the server.
#[derive(Debug)]
pub struct Caller {
    pub peer: u32,
    pub address: IpAddr,
    pub line: Option<Line>,
    pub asked: Option<Asked>,
    /// Connections that were left: the server still has them, perhaps.
    pub left: Vec<Wire>,
    connections: u16,
    cseq: u32,
    next_port: u16,
}

/// The UDP addresses of one track.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
}

impl Caller {
    pub fn new(peer: u32) -> Caller {
        Caller {
            peer,
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, peer as u8 + 1)),
            line: None,
            asked: None,
            left: Vec::new(),
            connections: 0,
            cseq: 0,
            next_port: 6_000,
        }
    }

    pub fn connect(&mut self, world: &World<'_>) {
        self.connections += 1;
        let from = SocketAddr::new(self.address, 30_000 + self.connections);
        let wire = world.net.connect(self.peer, from, world.rules.server());
        self.line = Some(Line::new(wire, world.now));
        self.asked = None;
    }

    /// Whether the connection is there as far as its client can see.
    pub fn is_connected(&self, world: &World<'_>) -> bool {
        self.line.as_ref().is_some_and(|line| world.net.status(line.wire) == Status::Open)
    }

    /// Closes the connection: in order, by a reset, or without a word.
    pub fn leave(&mut self, world: &World<'_>, how: Leaving) {
        let Some(line) = self.line.take() else { return };
        match how {
            Leaving::Finishes => world.net.finish(line.wire),
            Leaving::Resets => world.net.reset(line.wire),
            Leaving::Vanishes => {}
        }
        self.left.push(line.wire);
        self.asked = None;
    }

    /// Two neighbouring UDP ports of its own.
    pub fn ports(&mut self, world: &World<'_>) -> Ports {
        let port = self.next_port;
        self.next_port += 2;
        let own = |port| SocketAddr::new(self.address, port);
        let ports = Ports { rtp: own(port), rtcp: own(port + 1) };
        world.net.bind(self.peer, ports.rtp);
        world.net.bind(self.peer, ports.rtcp);
        ports
    }

    pub fn ask(
        &mut self,
        world: &World<'_>,
        method: &'static str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        let Some(line) = &self.line else { return };
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body;
        if world.traces {
            println!("{} {} asks {method} {url} {headers:?}", seconds(world.now), self.peer);
        }
        world.net.write(line.wire, Bytes::from(text));
        self.asked = Some(Asked { method, at: world.now, cseq: self.cseq });
    }

    /// Sends a `$` frame.
    pub fn frame(&self, world: &World<'_>, channel: u8, packet: &[u8]) {
        let Some(line) = &self.line else { return };
        let mut frame = BytesMut::from(&[b'$', channel][..]);
        frame.put_u16(packet.len() as u16);
        frame.extend_from_slice(packet);
        world.net.write(line.wire, frame.freeze());
    }

    /// Takes what the server has sent on a connection.
    pub fn take(&mut self, wire: Wire, bytes: &[u8]) -> Result<Vec<Item>, Fault> {
        match self.line.as_mut().filter(|line| line.wire == wire) {
            Some(line) => line.take(bytes),
            None => Ok(Vec::new()),
        }
    }

    /// The request that a reply is for.
    pub fn answered(&mut self, response: &Response) -> Result<Asked, Fault> {
        let asked = self.asked.take().ok_or_else(|| format!("nobody waits for {response:?}"))?;
        if response.header("CSeq") != Some(&asked.cseq.to_string()) {
            return Err(format!("{asked:?} is answered {response:?}"));
        }
        Ok(asked)
    }

    /// Reads what has arrived, at most so many bytes.
    pub fn read(&mut self, world: &World<'_>, bytes_max: usize) {
        let Some(line) = &mut self.line else { return };
        let mut rest = bytes_max;
        while rest > 0
            && let Some(bytes) = world.net.read(line.wire, rest)
        {
            rest = rest.saturating_sub(bytes.len());
        }
    }

    pub fn has(&self, wire: Wire) -> bool {
        self.line.as_ref().is_some_and(|line| line.wire == wire)
    }
}

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    Finishes,
    Resets,
    Vanishes,
}
