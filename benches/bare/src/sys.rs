//! The calls and headers beneath the loops, and sockets with the options that the server's have.

use std::ffi::c_int;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// The control message that has a train cut.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

impl SegmentControl {
    /// Cuts into packets of `segment` bytes.
    pub fn new(segment: u16) -> SegmentControl {
        let header = libc::cmsghdr {
            cmsg_len: (size_of::<libc::cmsghdr>() + 2) as _,
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        };
        SegmentControl { header, segment, padding: [0; 6] }
    }

    /// Cuts into packets of that size from now on.
    pub fn set(&mut self, segment: u16) {
        self.segment = segment;
    }
}

/// An IPv4 address in the kernel's form; an error for any other.
pub fn name(address: SocketAddr) -> io::Result<libc::sockaddr_in> {
    let SocketAddr::V4(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    Ok(libc::sockaddr_in {
        sin_family: libc::AF_INET as _,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    })
}

/// An empty message header.
pub fn header() -> libc::msghdr {
    // SAFETY: the header is plain integers and pointers, for which zero is a value.
    unsafe { mem::zeroed() }
}

/// A UDP socket that does not wait.
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    let fd = socket.as_raw_fd();
    if set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 8 << 20).is_err() {
        set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 8 << 20)?;
    }
    set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A listener whose connections inherit the options.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    let fd = listener.as_raw_fd();
    set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 32 * 1024)?;
    Ok(listener)
}

/// Sets an option of a socket.
pub fn set(fd: RawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let pointer: *const c_int = &value;
    // SAFETY: the pointer leads to an int of the size given.
    check(unsafe { libc::setsockopt(fd, level, option, pointer.cast(), size_of::<c_int>() as _) })?;
    Ok(())
}

/// The result of a call, or its error.
pub fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
