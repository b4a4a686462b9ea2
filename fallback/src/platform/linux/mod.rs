//! Linux.

mod burst;
mod multicast;
mod timer;

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use rustix::net::{SendFlags, send};
use socket2::Socket;
use tokio::net::TcpStream;

pub use burst::{BURST_MAX, send_burst, set_segment};
pub use multicast::{group_address, hear_only_joined, interface_index};
pub use timer::{Timer, runtime};

use super::{TCP_SEND_BYTES, TCP_UNSENT_BYTES, UDP_RECEIVE_BYTES, UDP_SEND_BYTES};

/// Nothing is kept for other drivers.
pub type Held = ();

/// A socket that listens on `address`, as `open` makes it: the kernel spreads connections over those of all drivers.
pub fn listen(_: SocketAddr, open: impl FnOnce() -> io::Result<Socket>) -> io::Result<(Socket, Held)> {
    Ok((open()?, ()))
}

/// Options before `bind`. Accepted connections inherit those of TCP (tcp(7), tcp_create_openreq_child).
pub fn prepare_listener(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    prepare_outgoing(socket)
}

/// Options before `connect`.
pub fn prepare_outgoing(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(TCP_UNSENT_BYTES)?;
    socket.set_send_buffer_size(TCP_SEND_BYTES)
}

/// Options after `accept`: all are inherited.
pub fn prepare_accepted(_stream: &TcpStream) {}

/// Sends at once what the socket takes. Without the C library, whose call looks after the end of its thread twice.
pub fn send_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(stream, bytes, SendFlags::NOSIGNAL)?)
}

/// Buffers of a UDP socket: beyond `wmem_max` and `rmem_max` with CAP_NET_ADMIN, else up to them.
pub fn set_udp_buffers(socket: &Socket) {
    if set_socket_send_buffer_size_force(socket, UDP_SEND_BYTES).is_err() {
        // The default remains.
        let _ = socket.set_send_buffer_size(UDP_SEND_BYTES);
    }
    if set_socket_recv_buffer_size_force(socket, UDP_RECEIVE_BYTES).is_err() {
        let _ = socket.set_recv_buffer_size(UDP_RECEIVE_BYTES);
    }
}
