//! Bare loops: what the kernel's interfaces cost with nothing around them.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, opcode};

use crate::frame::{Frame, SEGMENT};
use crate::sinks::{TcpSinks, UdpSinks};
use crate::sys::{self, SegmentControl};
use crate::{Maker, Variant};

/// Messages of one sendmmsg or one io_uring_enter; 16 to 1,000 cost the same.
const MESSAGES_A_CALL: usize = 64;

/// Sends of one io_uring_enter over TCP, where more are a little cheaper.
const SENDS_A_CALL: usize = 256;

pub const UDP: &[Maker<UdpSinks>] = &[
    Maker { name: "sendmmsg+gso", make: |sinks| Ok(Box::new(Messages::new(sinks, Call::Many)?)) },
    Maker { name: "sendmsg+gso", make: |sinks| Ok(Box::new(Messages::new(sinks, Call::One)?)) },
    Maker { name: "sendto", make: |sinks| Ok(Box::new(SendTo::new(sinks)?)) },
    Maker { name: "uring-bare+gso", make: |sinks| Ok(Box::new(RingMessages::new(sinks)?)) },
];

pub const TCP: &[Maker<TcpSinks>] = &[
    Maker { name: "send", make: |sinks| Ok(Box::new(Send { streams: accept(sinks)? })) },
    Maker { name: "uring-bare", make: |sinks| Ok(Box::new(RingSend::new(sinks)?)) },
];

/// A message for every viewer; all point to one gather list and one control message.
struct Prepared {
    messages: Box<[libc::mmsghdr]>,
    _names: Box<[libc::sockaddr_in]>,
    list: Box<libc::iovec>,
    _control: Box<SegmentControl>,
}

impl Prepared {
    fn new(sinks: &UdpSinks) -> Prepared {
        let names: Box<[_]> = sinks.addresses().iter().map(|address| sys::name(*address)).collect();
        let mut list = Box::new(libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 });
        let mut control = Box::new(SegmentControl::new(SEGMENT));
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
        Prepared { messages, _names: names, list, _control: control }
    }

    fn carry(&mut self, frame: &Frame) {
        self.list.iov_base = frame.rtp().as_ptr().cast_mut().cast();
        self.list.iov_len = frame.rtp().len();
    }
}

enum Call {
    One,
    Many,
}

/// `sendmsg` or `sendmmsg`, a train a viewer.
struct Messages {
    socket: UdpSocket,
    prepared: Prepared,
    call: Call,
}

impl Messages {
    fn new(sinks: &UdpSinks, call: Call) -> io::Result<Messages> {
        Ok(Messages { socket: sys::udp()?, prepared: Prepared::new(sinks), call })
    }
}

impl Variant for Messages {
    fn name(&self) -> &'static str {
        match self.call {
            Call::One => "sendmsg+gso",
            Call::Many => "sendmmsg+gso",
        }
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.prepared.carry(frame);
        let fd = self.socket.as_raw_fd();
        match self.call {
            Call::One => {
                for message in &self.prepared.messages {
                    // SAFETY: the header points to memory that `prepared` and the frame own.
                    whole(frame, unsafe { libc::sendmsg(fd, &message.msg_hdr, libc::MSG_DONTWAIT) })?;
                }
            }
            Call::Many => {
                for messages in self.prepared.messages.chunks_mut(MESSAGES_A_CALL) {
                    let count = messages.len();
                    let first = messages.as_mut_ptr();
                    // SAFETY: as above, for `count` headers in a row.
                    let sent = unsafe { libc::sendmmsg(fd, first, count as _, libc::MSG_DONTWAIT) };
                    if sys::check(sent)? as usize != count {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
            }
        }
        Ok(())
    }
}

fn whole(frame: &Frame, sent: isize) -> io::Result<()> {
    match sent {
        sent if sent == frame.rtp().len() as isize => Ok(()),
        sent if sent < 0 => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// `sendto`, packet by packet.
struct SendTo {
    socket: UdpSocket,
    viewers: Vec<std::net::SocketAddr>,
}

impl SendTo {
    fn new(sinks: &UdpSinks) -> io::Result<SendTo> {
        Ok(SendTo { socket: sys::udp()?, viewers: sinks.addresses().to_vec() })
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

/// A ring as the driver's, without a driver.
fn ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(4096);
    builder.build(1024)
}

/// A train a viewer through a ring, with a registered file.
struct RingMessages {
    ring: IoUring,
    _socket: UdpSocket,
    prepared: Prepared,
}

impl RingMessages {
    fn new(sinks: &UdpSinks) -> io::Result<RingMessages> {
        let (ring, socket) = (ring()?, sys::udp()?);
        ring.submitter().register_files(&[socket.as_raw_fd()])?;
        Ok(RingMessages { ring, _socket: socket, prepared: Prepared::new(sinks) })
    }
}

impl Variant for RingMessages {
    fn name(&self) -> &'static str {
        "uring-bare+gso"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.prepared.carry(frame);
        for messages in self.prepared.messages.chunks(MESSAGES_A_CALL) {
            for message in messages {
                let entry = opcode::SendMsg::new(Fixed(0), &message.msg_hdr);
                let entry = entry.flags(libc::MSG_DONTWAIT as u32).build();
                // SAFETY: what the header points to stays until the completions below.
                unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
            }
            settle(&mut self.ring, messages.len(), frame.rtp().len())?;
        }
        Ok(())
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
    ring: IoUring,
    streams: Vec<TcpStream>,
}

impl RingSend {
    fn new(sinks: &TcpSinks) -> io::Result<RingSend> {
        Ok(RingSend { ring: ring()?, streams: accept(sinks)? })
    }
}

impl Variant for RingSend {
    fn name(&self) -> &'static str {
        "uring-bare"
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.interleaved();
        for streams in self.streams.chunks(SENDS_A_CALL) {
            for stream in streams {
                let fd = Fd(stream.as_raw_fd());
                let entry = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32);
                let entry = entry.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
                // SAFETY: the frame stays until the completions below.
                unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
            }
            settle(&mut self.ring, streams.len(), bytes.len())?;
        }
        Ok(())
    }
}

/// Submits, waits for `count` completions and checks that each carried `size` bytes.
fn settle(ring: &mut IoUring, count: usize, size: usize) -> io::Result<()> {
    ring.submit_and_wait(count)?;
    let mut done = 0;
    for completion in ring.completion() {
        done += 1;
        match completion.result() {
            result if result == size as i32 => {}
            result if result < 0 => return Err(io::Error::from_raw_os_error(-result)),
            _ => return Err(io::ErrorKind::WriteZero.into()),
        }
    }
    if done == count { Ok(()) } else { Err(io::Error::other("completions are missing")) }
}

/// Connects all viewers to a listener with the server's options.
pub fn accept(sinks: &TcpSinks) -> io::Result<Vec<TcpStream>> {
    let listener = sys::tcp()?;
    let address = listener.local_addr()?;
    let accept = |_| {
        sinks.connect(address)?;
        Ok(listener.accept()?.0)
    };
    (0..sinks.viewers()).map(accept).collect()
}
