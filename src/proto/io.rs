//! The driver interface: plain operations in, plain completions out.
//!
//! A shard owns one driver and talks to the network through it alone. [`Driver::submit`] only queues;
//! [`Driver::turn`] hands everything queued to the kernel at once, waits and reports. The same interface is
//! kept by the ring, by the portable fallback and by the simulation.

use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::histogram::Histogram;
use crate::rtp::batch::Batch;
use crate::time::{NtpTime, Time};

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener(pub u32);

/// A TCP connection. The generation makes a name that is used again a different name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn {
    /// Place in the driver's table, used again after the connection was closed.
    pub index: u32,
    /// Counts the uses of that place.
    pub generation: u32,
}

/// A UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Udp(pub u32);

/// Some of the bytes received in the last turn; valid until the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The driver's receive buffer.
    pub buffer: u32,
    /// First byte in it.
    pub offset: u32,
    /// Count of bytes.
    pub size: u32,
}

/// Bytes that leave, owned by the operation until it is complete.
#[derive(Clone, Debug)]
pub enum Piece {
    /// As they lie.
    Shared(Bytes),
    /// Packets of a batch with heads of the receiver's own in place of their RTP headers.
    Spliced {
        /// One head a packet, all of one size, back to back.
        heads: Bytes,
        /// Whose payloads follow the heads.
        batch: Arc<Batch>,
        /// Index of the first packet.
        first: u32,
        /// Count of packets.
        count: u32,
    },
}

/// No bytes.
impl Default for Piece {
    fn default() -> Piece {
        Piece::Shared(Bytes::new())
    }
}

impl Piece {
    /// Bytes on the wire.
    pub fn size(&self) -> usize {
        match self {
            Piece::Shared(bytes) => bytes.len(),
            Piece::Spliced { heads, .. } => {
                heads.len() + self.slices().skip(1).step_by(2).map(<[u8]>::len).sum::<usize>()
            }
        }
    }

    /// The byte runs of a gather list, in order: for a spliced piece head and payload in turns.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (whole, spliced) = match self {
            Piece::Shared(bytes) => (Some(&bytes[..]), None),
            Piece::Spliced { heads, batch, first, count } => {
                let head_bytes = heads.len() / (*count).max(1) as usize;
                let packets = &batch.packets()[*first as usize..(*first + *count) as usize];
                let runs = packets.iter().zip(heads.chunks_exact(head_bytes.max(1)));
                (None, Some(runs.flat_map(|(packet, head)| [head, &batch.packet(packet)[12..]])))
            }
        };
        whole.into_iter().chain(spliced.into_iter().flatten())
    }
}

/// The pieces of one send, in order.
pub type Pieces = SmallVec<[Piece; 4]>;

/// What a shard asks of its driver. Operations on a name that is gone are ignored.
#[derive(Debug)]
pub enum Op {
    /// Sends all pieces on a connection; answered by [`Event::Sent`] when the last byte is with the kernel. At most
    /// one send a connection is under way.
    Send {
        /// Where.
        conn: Conn,
        /// What.
        pieces: Pieces,
    },
    /// Sends one datagram, or a train of datagrams of `segment` bytes with a shorter last one. Unanswered; sends on
    /// one socket leave in order. What waits longer than [`UdpOptions::patience`] for a full socket is shed.
    SendTo {
        /// From which socket.
        udp: Udp,
        /// To whom.
        to: SocketAddr,
        /// What.
        piece: Piece,
        /// Bytes of each datagram of a train; the whole size for a single datagram.
        segment: u16,
    },
    /// Stops receiving on a connection, for when its pending input is at its bound.
    Stop(Conn),
    /// Receives again.
    Resume(Conn),
    /// Closes a connection at once; answered by [`Event::Closed`] when nothing of it is under way any more.
    Close(Conn),
    /// Takes a connection out of this driver so that another one can [`Driver::attach`] it; answered by
    /// [`Event::Detached`]. The connection must not have a send under way.
    Detach(Conn),
    /// Closes a UDP socket once its queue has left.
    CloseUdp(Udp),
    /// Closes a listening socket.
    CloseListener(Listener),
}

impl Op {
    /// Sends one datagram as it lies; at most 65,507 bytes.
    pub fn datagram(udp: Udp, to: SocketAddr, bytes: Bytes) -> Op {
        let segment = bytes.len() as u16;
        Op::SendTo { udp, to, piece: Piece::Shared(bytes), segment }
    }
}

/// What a driver reports. Events of one connection come in order.
#[derive(Debug)]
pub enum Event {
    /// A client has connected. Receiving is on already.
    Accepted {
        /// On which listener.
        listener: Listener,
        /// Its name from here on.
        conn: Conn,
        /// The client's address.
        peer: SocketAddr,
        /// The address it connected to.
        local: SocketAddr,
    },
    /// A connection that [`Driver::connect`] began is open. Receiving is on already.
    Connected {
        /// Which connection.
        conn: Conn,
        /// Our address on it.
        local: SocketAddr,
    },
    /// No connection can be accepted until a descriptor is free; the driver goes on by itself then.
    AcceptRefused {
        /// On which listener.
        listener: Listener,
        /// Why.
        error: io::Error,
    },
    /// Bytes have come.
    Received {
        /// On which connection.
        conn: Conn,
        /// Where they lie: [`Driver::bytes`].
        span: Span,
    },
    /// The peer has closed its side, or the connection is broken or could not be opened; nothing more is received.
    /// The connection stays until [`Op::Close`].
    Ended {
        /// Which connection.
        conn: Conn,
        /// None at an orderly end.
        error: Option<io::Error>,
    },
    /// A send is complete.
    Sent {
        /// On which connection.
        conn: Conn,
    },
    /// A connection is gone and its name free.
    Closed {
        /// Which connection.
        conn: Conn,
    },
    /// A connection was taken out, with its descriptor for [`Driver::attach`].
    Detached {
        /// Which connection.
        conn: Conn,
        /// The socket.
        socket: Detached,
    },
    /// One datagram has come, or several of one size that the kernel merged.
    Datagram {
        /// On which socket.
        udp: Udp,
        /// From whom.
        from: SocketAddr,
        /// Where it lies.
        span: Span,
        /// Size of each datagram but the last, where several were merged; else the whole size.
        segment: u16,
    },
}

