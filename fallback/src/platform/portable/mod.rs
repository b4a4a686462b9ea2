//! Windows and every other system.

mod listening;
mod timer;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::get_if_addrs;
use proto::io::Piece;
use socket2::{SockRef, Socket};
use tokio::net::{TcpStream, UdpSocket};

pub use listening::{Held, listen};
pub use timer::{Timer, runtime};

use super::{TCP_SEND_BYTES, UDP_RECEIVE_BYTES, UDP_SEND_BYTES};

/// Datagrams or trains of one call: they go one by one.
pub const BURST_MAX: usize = 0;

/// Never called, for [`BURST_MAX`] is 0.
pub fn set_segment(_socket: &UdpSocket, _segment: u16) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Never called, for [`BURST_MAX`] is 0.
pub fn send_burst(_socket: &UdpSocket, _entries: &[(SocketAddr, &Piece)]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Options before `bind`. SO_REUSEADDR would let another program take the port away on Windows, where a port in
/// TIME_WAIT can be bound without it.
pub fn prepare_listener(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Options before `connect`. Where one is refused, the system's default remains.
pub fn prepare_outgoing(socket: &Socket) -> io::Result<()> {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(TCP_SEND_BYTES);
    Ok(())
}

/// Options after `accept`. Where one is refused, the system's default remains.
pub fn prepare_accepted(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_send_buffer_size(TCP_SEND_BYTES);
}

/// Sends at once what the socket takes.
pub fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(stream).send(bytes)
}

/// Buffers of a UDP socket. Where one is refused, the system's default remains.
pub fn set_udp_buffers(socket: &Socket) {
    let _ = socket.set_send_buffer_size(UDP_SEND_BYTES);
    let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BYTES);
}

/// Where a socket that receives `group` is bound: Windows binds none to a group, so it hears all datagrams of the port.
pub fn group_address(group: SocketAddr) -> SocketAddr {
    let any =
        if group.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(any, group.port())
}

/// Nothing to do: a socket hears what it has joined.
pub fn hear_only_joined(_socket: &Socket, _group: SocketAddr) {}

/// The index of the interface that has an address.
pub fn interface_index(ip: Ipv6Addr) -> io::Result<u32> {
    let interfaces = get_if_addrs()?;
    let own = interfaces.iter().find(|interface| interface.ip() == ip);
    // Wine tells it with an interface's addresses of IPv4 alone.
    let index =
        own.and_then(|own| interfaces.iter().filter(|it| it.name == own.name).find_map(|it| it.index));
    index.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
