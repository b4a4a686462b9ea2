//! The driver: a runtime, the sockets, and the turn that brings them together.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use proto::io::{Conn, Detached, Driver, DriverStats, Event, Listener, Op, Span, Udp, UdpOptions};
use proto::time::{NtpTime, Time};
use tokio::runtime::Runtime;
use tokio::task::coop;

use crate::clock;
use crate::platform::{self, Timer};
use crate::sockets::Sockets;
use crate::turn::Turn;

/// The driver interface on tokio.
///
/// [`Driver::turn`] must not be called from within another runtime.
#[derive(Debug)]
pub struct TokioDriver {
    /// Before the runtime, so that sockets leave its reactor while it is there.
    sockets: Sockets,
    timer: Timer,
    runtime: Runtime,
}

impl TokioDriver {
    /// A driver without sockets. Errors are those of the system's readiness queue and of its wake-up descriptor.
    pub fn new() -> io::Result<TokioDriver> {
        let runtime = platform::runtime()?;
        let timer = {
            let _context = runtime.enter();
            Timer::new()?
        };
        Ok(TokioDriver { sockets: Sockets::new(), timer, runtime })
    }
}

impl Driver for TokioDriver {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn now(&self) -> Time {
        self.sockets.clock.now()
    }

    fn wall(&self) -> NtpTime {
        self.sockets.clock.wall()
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let _context = self.runtime.enter();
        self.sockets.listen(address)
    }

    fn bind(&mut self, address: SocketAddr, options: &UdpOptions) -> io::Result<(Udp, SocketAddr)> {
        let _context = self.runtime.enter();
        self.sockets.bind(address, options)
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Conn> {
        self.sockets.connect(address)
    }

    fn attach(&mut self, socket: Detached) -> io::Result<Conn> {
        let _context = self.runtime.enter();
        self.sockets.attach(socket)
    }

    fn submit(&mut self, op: Op) {
        self.sockets.submit(op);
    }

    fn turn(&mut self, until: Option<Time>, events: &mut Vec<Event>) -> io::Result<()> {
        let work = clock::sample().since(self.sockets.clock.now());
        self.sockets.stats.work.note(work.as_micros() as u64);
        self.sockets.begin_turn(events);
        let mut turn = Turn::new(&mut self.sockets, &mut self.timer, until, events);
        // Without a budget: hundreds of sockets may be ready in one turn, and all of them belong to it.
        self.runtime.block_on(coop::unconstrained(poll_fn(|cx| turn.poll(cx))));
        self.sockets.clock.read();
        Ok(())
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.sockets.inbox.bytes(span)
    }

    fn waker(&self) -> Waker {
        self.sockets.ready.caller()
    }

    fn stats(&self) -> DriverStats {
        self.sockets.stats
    }
}
