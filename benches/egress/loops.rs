//! The bare loops as variants of this comparison.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use bare::{Call, Datagrams, RingDatagrams, RingStreams, sys};
use ringcaster_benches::compare::{Maker, Variant};
use ringcaster_benches::frame::{Frame, SEGMENT};
use ringcaster_benches::sinks::{TcpSinks, UdpSinks};

pub const UDP: &[Maker<UdpSinks>] = &[
    Maker { name: "sendmmsg+gso", make: |sinks| messages("sendmmsg+gso", sinks, Call::Many) },
    Maker { name: "sendmsg+gso", make: |sinks| messages("sendmsg+gso", sinks, Call::One) },
    Maker { name: "sendto", make: |sinks| Ok(Box::new(SendTo::new(sinks)?)) },
    Maker { name: "uring-bare+gso", make: |sinks| Ok(Box::new(RingMessages::new(sinks)?)) },
];

pub const TCP: &[Maker<TcpSinks>] = &[
    Maker { name: "send", make: |sinks| Ok(Box::new(Send { streams: accept(sinks)? })) },
    Maker { name: "uring-bare", make: |sinks| Ok(Box::new(RingSend::new(sinks)?)) },
];

/// `sendmsg` or `sendmmsg`, a train a viewer.
struct Messages {
    name: &'static str,
    viewers: usize,
    datagrams: Datagrams,
}

fn messages(name: &'static str, sinks: &UdpSinks, call: Call) -> io::Result<Box<dyn Variant>> {
    let datagrams = Datagrams::new(udp()?, sinks.addresses(), call)?;
    Ok(Box::new(Messages { name, viewers: sinks.addresses().len(), datagrams }))
}

impl Variant for Messages {
    fn name(&self) -> &'static str {
        self.name
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        all(self.datagrams.send(frame.rtp(), SEGMENT)?, self.viewers)
    }
}

/// `sendto`, packet by packet.
struct SendTo {
    socket: UdpSocket,
    viewers: Vec<SocketAddr>,
}

impl SendTo {
    fn new(sinks: &UdpSinks) -> io::Result<SendTo> {
        Ok(SendTo { socket: udp()?, viewers: sinks.addresses().to_vec() })
    }
}

impl Variant for SendTo {
    fn name(&self) -> &'static str {
        "sendto"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        for viewer in &self.viewers {
            for packet in frame.rtp().chunks(usize::from(SEGMENT)) {
                self.socket.send_to(packet, viewer)?;
            }
        }
        Ok(())
    }
}

/// A train a viewer through a ring.
struct RingMessages {
    viewers: usize,
    datagrams: RingDatagrams,
}

impl RingMessages {
    fn new(sinks: &UdpSinks) -> io::Result<RingMessages> {
        let datagrams = RingDatagrams::new(udp()?, sinks.addresses())?;
        Ok(RingMessages { viewers: sinks.addresses().len(), datagrams })
    }
}

impl Variant for RingMessages {
    fn name(&self) -> &'static str {
        "uring-bare+gso"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        all(self.datagrams.send(frame.rtp(), SEGMENT)?, self.viewers)
    }
}

/// A send a viewer, one call each.
struct Send {
    streams: Vec<TcpStream>,
}

impl Variant for Send {
    fn name(&self) -> &'static str {
        "send"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        use std::io::Write;
        self.streams.iter_mut().try_for_each(|stream| stream.write_all(frame.interleaved()))
    }
}

/// A send a viewer through a ring.
struct RingSend {
    ring: RingStreams,
    streams: Vec<TcpStream>,
}

impl RingSend {
    fn new(sinks: &TcpSinks) -> io::Result<RingSend> {
        Ok(RingSend { ring: RingStreams::new()?, streams: accept(sinks)? })
    }
}

impl Variant for RingSend {
    fn name(&self) -> &'static str {
        "uring-bare"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.interleaved();
        let mut whole = 0;
        self.ring.send(&self.streams, bytes, |_, sent| whole += usize::from(sent == bytes.len() as i32))?;
        all(whole, self.streams.len())
    }
}

fn all(sent: usize, viewers: usize) -> io::Result<()> {
    if sent == viewers { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// A socket on loopback with the options that the server's have.
pub fn udp() -> io::Result<UdpSocket> {
    sys::udp((Ipv4Addr::LOCALHOST, 0).into())
}

/// Connects all viewers to a listener with the server's options.
pub fn accept(sinks: &TcpSinks) -> io::Result<Vec<TcpStream>> {
    let listener = sys::tcp((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    let accept = |_| {
        sinks.connect(address)?;
        Ok(listener.accept()?.0)
    };
    (0..sinks.viewers()).map(accept).collect()
}
