//! A train of datagrams to every viewer, in one send each that the kernel cuts.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use io_uring::types::Fixed;
use io_uring::{IoUring, opcode};

use crate::ring;
use crate::sys::{self, SegmentControl};

/// Messages of one sendmmsg or one io_uring_enter; 16 to 1,000 cost the same.
const MESSAGES_A_CALL: usize = 64;

/// How many messages one call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `sendmsg`.
    One,
    /// `sendmmsg`.
    Many,
}

/// `sendmsg` or `sendmmsg`, a train a viewer.
pub struct Datagrams {
    socket: UdpSocket,
    prepared: Prepared,
    call: Call,
}

impl Datagrams {
    /// Sends from `socket`, which does not wait, to `viewers`; an error where one has no IPv4 address.
    pub fn new(socket: UdpSocket, viewers: &[SocketAddr], call: Call) -> io::Result<Datagrams> {
        Ok(Datagrams { socket, prepared: Prepared::new(viewers)?, call })
    }

    /// Sends to others from now on.
    pub fn set_viewers(&mut self, viewers: &[SocketAddr]) -> io::Result<()> {
        self.prepared = Prepared::new(viewers)?;
        Ok(())
    }

    /// Sends packets of `segment` bytes with a shorter last one, back to back, to every viewer. Returns to how many;
    /// fewer than all when the socket's buffer is full.
    pub fn send(&mut self, train: &[u8], segment: u16) -> io::Result<usize> {
        self.prepared.carry(train, segment);
        match self.call {
            Call::One => self.send_each(),
            Call::Many => self.send_many(),
        }
    }

    fn send_each(&mut self) -> io::Result<usize> {
        let fd = self.socket.as_raw_fd();
        for (index, message) in self.prepared.messages.iter().enumerate() {
            // SAFETY: the header points to memory that `prepared` owns and to the train, which outlives the call.
            let sent = unsafe { libc::sendmsg(fd, &message.msg_hdr, libc::MSG_DONTWAIT) };
            if sent < 0 {
                return full(io::Error::last_os_error(), index);
            }
        }
        Ok(self.prepared.messages.len())
    }

    fn send_many(&mut self) -> io::Result<usize> {
        let fd = self.socket.as_raw_fd();
        let mut total = 0;
        for messages in self.prepared.messages.chunks_mut(MESSAGES_A_CALL) {
            let count = messages.len();
            let first = messages.as_mut_ptr();
            // SAFETY: as in `send_each`, for `count` headers in a row.
            let sent = unsafe { libc::sendmmsg(fd, first, count as _, libc::MSG_DONTWAIT) };
            match sys::check(sent) {
                Ok(sent) => total += sent as usize,
                Err(error) => return full(error, total),
            }
            if sent as usize != count {
                break;
            }
        }
        Ok(total)
    }
}

/// A train a viewer through a ring, with a registered file.
pub struct RingDatagrams {
    ring: IoUring,
    _socket: UdpSocket,
    prepared: Prepared,
}

impl RingDatagrams {
    /// Sends from `socket` to `viewers`; an error where one has no IPv4 address.
    pub fn new(socket: UdpSocket, viewers: &[SocketAddr]) -> io::Result<RingDatagrams> {
        let ring = ring::new()?;
        ring.submitter().register_files(&[socket.as_raw_fd()])?;
        Ok(RingDatagrams { ring, _socket: socket, prepared: Prepared::new(viewers)? })
    }

    /// Sends to others from now on.
    pub fn set_viewers(&mut self, viewers: &[SocketAddr]) -> io::Result<()> {
        self.prepared = Prepared::new(viewers)?;
        Ok(())
    }

    /// Sends packets of `segment` bytes with a shorter last one, back to back, to every viewer. Returns to how many.
    pub fn send(&mut self, train: &[u8], segment: u16) -> io::Result<usize> {
        self.prepared.carry(train, segment);
        let mut total = 0;
        for messages in self.prepared.messages.chunks(MESSAGES_A_CALL) {
            for message in messages {
                let entry = opcode::SendMsg::new(Fixed(0), &message.msg_hdr);
                let entry = entry.flags(libc::MSG_DONTWAIT as u32).build();
                // SAFETY: what the header points to stays until the completions below.
                unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
            }
            let mut failed = None;
            ring::settle(&mut self.ring, messages.len(), |_, result| match result {
                result if result == train.len() as i32 => total += 1,
                result => failed = Some(result),
            })?;
            if let Some(result) = failed {
                return full(io::Error::from_raw_os_error(-result), total);
            }
        }
        Ok(total)
    }
}

/// A message for every viewer; all point to one gather list and one control message.
struct Prepared {
    messages: Box<[libc::mmsghdr]>,
    _names: Box<[libc::sockaddr_in]>,
    list: Box<libc::iovec>,
    control: Box<SegmentControl>,
}

impl Prepared {
    fn new(viewers: &[SocketAddr]) -> io::Result<Prepared> {
        let names: Box<[_]> = viewers.iter().map(|address| sys::name(*address)).collect::<io::Result<_>>()?;
        let mut list = Box::new(libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 });
        let mut control = Box::new(SegmentControl::new(0));
        let message = |name: &libc::sockaddr_in| {
            let mut header = sys::header();
            let name: *const libc::sockaddr_in = name;
            header.msg_name = name.cast_mut().cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as _;
            header.msg_iov = &mut *list;
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = size_of::<SegmentControl>() as _;
            libc::mmsghdr { msg_hdr: header, msg_len: 0 }
        };
        let messages = names.iter().map(message).collect();
        Ok(Prepared { messages, _names: names, list, control })
    }

    fn carry(&mut self, train: &[u8], segment: u16) {
        self.list.iov_base = train.as_ptr().cast_mut().cast();
        self.list.iov_len = train.len();
        self.control.set(segment);
    }
}

/// What a send that failed behind `sent` others comes to: nothing but a full buffer is to be expected.
fn full(error: io::Error, sent: usize) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(sent) } else { Err(error) }
}
