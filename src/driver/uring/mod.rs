//! The driver on io_uring: one ring, everything a shard's sockets do.
//!
//! Who owns what is under way: a connection's slot its send, the turn's batch the UDP entries, a buffer group the
//! receive buffers. The ring is dropped first, so that nothing writes to memory that is gone.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use fallback::clock::{self, Clock};
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use proto::io::{Conn, Detached, Driver, DriverStats, Event, Listener, Op, Span, Udp, UdpOptions};
use proto::time::{NtpTime, Time};

use self::buffers::Buffers;
use self::ring::{File, Ring};
use self::tcp::Connections;
use self::token::{Kind, Token};
use self::udp::Datagrams;
use self::waker::Bell;
use crate::config::ZeroCopy;

mod arena;
mod buffers;
mod foresight;
mod listener;
mod loans;
mod membership;
mod probe;
mod ring;
mod slots;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod token;
mod udp;
mod waker;

pub use self::probe::{Capabilities, Refusal, Segments, probe};

/// Sizes of a driver.
#[derive(Clone, Debug)]
pub struct UringOptions {
    /// Entries of the submission queue; more are kept aside and follow.
    pub entries: u32,
    /// Entries of the completion queue. The kernel keeps aside what does not fit.
    pub completions: u32,
    /// Count of receive buffers, a power of two: as many receptions fit one turn.
    pub receive_buffers: u16,
    /// Bytes of one receive buffer; a longer datagram is dropped.
    pub receive_buffer_bytes: u32,
    /// Count of the buffers for sockets with [`UdpOptions::ingest`], a power of two; each holds a merged train of 64 KiB.
    pub ingest_buffers: u16,
    /// Whether trains leave whole, to be cut by the kernel or the device.
    pub segmentation: bool,
    /// Whether large sends over TCP lend their bytes in place of a copy.
    pub zero_copy: ZeroCopy,
    /// Whether completions may be deferred until the driver asks, where the kernel can (DEFER_TASKRUN).
    pub deferral: bool,
}

impl Default for UringOptions {
    fn default() -> UringOptions {
        UringOptions {
            entries: 1024,
            completions: 4096,
            receive_buffers: 256,
            receive_buffer_bytes: 4096,
            ingest_buffers: 32,
            segmentation: true,
            zero_copy: ZeroCopy::Auto,
            deferral: true,
        }
    }
}

/// The driver. It may be made and given sockets on one thread and run on another: its ring belongs to the thread of the
/// first [`Driver::turn`].
pub struct UringDriver {
    // Dropped before all memory that its entries name.
    core: Core,
    listeners: listener::Listeners,
    connections: Connections,
    datagrams: Datagrams,
    bell: Arc<Bell>,
    bell_file: File,
    /// Completions of this turn; kept for its capacity.
    completions: Vec<cqueue::Entry>,
}

/// What every part of the driver works with.
struct Core {
    ring: Ring,
    /// Small buffers, for connections and for sockets that hear reports.
    buffers: Buffers,
    /// Large ones; made when the first ingest socket is.
    ingest: Option<Buffers>,
    ingest_buffers: u16,
    events: Vec<Event>,
    clock: Clock,
    stats: DriverStats,
}

/// Buffer group of [`Core::buffers`].
const SMALL_GROUP: u16 = 0;
/// Buffer group of [`Core::ingest`].
const INGEST_GROUP: u16 = 1;
/// A merged train of at most 65,535 bytes behind its header, name and control messages.
const INGEST_BUFFER_BYTES: u32 = 65_536 + 256;

impl UringDriver {
    /// A driver with a ring of its own. Fails where [`probe`] does, with the same sentence.
    pub fn new(options: UringOptions) -> io::Result<UringDriver> {
        let mut ring = Ring::new(&options).map_err(Refusal::from)?;
        let count = options.receive_buffers.next_power_of_two();
        let buffers = Buffers::register(&mut ring, SMALL_GROUP, count, options.receive_buffer_bytes)?;
        let bell = Bell::new()?;
        let bell_file = ring.register_file(bell.fd());
        let core = Core {
            ring,
            buffers,
            ingest: None,
            ingest_buffers: options.ingest_buffers.next_power_of_two(),
            events: Vec::new(),
            clock: Clock::default(),
            stats: DriverStats::default(),
        };
        let mut driver = UringDriver {
            core,
            listeners: listener::Listeners::new(),
            connections: Connections::new(options.zero_copy),
            datagrams: Datagrams::new(options.segmentation && socket::has_segmentation()),
            bell,
            bell_file,
            completions: Vec::new(),
        };
        driver.listen_to_bell();
        Ok(driver)
    }

    /// Arms the poll that reports every use of the waker.
    fn listen_to_bell(&mut self) {
        let entry = opcode::PollAdd::new(Fd(self.bell_file.number), libc::POLLIN as u32).multi(true).build();
        let entry = self.bell_file.name(entry).user_data(Token::WAKE.pack());
        // SAFETY: the entry points to nothing.
        unsafe { self.core.ring.push(entry) };
    }

