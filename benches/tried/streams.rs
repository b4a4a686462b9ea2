//! One send to every viewer's connection through a ring, with and without a copy.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;

use bare::sys;
use io_uring::opcode;
use io_uring::types::{Fd, Fixed};
use ringcaster_benches::compare::Variant;
use ringcaster_benches::frame::Frame;
use ringcaster_benches::sinks::TcpSinks;

use crate::ring::{Bytes, REPORT_USAGE, Ring};

/// Entries of one call into the kernel.
const BATCH: usize = 256;

/// One way to send.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub name: &'static str,
    is_registered: bool,
    bytes: Bytes,
}

pub const WAYS: &[Way] = &[
    Way { name: "base", is_registered: false, bytes: Bytes::Copied },
    Way { name: "registered-file", is_registered: true, bytes: Bytes::Copied },
    Way { name: "lent", is_registered: false, bytes: Bytes::Lent },
    Way { name: "lent-registered", is_registered: false, bytes: Bytes::LentRegistered },
];

/// One way at work.
pub struct Streams {
    way: Way,
    ring: Ring,
    streams: Vec<TcpStream>,
}

impl Streams {
    pub fn new(way: Way, sinks: &TcpSinks) -> io::Result<Streams> {
        let listener = sys::tcp((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let accept = |_| {
            sinks.connect(address)?;
            Ok(listener.accept()?.0)
        };
        let streams = (0..sinks.viewers()).map(accept).collect::<io::Result<Vec<_>>>()?;
        let ring = Ring::new()?;
        ring.register_files(&streams.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>())?;
        Ok(Streams { way, ring, streams })
    }
}

impl Variant for Streams {
    fn name(&self) -> &'static str {
        self.way.name
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        if self.way.bytes == Bytes::LentRegistered {
            self.ring.register(frame)?;
        }
        let (bytes, size) = (frame.interleaved().as_ptr(), frame.interleaved().len() as u32);
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        for (chunk, streams) in self.streams.chunks(BATCH).enumerate() {
            for (index, stream) in streams.iter().enumerate() {
                let fd = Fd(stream.as_raw_fd());
                let entry = match self.way.bytes {
                    Bytes::Copied if self.way.is_registered => {
                        let fixed = Fixed((chunk * BATCH + index) as u32);
                        opcode::Send::new(fixed, bytes, size).flags(flags).build()
                    }
                    Bytes::Copied => opcode::Send::new(fd, bytes, size).flags(flags).build(),
                    lent => {
                        let send = opcode::SendZc::new(fd, bytes, size).flags(flags).zc_flags(REPORT_USAGE);
                        send.buf_index((lent == Bytes::LentRegistered).then_some(1)).build()
                    }
                };
                // SAFETY: the frame outlives the comparison.
                unsafe { self.ring.push(&entry)? };
            }
            self.ring.settle(streams.len(), size as usize)?;
        }
        Ok(())
    }

    fn remark(&self) -> String {
        self.ring.remark()
    }
}
