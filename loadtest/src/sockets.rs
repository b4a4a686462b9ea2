//! Sockets of the viewers, made before they are given to the ring.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// A pair of ports for one track.
pub struct Ports {
    /// Even port, for RTP.
    pub rtp: UdpSocket,
    /// The next port, for RTCP.
    pub rtcp: UdpSocket,
    /// Number of the even port.
    pub number: u16,
}

/// Binds an even port and the next on the address by which `server` is reached.
pub fn ports(local: SocketAddr, receive_buffer: usize) -> io::Result<Ports> {
    for _ in 0..ATTEMPTS_MAX {
        let rtp = UdpSocket::bind(SocketAddr::new(local.ip(), 0))?;
        let number = rtp.local_addr()?.port();
        if number % 2 == 1 {
            continue;
        }
        let Ok(rtcp) = UdpSocket::bind(SocketAddr::new(local.ip(), number + 1)) else { continue };
        enlarge(&rtp, receive_buffer);
        // Merged datagrams cost one read; without it every packet costs one.
        let _ = set_receive_offload(&rtp);
        return Ok(Ports { rtp, rtcp, number });
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free pair of UDP ports"))
}

/// A connection for RTSP.
pub fn connect(server: SocketAddr, receive_buffer: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    if receive_buffer > 0 {
        let _ = socket.set_recv_buffer_size(receive_buffer);
    }
    socket.set_tcp_nodelay(true)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Allows as many descriptors as the system lets a process have; returns how many.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Beyond `net.core.rmem_max` where allowed, else up to it.
fn enlarge(socket: &UdpSocket, bytes: usize) {
    if set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        let _ = SockRef::from(socket).set_recv_buffer_size(bytes);
    }
}

fn set_receive_offload(socket: &UdpSocket) -> io::Result<()> {
    quinn_udp::UdpSocketState::new(socket.into())?;
    // That made the socket answer at once; the ring is to wait instead.
    socket.set_nonblocking(false)
}

/// Half of the ports that the kernel offers are odd, some pairs are taken.
const ATTEMPTS_MAX: usize = 200;