    /// Acts upon every completion that was reaped.
    fn act(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        self.core.ring.swap_reaped(&mut completions);
        for completion in completions.drain(..) {
            let token = Token::unpack(completion.user_data());
            let core = &mut self.core;
            match token.kind {
                Kind::Accept => self.listeners.handle(core, &mut self.connections, token, &completion),
                Kind::Connect => self.connections.handle_connect(core, token, &completion),
                Kind::Receive => self.connections.handle_receive(core, token, &completion),
                Kind::Send => self.connections.handle_send(core, token, &completion),
                Kind::Loan => self.connections.handle_loan(core, token, &completion),
                Kind::Datagram => self.datagrams.handle_receive(core, token, &completion),
                Kind::Writable => self.datagrams.handle_writable(core, token),
                Kind::Wake if !cqueue::more(completion.flags()) => self.listen_to_bell(),
                Kind::Wake | Kind::Cancel | Kind::SendTo => {}
            }
        }
        self.completions = completions;
    }

    /// How long the kernel may let us sleep; None without end.
    fn timeout(&self, until: Option<Time>) -> Option<Duration> {
        let deadlines = [until, self.listeners.deadline(), self.datagrams.deadline()];
        let first = deadlines.into_iter().flatten().min()?;
        Some(first.since(clock::sample()))
    }
}

impl Driver for UringDriver {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn now(&self) -> Time {
        self.core.clock.now()
    }

    fn wall(&self) -> NtpTime {
        self.core.clock.wall()
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        self.listeners.listen(&mut self.core, address)
    }

    fn bind(&mut self, address: SocketAddr, options: &UdpOptions) -> io::Result<(Udp, SocketAddr)> {
        self.datagrams.bind(&mut self.core, address, options)
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Conn> {
        self.connections.connect(&mut self.core, address)
    }

    fn attach(&mut self, socket: Detached) -> io::Result<Conn> {
        self.connections.attach(&mut self.core, socket)
    }

    fn submit(&mut self, op: Op) {
        let core = &mut self.core;
        match op {
            Op::Send { conn, pieces } => self.connections.send(conn, pieces),
            Op::SendTo { udp, to, piece, segment } => {
                self.datagrams.send(core, udp, to, piece, segment);
            }
            Op::Stop(conn) => self.connections.stop(core, conn),
            Op::Resume(conn) => self.connections.resume(core, conn),
            Op::Close(conn) => self.connections.close(core, conn),
            Op::Detach(conn) => self.connections.detach(core, conn),
            Op::CloseUdp(udp) => self.datagrams.close(udp),
            Op::CloseListener(listener) => self.listeners.close(core, listener),
        }
    }

    fn turn(&mut self, until: Option<Time>, events: &mut Vec<Event>) -> io::Result<()> {
        let work = clock::sample().since(self.core.clock.now());
        self.core.stats.work.note(work.as_micros() as u64);
        self.core.recycle();
        self.datagrams.hand_over(&mut self.core)?;
        self.connections.hand_over(&mut self.core)?;
        self.listeners.retry(&mut self.core, &mut self.connections);

        let is_idle = self.core.events.is_empty() && !self.core.ring.has_completions();
        let timeout = if is_idle { self.timeout(until) } else { None };
        // To wait for no time at all would still put the thread to sleep and wake it again.
        let may_wait = is_idle && timeout != Some(Duration::ZERO);
        let want = u32::from(may_wait && self.bell.may_sleep());
        let before = self.core.ring.submitted;
        let entered = self.core.ring.enter(want, timeout);
        match self.core.ring.submitted - before {
            0 => {}
            operations => self.core.stats.operations.note(operations),
        }
        self.bell.run();
        self.connections.handed_over();
        self.core.clock.read();
        entered?;

        self.core.ring.reap(|_| false);
        self.act();
        self.datagrams.shed(&mut self.core);
        events.append(&mut self.core.events);
        Ok(())
    }

    fn bytes(&self, span: Span) -> &[u8] {
        let (group, buffer) = ((span.buffer >> 16) as u16, span.buffer as u16);
        match (group, &self.core.ingest) {
            (SMALL_GROUP, _) => self.core.buffers.bytes(buffer, span.offset, span.size),
            (INGEST_GROUP, Some(ingest)) => ingest.bytes(buffer, span.offset, span.size),
            _ => &[],
        }
    }

    fn waker(&self) -> Waker {
        self.bell.clone().into()
    }

    fn stats(&self) -> DriverStats {
        DriverStats { enters: self.core.ring.enters, submitted: self.core.ring.submitted, ..self.core.stats }
    }

    fn need_soon(&self, start: *const u8, bytes: usize) {
        foresight::need_soon(start, bytes);
    }
}

impl Core {
    /// Gives the buffers of the last turn's events back to the kernel.
    fn recycle(&mut self) {
        self.buffers.recycle();
        if let Some(ingest) = &mut self.ingest {
            ingest.recycle();
        }
    }

    /// The large buffers, made at first use.
    fn ingest(&mut self) -> io::Result<&mut Buffers> {
        if self.ingest.is_none() {
            let count = self.ingest_buffers;
            let made = Buffers::register(&mut self.ring, INGEST_GROUP, count, INGEST_BUFFER_BYTES)?;
            self.ingest = Some(made);
        }
        self.ingest.as_mut().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Asks the kernel to end the operation that `token` names.
    fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.pack()).build().user_data(Token::CANCEL.pack());
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(entry) };
    }
}

/// The error that a completion carries; None when it is a success.
fn error_of(completion: &cqueue::Entry) -> Option<io::Error> {
    let result = completion.result();
    (result < 0).then(|| io::Error::from_raw_os_error(-result))
}
