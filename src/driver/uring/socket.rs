//! Sockets before the ring has them: made, bound, with every option set; and addresses in the kernel's form.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_void, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use proto::io::UdpOptions;

use super::membership::{Joining, interface_index};

/// Connections that wait to be accepted. The kernel clamps it to net.core.somaxconn.
const BACKLOG: c_int = 4096;

/// Bytes not yet sent above which a connection takes no more: what lies deeper in the kernel is latency that
/// no viewer can skip (a default socket hides 1.7 s of a 4 Mbit/s stream).
const NOT_SENT_BYTES_MAX: c_int = 32 * 1024;

/// Send buffer of a UDP socket that serves every viewer of a shard: about 480 frames of 16 kB.
const SEND_BUFFER_BYTES: c_int = 8 << 20;

/// Receive buffer of a UDP socket.
const RECEIVE_BUFFER_BYTES: c_int = 1 << 20;

/// A listening TCP socket. Accepted connections inherit its options.
pub(super) fn listen(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = open(address, libc::SOCK_STREAM)?;
    let fd = socket.as_raw_fd();
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    set_stream(fd)?;
    bind_to(fd, address)?;
    // SAFETY: no pointers are passed.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    let bound = local_address(fd)?;
    Ok((socket, bound))
}

/// A TCP socket that is to connect to `address`.
pub(super) fn outgoing(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(address, libc::SOCK_STREAM)?;
    set_stream(socket.as_raw_fd())?;
    Ok(socket)
}

/// A bound UDP socket, in the group that the address is.
pub(super) fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<(OwnedFd, SocketAddr)> {
    let joining = options.membership.as_ref().map(|wanted| Joining::new(address, wanted)).transpose()?;
    let address = joining.as_ref().map_or(address, |joining| joining.group);
    let socket = open(address, libc::SOCK_DGRAM)?;
    let fd = socket.as_raw_fd();
    // Several may receive one group. Elsewhere two would take each other's datagrams, also by chance: the kernel gives
    // shared sockets that ask for any port one that another has.
    if address.ip().is_multicast() {
        set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if options.ingest {
        // Before Linux 5.0 datagrams come one by one.
        let _ = set(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
    }
    set_buffers(fd);
    set_multicast(fd, address, options.multicast_ttl)?;
    set_probing(fd, address)?;
    bind_to(fd, address)?;
    if let Some(joining) = joining {
        joining.join(fd)?;
    }
    let bound = local_address(fd)?;
    Ok((socket, bound))
}

/// Sends no more, receives no more: the peer sees the end, and whatever waits for this socket ends.
pub(super) fn shut_down(socket: &OwnedFd) {
    // SAFETY: no pointers are passed. The error of a connection that is gone already tells nothing new.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Throws away what was received and not read: closing with it would reset the connection and so take
/// back the last bytes that were sent.
pub(super) fn discard_input(socket: &OwnedFd) {
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: TCP writes nothing into the buffer when MSG_TRUNC is set.
    unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), c_int::MAX as usize, flags) };
}

/// The address a socket is bound to.
pub(super) fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    address_by(fd, libc::getsockname)
}

/// The address a connection leads to.
pub(super) fn peer_address(fd: RawFd) -> io::Result<SocketAddr> {
    address_by(fd, libc::getpeername)
}

fn address_by(
    fd: RawFd,
    ask: unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int,
) -> io::Result<SocketAddr> {
    let mut bytes = [0u8; size_of::<sockaddr_in6>()];
    let mut size = bytes.len() as socklen_t;
    // SAFETY: `bytes` has room for `size` bytes, and the kernel does not ask for alignment.
    check(unsafe { ask(fd, bytes.as_mut_ptr().cast(), &mut size) })?;
    let size = (size as usize).min(bytes.len());
    parse_address(&bytes[..size]).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Whether this kernel can cut trains (UDP_SEGMENT, Linux 4.18).
pub(super) fn has_segmentation() -> bool {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    open(any, libc::SOCK_DGRAM)
        .is_ok_and(|socket| set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1400).is_ok())
}

fn open(address: SocketAddr, kind: c_int) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was made above and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if address.is_ipv6() {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    Ok(socket)
}

/// What every connection has: no delay, and the bound of what is not yet sent.
fn set_stream(fd: RawFd) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, NOT_SENT_BYTES_MAX)
}

/// The wanted buffers where we may have them, else the largest that the system's bounds allow.
fn set_buffers(fd: RawFd) {
    let buffers = [
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES),
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES),
    ];
    for (forced, plain, bytes) in buffers {
        if set(fd, libc::SOL_SOCKET, forced, bytes).is_err() {
            // The kernel clamps instead of failing.
            let _ = set(fd, libc::SOL_SOCKET, plain, bytes);
        }
    }
}

