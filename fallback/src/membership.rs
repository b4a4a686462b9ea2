//! Joins multicast groups.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use proto::io::Membership;
use socket2::Socket;

use crate::platform;

/// A group, and how it is to be received: all of one family.
pub enum Joining {
    /// By IPv4; the interface is unspecified where routing decides.
    V4 { group: SocketAddrV4, interface: Ipv4Addr, source: Option<Ipv4Addr> },
    /// By IPv6; the scope names the interface, 0 where routing decides. Sources are told apart by the receiver: there is
    /// no safe call that joins by source, and routers that forward by source alone (RFC 4604) will not do so.
    V6 { group: SocketAddrV6 },
}

impl Joining {
    /// Finds the interface, so that the socket can be made. Errors say what does not fit.
    pub fn new(group: SocketAddr, membership: &Membership) -> io::Result<Joining> {
        if !group.ip().is_multicast() {
            return Err(invalid("the address is not a multicast group's"));
        }
        match (group, membership.interface, membership.source) {
            (SocketAddr::V4(group), None | Some(IpAddr::V4(_)), None | Some(IpAddr::V4(_))) => {
                let v4 = |ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None };
                let interface = membership.interface.and_then(v4).unwrap_or(Ipv4Addr::UNSPECIFIED);
                Ok(Joining::V4 { group, interface, source: membership.source.and_then(v4) })
            }
            (SocketAddr::V6(mut group), interface, None | Some(IpAddr::V6(_))) => {
                match interface {
                    Some(IpAddr::V4(_)) => return Err(families()),
                    Some(IpAddr::V6(ip)) if group.scope_id() == 0 => {
                        group.set_scope_id(platform::interface_index(ip)?);
                    }
                    _ => {}
                }
                Ok(Joining::V6 { group })
            }
            _ => Err(families()),
        }
    }

    /// The group, with its scope.
    pub fn group(&self) -> SocketAddr {
        match self {
            Joining::V4 { group, .. } => (*group).into(),
            Joining::V6 { group } => (*group).into(),
        }
    }

    /// Joins, and has what is sent to groups leave by the same interface.
    pub fn join(&self, socket: &Socket) -> io::Result<()> {
        platform::hear_only_joined(socket, self.group());
        match self {
            Joining::V4 { group, interface, source } => {
                if !interface.is_unspecified() {
                    socket.set_multicast_if_v4(interface)?;
                }
                match source {
                    Some(source) => socket.join_ssm_v4(source, group.ip(), interface),
                    None => socket.join_multicast_v4(group.ip(), interface),
                }
            }
            Joining::V6 { group } => {
                if group.scope_id() != 0 {
                    socket.set_multicast_if_v6(group.scope_id())?;
                }
                socket.join_multicast_v6(group.ip(), group.scope_id())
            }
        }
    }
}

fn families() -> io::Error {
    invalid("group, interface and source are not of one family")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
