//! Multicast: what a socket hears, and the interface that has an address.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::Socket;

/// Where a socket that receives `group` is bound: to the group, so that it hears no other datagrams of that port.
pub fn group_address(group: SocketAddr) -> SocketAddr {
    group
}

/// Has a socket hear groups only as it has joined them. By default it also hears what others have joined, on other
/// interfaces and from other sources. Before Linux 4.20 that stays so with IPv6.
pub fn hear_only_joined(socket: &Socket, group: SocketAddr) {
    let _ = match group {
        SocketAddr::V4(_) => socket.set_multicast_all_v4(false),
        SocketAddr::V6(_) => socket.set_multicast_all_v6(false),
    };
}

/// The index of the interface that has an address.
pub fn interface_index(ip: Ipv6Addr) -> io::Result<u32> {
    let interface = getifaddrs()?.find(|interface| {
        let address = interface.address.as_ref().and_then(|address| address.as_sockaddr_in6());
        address.is_some_and(|address| address.ip() == ip)
    });
    let interface = interface.ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(if_nametoindex(interface.interface_name.as_str())?)
}