/// A socket between two drivers of one kind.
#[derive(Debug)]
pub struct Detached(pub Box<dyn Any + Send>);

/// How a UDP socket is made.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Time to live of multicast datagrams.
    pub multicast_ttl: u8,
    /// Whether it receives merged datagrams: for tracks that come to us.
    pub ingest: bool,
    /// How long an entry waits for a full socket before it is shed.
    pub patience: Duration,
    /// Joins the multicast group whose address is bound; None for a socket of its own.
    pub membership: Option<Membership>,
}

/// How a multicast group is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Local address of the interface that hears the group and sends to it; None leaves it to routing. A scope in the
    /// group's own address comes first.
    pub interface: Option<IpAddr>,
    /// The only sender that is heard (source-specific multicast, RFC 4607); None hears all.
    pub source: Option<IpAddr>,
}

impl Default for UdpOptions {
    fn default() -> UdpOptions {
        let patience = Duration::from_millis(1_000);
        UdpOptions { multicast_ttl: 16, ingest: false, patience, membership: None }
    }
}

/// What a driver has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Calls into the kernel that submit or wait.
    pub enters: u64,
    /// Operations handed to the kernel.
    pub submitted: u64,
    /// Datagrams given to the kernel, each packet of a train counted.
    pub datagrams: u64,
    /// Sends over UDP that the kernel refused, by packets.
    pub datagrams_failed: u64,
    /// Packets shed because a UDP socket stayed full.
    pub datagrams_shed: u64,
    /// Sends over TCP that lent their bytes to the kernel in place of a copy.
    pub sends_lent: u64,
    /// Of these, those that the kernel copied all the same.
    pub loans_copied: u64,
    /// Microseconds from the end of one turn to the beginning of the next: what the driver's user had to do.
    pub work: Histogram,
    /// Operations that were handed over in one turn, in turns that had any.
    pub operations: Histogram,
}

/// One backend on one thread.
pub trait Driver {
    /// Short name for the log: `io_uring`, `tokio`, `simulation`.
    fn name(&self) -> &'static str;

    /// The monotonic clock, read once a turn: constant between two turns.
    fn now(&self) -> Time;

    /// The wall clock of the same moment.
    fn wall(&self) -> NtpTime;

    /// Listens on `address` and accepts from the next turn on. Port 0 takes a free one.
    ///
    /// Several drivers may listen on one address; the kernel then spreads connections over them. Errors are
    /// those of `bind` and `listen`.
    fn listen(&mut self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)>;

    /// Binds a UDP socket and receives from the next turn on. Errors are those of `socket` and `bind`.
    ///
    /// With [`UdpOptions::membership`] the address is a group's, any number of sockets and programs receive it side by
    /// side, and [`Op::CloseUdp`] leaves it. Errors are also those of joining: no interface has the given address, no
    /// route leads to the group, or address, interface and source are not of one family.
    fn bind(&mut self, address: SocketAddr, options: &UdpOptions) -> io::Result<(Udp, SocketAddr)>;

    /// Connects to `address` from the next turn on. Answered by [`Event::Connected`], or by [`Event::Ended`] with the
    /// error; there is no time limit but the system's, which is minutes. [`Op::Close`] ends it at any moment, answered by
    /// [`Event::Closed`]. [`Op::Stop`] and [`Op::Resume`] say beforehand whether it will receive; a send or a detach
    /// before it is open is the caller's mistake and ignored. Errors are those of `socket`.
    fn connect(&mut self, address: SocketAddr) -> io::Result<Conn>;

    /// Takes over a connection that another driver of the same kind gave away. Receiving is on from the next turn.
    fn attach(&mut self, socket: Detached) -> io::Result<Conn>;

    /// Queues an operation; nothing reaches the kernel before [`Driver::turn`].
    fn submit(&mut self, op: Op);

    /// Hands over what is queued, waits until something is complete, the waker was used or `until` has come, and
    /// appends what happened to `events`. None waits without end, a time in the past only looks. Spans of the turn
    /// before are no longer valid.
    fn turn(&mut self, until: Option<Time>, events: &mut Vec<Event>) -> io::Result<()>;

    /// The received bytes that a span names.
    fn bytes(&self, span: Span) -> &[u8];

    /// Wakes the driver out of [`Driver::turn`] from any thread.
    fn waker(&self) -> Waker;

    /// What was counted so far.
    fn stats(&self) -> DriverStats;

    /// A hint that the memory from `start` on is read a little later; it may be brought near meanwhile.
    fn need_soon(&self, _start: *const u8, _bytes: usize) {}
}
