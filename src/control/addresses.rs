//! Where to listen: the addresses of the configuration, or those of the default route's interface and loopback.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Host, Settings};

/// Why there is nowhere to listen.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A name in `serverip` cannot be resolved.
    #[error("serverip \"{name}\" cannot be resolved: {error}")]
    Unresolved {
        /// The name.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// A port cannot be had.
    #[error("cannot listen on {address}: {}; change {setting} or stop the program that has it", reason(.error, address.port()))]
    Port {
        /// The address.
        address: SocketAddr,
        /// The setting that names the port.
        setting: String,
        /// Why not.
        error: io::Error,
    },
}

/// The addresses to listen on.
pub fn hosts(settings: &Settings) -> Result<Vec<IpAddr>, AddressError> {
    let mut hosts = Vec::new();
    for host in &settings.server_ips {
        match host {
            Host::Address(address) => hosts.push(*address),
            Host::Name(name) => {
                let resolved = (name.as_str(), 0)
                    .to_socket_addrs()
                    .map_err(|error| AddressError::Unresolved { name: name.clone(), error })?;
                hosts.extend(resolved.map(|address| address.ip()));
            }
        }
    }
    if hosts.is_empty() {
        hosts = default_hosts();
    }
    let mut unique = Vec::new();
    for host in hosts {
        if !unique.contains(&host) {
            unique.push(host);
        }
    }
    Ok(unique)
}

/// Finds the port to listen on: the one that is set or, where that is only a default and cannot be had, `instead`.
/// Port 0 becomes a free one.
pub fn port(
    hosts: &[IpAddr],
    key: &str,
    port: u16,
    settings: &Settings,
    instead: u16,
) -> Result<u16, AddressError> {
    let error = match claim(hosts, port) {
        Ok(port) => return Ok(port),
        Err(error) => error,
    };
    if settings.is_named(key) {
        let (address, error) = error;
        return Err(AddressError::Port { address, setting: settings.cite(key), error });
    }
    tracing::warn!(
        "port {port} cannot be had ({}); {instead} takes its place: set {key} to choose",
        reason(&error.1, port)
    );
    claim(hosts, instead).map_err(|(address, error)| AddressError::Port {
        address,
        setting: settings.cite(key),
        error,
    })
}

/// Tries a port on all addresses. The shards' own sockets share their address; these do not, so that another program
/// on the port is seen. They never listen: a client that came now would be turned away.
fn claim(hosts: &[IpAddr], port: u16) -> Result<u16, (SocketAddr, io::Error)> {
    let mut port = port;
    let mut held = Vec::new();
    for host in hosts {
        let address = SocketAddr::new(*host, port);
        match hold(address) {
            Ok((socket, bound)) => {
                port = bound.port();
                held.push((socket, bound));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_taken_by_us(host, &held) => {}
            Err(error) => return Err((address, error)),
        }
    }
    Ok(port)
}

/// Whether the port is in use by an address of this list: this attempt's `::` stands for IPv4 as well, the shards' own
/// does not.
fn is_taken_by_us(host: &IpAddr, held: &[(Socket, SocketAddr)]) -> bool {
    let stands_for = |any: &IpAddr, other: &IpAddr| any.is_ipv6() && any.is_unspecified() && other.is_ipv4();
    held.iter().any(|(_, other)| stands_for(host, &other.ip()) || stands_for(&other.ip(), host))
}

fn hold(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix connections that linger from an earlier run are no reason against the port; on Windows the option means
    // that a port may be taken away from its owner.
    socket.set_reuse_address(cfg!(unix))?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, bound))
}

/// The addresses of the default route's interface, and loopback. A UDP socket that is connected, and never sends,
/// shows which address the kernel would send from.
fn default_hosts() -> Vec<IpAddr> {
    // An address set aside for documentation (RFC 3849): routed by the default route everywhere.
    let v6 = routed(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let has_v6_loopback = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let loopback = [Some(Ipv4Addr::LOCALHOST.into()), has_v6_loopback.then(|| Ipv6Addr::LOCALHOST.into())];
    [routed_host(), v6.ok()].into_iter().chain(loopback).flatten().collect()
}

/// The IPv4 address of the default route's interface.
pub fn routed_host() -> Option<IpAddr> {
    // RFC 5737.
    routed(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()).ok()
}

fn routed(local: IpAddr, remote: IpAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
    socket.connect(SocketAddr::new(remote, 9))?;
    Ok(socket.local_addr()?.ip())
}

fn reason(error: &io::Error, port: u16) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied if port < 1024 => {
            format!(
                "ports below 1024 need root or CAP_NET_BIND_SERVICE, and this program has neither for {port}"
            )
        }
        io::ErrorKind::AddrInUse => format!("port {port} is in use"),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}
