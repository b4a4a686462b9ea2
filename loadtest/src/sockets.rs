//! Sockets of the clients, made before they are given to the ring.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::UdpGroSegment;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpSocket;

use crate::group::Group;

/// A pair of ports for one track.
pub struct Ports {
    /// For RTP; an even port where it is our own.
    pub rtp: UdpSocket,
    /// The next port, for RTCP.
    pub rtcp: UdpSocket,
    /// Number of the port of RTP.
    pub number: u16,
}

/// Binds an even port and the next on the address of `local`.
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
        let _ = setsockopt(&rtp, UdpGroSegment, &true);
        return Ok(Ports { rtp, rtcp, number });
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free pair of UDP ports"))
}

/// Listens to a group by the interface whose address is `local`.
pub fn group_ports(group: &Group, local: IpAddr, receive_buffer: usize) -> io::Result<Ports> {
    let number = group.address.port();
    let above =
        number.checked_add(1).ok_or_else(|| io::Error::other("the group's port has none above it"))?;
    let rtp = listen(group, number, local)?;
    enlarge(&rtp, receive_buffer);
    let _ = setsockopt(&rtp, UdpGroSegment, &true);
    Ok(Ports { rtp, rtcp: listen(group, above, local)?, number })
}

fn listen(group: &Group, port: u16, local: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(group.address.ip(), port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Others on this machine may listen to it as well.
    socket.set_reuse_address(true)?;
    let place = match (address.ip(), local, group.source) {
        (IpAddr::V4(ip), IpAddr::V4(local), None) => {
            socket.join_multicast_v4(&ip, &local)?;
            address
        }
        (IpAddr::V4(ip), IpAddr::V4(local), Some(IpAddr::V4(source))) => {
            socket.join_ssm_v4(&source, &ip, &local)?;
            address
        }
        (IpAddr::V6(ip), IpAddr::V6(_), _) => {
            let interface = interface_of(local)?;
            socket.join_multicast_v6(&ip, interface)?;
            SocketAddrV6::new(ip, port, 0, interface).into()
        }
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "a group of another family")),
    };
    socket.bind(&place.into())?;
    Ok(socket.into())
}

/// Number of the interface that has an address.
fn interface_of(local: IpAddr) -> io::Result<u32> {
    let has_address = |address: &nix::sys::socket::SockaddrStorage| {
        address.as_sockaddr_in6().is_some_and(|address| IpAddr::V6(address.ip()) == local)
    };
    let found = getifaddrs()?.find(|interface| interface.address.as_ref().is_some_and(has_address));
    let interface = found.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    Ok(if_nametoindex(interface.interface_name.as_str())?)
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As usual: the client's port rests for a minute.
    Orderly,
    /// At once: thousands of connections a second would use up the client's ports.
    Abrupt,
}

/// Connects to an RTSP server; a `receive_buffer` of 0 keeps the system's.
pub async fn connect(server: SocketAddr, receive_buffer: usize, ending: Ending) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if receive_buffer > 0 {
        let _ = socket.set_recv_buffer_size(u32::try_from(receive_buffer).unwrap_or(u32::MAX));
    }
    if ending == Ending::Abrupt {
        socket.set_zero_linger()?;
    }
    socket.set_nodelay(true)?;
    let stream = socket.connect(server).await?.into_std()?;
    // The ring is to wait where a socket is not ready.
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Sends packets of `segment` bytes with a shorter last one, back to back, to where the socket is connected.
pub fn send_train(socket: &UdpSocket, train: &[u8], segment: u16) -> io::Result<()> {
    let control = [ControlMessage::UdpGsoSegments(&segment)];
    let list = [IoSlice::new(train)];
    sendmsg::<()>(socket.as_raw_fd(), &list, &control, MsgFlags::empty(), None)?;
    Ok(())
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

/// Half of the ports that the kernel offers are odd, some pairs are taken.
const ATTEMPTS_MAX: usize = 200;
