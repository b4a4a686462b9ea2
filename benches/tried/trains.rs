//! A train of datagrams to every viewer through a ring, in the ways that were tried.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use bare::sys::{self, SegmentControl};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use ringcaster_benches::compare::Variant;
use ringcaster_benches::frame::{Frame, SEGMENT};

use crate::ring::{Bytes, REPORT_USAGE, Ring};

/// One way to send.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub name: &'static str,
    form: Form,
    /// Entries of one call into the kernel.
    batch: usize,
    files: Files,
    bytes: Bytes,
}

/// How the kernel learns where a train goes, and how it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// SEND with an address, from a socket that is set to a segment's size.
    Address,
    /// SENDMSG: name, gather list and control message, the last two shared by all viewers.
    Message,
    /// SENDMSG with a gather list and a control message for every viewer.
    OwnMessage,
    /// SEND from a socket for every viewer, connected and set to a segment's size.
    Connected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Registered,
    Plain,
}

/// What the server does, but for its driver: the base of all tables.
const BASE: Way =
    Way { name: "base", form: Form::Address, batch: 256, files: Files::Registered, bytes: Bytes::Copied };

pub const WAYS: &[Way] = &[
    BASE,
    Way { name: "batch-1", batch: 1, ..BASE },
    Way { name: "batch-16", batch: 16, ..BASE },
    Way { name: "batch-64", batch: 64, ..BASE },
    Way { name: "batch-1000", batch: 1000, ..BASE },
    Way { name: "plain-file", files: Files::Plain, ..BASE },
    Way { name: "message", form: Form::Message, ..BASE },
    Way { name: "message-own", form: Form::OwnMessage, ..BASE },
    Way { name: "connected", form: Form::Connected, ..BASE },
    Way { name: "connected-batch-1000", form: Form::Connected, batch: 1000, ..BASE },
    Way { name: "connected-plain-file", form: Form::Connected, files: Files::Plain, ..BASE },
];

/// With and without a copy.
pub const LOANS: &[Way] = &[
    BASE,
    Way { name: "lent", bytes: Bytes::Lent, ..BASE },
    Way { name: "lent-registered", bytes: Bytes::LentRegistered, ..BASE },
];

/// One way at work.
pub struct Trains {
    way: Way,
    ring: Ring,
    /// One for all, or one each.
    sockets: Vec<UdpSocket>,
    names: Box<[libc::sockaddr_in]>,
    messages: Box<[libc::msghdr]>,
    lists: Box<[libc::iovec]>,
    controls: Box<[SegmentControl]>,
}

impl Trains {
    pub fn new(way: Way, viewers: &[SocketAddr]) -> io::Result<Trains> {
        let names: Box<[_]> = viewers.iter().map(|address| sys::name(*address)).collect::<io::Result<_>>()?;
        let is_local = viewers.iter().all(|address| address.ip().is_loopback());
        let from = if is_local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let bind = || sys::udp((from, 0).into());
        let sockets = match way.form {
            Form::Connected => {
                viewers.iter().map(|viewer| connect(bind()?, *viewer)).collect::<io::Result<_>>()?
            }
            Form::Address | Form::Message | Form::OwnMessage => vec![bind()?],
        };
        if matches!(way.form, Form::Address | Form::Connected) {
            for socket in &sockets {
                sys::set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT.into())?;
            }
        }
        let ring = Ring::new()?;
        if way.files == Files::Registered {
            ring.register_files(&sockets.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>())?;
        }
        let (lists, controls, messages) = match way.form {
            Form::Message => messages(&names, 1),
            Form::OwnMessage => messages(&names, viewers.len()),
            Form::Address | Form::Connected => Default::default(),
        };
        Ok(Trains { way, ring, sockets, names, messages, lists, controls })
    }

    fn entry(&self, viewer: usize, frame: &Frame) -> squeue::Entry {
        let socket = if self.way.form == Form::Connected { viewer } else { 0 };
        let (fd, file_flags) = match self.way.files {
            Files::Registered => (Fd(socket as i32), squeue::Flags::FIXED_FILE),
            Files::Plain => (Fd(self.sockets[socket].as_raw_fd()), squeue::Flags::empty()),
        };
        let (name, name_bytes) = match self.way.form {
            Form::Connected => (ptr::null(), 0),
            _ => ((&raw const self.names[viewer]).cast(), size_of::<libc::sockaddr_in>() as _),
        };
        let (bytes, size) = (frame.rtp().as_ptr(), frame.rtp().len() as u32);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let entry = match (self.way.form, self.way.bytes) {
            (Form::Message | Form::OwnMessage, _) => {
                opcode::SendMsg::new(fd, &self.messages[viewer]).flags(flags as u32).build()
            }
            (_, Bytes::Copied) => {
                let send = opcode::Send::new(fd, bytes, size).flags(flags);
                send.dest_addr(name).dest_addr_len(name_bytes).build()
            }
            (_, lent) => {
                let send = opcode::SendZc::new(fd, bytes, size).flags(flags).zc_flags(REPORT_USAGE);
                let send = send.buf_index((lent == Bytes::LentRegistered).then_some(0));
                send.dest_addr(name).dest_addr_len(name_bytes).build()
            }
        };
        entry.flags(file_flags)
    }
}

impl Variant for Trains {
    fn name(&self) -> &'static str {
        self.way.name
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        if self.way.bytes == Bytes::LentRegistered {
            self.ring.register(frame)?;
        }
        for list in &mut self.lists {
            list.iov_base = frame.rtp().as_ptr().cast_mut().cast();
            list.iov_len = frame.rtp().len();
        }
        for control in &mut self.controls {
            control.set(SEGMENT);
        }
        let viewers = self.names.len();
        for first in (0..viewers).step_by(self.way.batch) {
            let last = viewers.min(first + self.way.batch);
            for viewer in first..last {
                let entry = self.entry(viewer, frame);
                // SAFETY: names and messages are ours and never move; the frame outlives the comparison.
                unsafe { self.ring.push(&entry)? };
            }
            self.ring.settle(last - first, frame.rtp().len())?;
        }
        Ok(())
    }

    fn remark(&self) -> String {
        self.ring.remark()
    }
}

fn connect(socket: UdpSocket, viewer: SocketAddr) -> io::Result<UdpSocket> {
    socket.connect(viewer)?;
    Ok(socket)
}

type Messages = (Box<[libc::iovec]>, Box<[SegmentControl]>, Box<[libc::msghdr]>);

/// A message for every name, with `count` gather lists and control messages among them: one, or one each.
fn messages(names: &[libc::sockaddr_in], count: usize) -> Messages {
    let mut lists: Box<[_]> = vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; count].into();
    let mut controls: Box<[_]> = vec![SegmentControl::new(0); count].into();
    let message = |(index, name): (usize, &libc::sockaddr_in)| {
        let mut header = sys::header();
        header.msg_name = ptr::from_ref(name).cast_mut().cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as _;
        header.msg_iov = &raw mut lists[index % count];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut controls[index % count]).cast();
        header.msg_controllen = size_of::<SegmentControl>() as _;
        header
    };
    let messages = names.iter().enumerate().map(message).collect();
    (lists, controls, messages)
}