/// Multicast leaves by the interface that has the address, or by the route's where it is any.
fn set_multicast(fd: RawFd, address: SocketAddr, ttl: u8) -> io::Result<()> {
    match address {
        SocketAddr::V4(address) => {
            set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, c_int::from(ttl))?;
            let interface = c_int::from_ne_bytes(address.ip().octets());
            // An address that is no interface's fails at bind, with a better error.
            let _ = set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, interface);
            Ok(())
        }
        SocketAddr::V6(address) => {
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, c_int::from(ttl))?;
            // A group's own socket leaves it to its membership.
            if !address.ip().is_multicast()
                && let Ok(interface) = interface_index(IpAddr::V6(*address.ip()))
            {
                let _ = set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, interface as c_int);
            }
            Ok(())
        }
    }
}

/// Never fragments: sets DF without believing in path MTUs, which also spares the choice of an IP identification.
fn set_probing(fd: RawFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        SocketAddr::V6(_) => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    }
}

fn bind_to(fd: RawFd, address: SocketAddr) -> io::Result<()> {
    let mut name = Name::default();
    let size = name.set(address);
    // SAFETY: name holds an address of `size` bytes.
    check(unsafe { libc::bind(fd, name.as_ptr().cast(), size) })?;
    Ok(())
}

/// Sets an option whose value is an int.
pub(super) fn set(fd: RawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    set_value(fd, level, option, &value)
}

/// Sets an option whose value is one of the kernel's own types, or an int.
pub(super) fn set_value<T: Copy>(fd: RawFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as socklen_t;
    let pointer: *const T = value;
    // SAFETY: the pointer leads to a value of `size` bytes.
    check(unsafe { libc::setsockopt(fd, level, option, pointer.cast::<c_void>(), size) })?;
    Ok(())
}

/// The result of a system call, or its error.
pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An address in the kernel's form, of either family.
#[derive(Clone, Copy)]
pub(super) union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Default for Name {
    fn default() -> Name {
        // SAFETY: the address is plain integers, for which zero is a value.
        unsafe { mem::zeroed() }
    }
}

impl Name {
    /// Writes an address and returns its size.
    pub(super) fn set(&mut self, address: SocketAddr) -> socklen_t {
        match address {
            SocketAddr::V4(address) => {
                self.v4 = sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                size_of::<sockaddr_in>() as socklen_t
            }
            SocketAddr::V6(address) => {
                self.v6 = sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                size_of::<sockaddr_in6>() as socklen_t
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *const Name {
        self
    }
}

/// Reads an address that the kernel wrote; None for another family.
pub(super) fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.first_chunk().copied()?);
    let port = u16::from_be_bytes(bytes.get(2..)?.first_chunk().copied()?);
    match c_int::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = bytes.get(4..)?.first_chunk().copied()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(bytes.get(4..)?.first_chunk().copied()?);
            let ip: [u8; 16] = bytes.get(8..)?.first_chunk().copied()?;
            let scope = u32::from_ne_bytes(bytes.get(24..)?.first_chunk().copied()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_know_their_addresses() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (_socket, bound) = listen(any.parse().unwrap()).unwrap();
            assert_eq!(bound.ip(), any.parse::<SocketAddr>().unwrap().ip());
            assert_ne!(bound.port(), 0);
            let (_socket, bound) = bind(any.parse().unwrap(), &UdpOptions::default()).unwrap();
            assert_ne!(bound.port(), 0);
        }
    }

    #[test]
    fn accepted_connections_inherit_what_listeners_were_given() {
        let (listener, address) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = std::net::TcpListener::from(listener);
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_has_options(accepted);
    }

    #[test]
    fn connections_that_are_opened_have_the_same_options() {
        for address in ["127.0.0.1:554", "[::1]:554"] {
            assert_has_options(outgoing(address.parse().unwrap()).unwrap().into());
        }
    }

    fn assert_has_options(stream: std::net::TcpStream) {
        assert!(stream.nodelay().unwrap());
        let mut value: c_int = 0;
        let mut size = size_of::<c_int>() as socklen_t;
        let pointer: *mut c_int = &mut value;
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
        // SAFETY: the pointer leads to an int of `size` bytes.
        unsafe { libc::getsockopt(stream.as_raw_fd(), level, option, pointer.cast(), &mut size) };
        assert_eq!(value, NOT_SENT_BYTES_MAX);
    }
}
