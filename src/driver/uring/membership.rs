//! Joins multicast groups, by either family and from one source or all.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, group_req, group_source_req, ifaddrs, sockaddr_storage};
use proto::io::Membership;

use super::socket::{Name, check, parse_address, set, set_value};

/// A group, and the interface and the source that it is received from: all of one family.
pub(super) struct Joining {
    /// The group, with its scope where an interface is given.
    pub(super) group: SocketAddr,
    /// Index of the interface; 0 where routing decides.
    interface: u32,
    source: Option<IpAddr>,
}

impl Joining {
    /// Finds the interface, so that the socket can be made. Errors say what does not fit.
    pub(super) fn new(group: SocketAddr, membership: &Membership) -> io::Result<Joining> {
        if !group.ip().is_multicast() {
            return Err(invalid("the address is not a multicast group's"));
        }
        let others = [membership.interface, membership.source];
        if others.into_iter().flatten().any(|ip| ip.is_ipv4() != group.is_ipv4()) {
            return Err(invalid("group, interface and source are not of one family"));
        }
        let (mut group, source) = (group, membership.source);
        let scope = if let SocketAddr::V6(group) = group { group.scope_id() } else { 0 };
        let interface = match membership.interface {
            Some(ip) if scope == 0 => interface_index(ip)?,
            _ => scope,
        };
        if let SocketAddr::V6(group) = &mut group {
            group.set_scope_id(interface);
        }
        Ok(Joining { group, interface, source })
    }

    /// Joins, and has what is sent to groups leave by the same interface.
    pub(super) fn join(&self, fd: RawFd) -> io::Result<()> {
        let interface = self.interface;
        let level = if self.group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
        self.hear_only_joined(fd);
        if interface != 0 {
            self.send_by_interface(fd)?;
        }
        let gr_group = storage(self.group.ip());
        match self.source.map(storage) {
            None => {
                let request = group_req { gr_interface: interface, gr_group };
                set_value(fd, level, libc::MCAST_JOIN_GROUP, &request)
            }
            Some(gsr_source) => {
                let request = group_source_req { gsr_interface: interface, gsr_group: gr_group, gsr_source };
                set_value(fd, level, libc::MCAST_JOIN_SOURCE_GROUP, &request)
            }
        }
    }

    /// By default a socket also hears what others have joined, on other interfaces and from other sources. Before
    /// Linux 4.20 that stays so with IPv6.
    fn hear_only_joined(&self, fd: RawFd) {
        let _ = match self.group {
            SocketAddr::V4(_) => set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0),
            SocketAddr::V6(_) => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, 0),
        };
    }

    fn send_by_interface(&self, fd: RawFd) -> io::Result<()> {
        let index = self.interface as c_int;
        match self.group {
            SocketAddr::V4(_) => {
                let request = libc::ip_mreqn {
                    imr_multiaddr: libc::in_addr { s_addr: 0 },
                    imr_address: libc::in_addr { s_addr: 0 },
                    imr_ifindex: index,
                };
                set_value(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
            }
            SocketAddr::V6(_) => set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index),
        }
    }
}

/// The index of the interface that has an address.
pub(super) fn interface_index(ip: IpAddr) -> io::Result<u32> {
    let mut first: *mut ifaddrs = ptr::null_mut();
    // SAFETY: the pointer leads to room for a pointer.
    check(unsafe { libc::getifaddrs(&mut first) })?;
    let mut index = 0;
    let mut next = first;
    while index == 0 && !next.is_null() {
        // SAFETY: getifaddrs made the list, and it is freed below.
        let entry = unsafe { &*next };
        if address_of(entry) == Some(ip) {
            // SAFETY: the name is a string of the entry.
            index = unsafe { libc::if_nametoindex(entry.ifa_name) };
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list comes from getifaddrs, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(first) };
    if index == 0 { Err(io::ErrorKind::AddrNotAvailable.into()) } else { Ok(index) }
}

/// The address of an entry; None where it has none, or of another family.
fn address_of(entry: &ifaddrs) -> Option<IpAddr> {
    // SAFETY: an address that is there has a family.
    let family = unsafe { entry.ifa_addr.as_ref() }?.sa_family;
    let size = match c_int::from(family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    // SAFETY: an address of this family has this size.
    let bytes = unsafe { std::slice::from_raw_parts(entry.ifa_addr.cast::<u8>(), size) };
    Some(parse_address(bytes)?.ip())
}

fn storage(ip: IpAddr) -> sockaddr_storage {
    let mut name = Name::default();
    name.set(SocketAddr::new(ip, 0));
    // SAFETY: the storage is plain integers, for which zero is a value.
    let mut storage: sockaddr_storage = unsafe { mem::zeroed() };
    let pointer: *mut sockaddr_storage = &mut storage;
    // SAFETY: the storage has the size and the alignment for every address.
    unsafe { pointer.cast::<Name>().write(name) };
    storage
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
