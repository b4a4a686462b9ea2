//! Where to listen: the addresses of the configuration, or those of the default route's interface and loopback.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::lookup::Lookup;
use crate::config::Settings;

/// How long the port of a server that has just been killed may stay in use.
const FREED_WITHIN: Duration = Duration::from_secs(1);

/// Why there is nowhere to listen.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A name cannot be resolved.
    #[error("{setting} \"{name}\" cannot be resolved: {error}")]
    Unresolved {
        /// The setting that has it.
        setting: String,
        /// The name.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// A port cannot be had.
    #[error("cannot listen on {address}: {}; {}", reason(.error, address.port()), advice(.error, setting))]
    Port {
        /// The address.
        address: SocketAddr,
        /// The setting that names the port.
        setting: String,
        /// Why not.
        error: io::Error,
    },
    /// Multicast has no interface that routing leads to.
    #[error("no route leads to {group} ({error}); name an interface in multicast_interface")]
    Unrouted {
        /// The group.
        group: IpAddr,
        /// Why not.
        error: io::Error,
    },
    /// The interface of multicast is not there.
    #[error("{setting}: \"{name}\" is no interface with an {family} address; there are {there}")]
    Interface {
        /// The setting that names it.
        setting: String,
        /// The name or address.
        name: String,
        /// What it has no address of.
        family: &'static str,
        /// Those that there are.
        there: String,
    },
}

/// The ports that this program has open already: they are no reason against listening there.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Those of connections.
    pub tcp: Vec<SocketAddr>,
    /// Those of datagrams.
    pub udp: Vec<SocketAddr>,
}

impl Held {
    /// Whether an address is ours.
    fn has(&self, address: SocketAddr, transport: Transport) -> bool {
        self.of(transport).contains(&address)
    }

    /// Whether an address may be in use because one of ours stands for it as well, or it for one of ours.
    fn overlaps(&self, address: SocketAddr, transport: Transport) -> bool {
        let is_of_all = |ip: IpAddr| ip.is_unspecified() || address.ip().is_unspecified();
        self.of(transport).iter().any(|held| held.port() == address.port() && is_of_all(held.ip()))
    }

    fn of(&self, transport: Transport) -> &[SocketAddr] {
        if transport == Transport::Tcp { &self.tcp } else { &self.udp }
    }
}

/// The addresses to listen on.
pub fn hosts(settings: &Settings, names: &Lookup) -> Result<Vec<IpAddr>, AddressError> {
    let mut hosts = Vec::new();
    for host in &settings.server_ips {
        hosts.extend(names.find("serverip", host)?);
    }
    if hosts.is_empty() {
        hosts = default_hosts();
    }
    Ok(unique(hosts))
}

/// The same for a program that listens at `before` already. Where no route leads out at this moment, such as while a network
/// is set up anew, the addresses that the default route has led to stay: nobody has asked for doors to be closed.
pub fn hosts_again(
    settings: &Settings,
    names: &Lookup,
    (running, before): (&Settings, &[IpAddr]),
) -> Result<Vec<IpAddr>, AddressError> {
    let hosts = hosts(settings, names)?;
    let are_default = settings.server_ips.is_empty() && running.server_ips.is_empty();
    Ok(if are_default { with_lost(hosts, before) } else { hosts })
}

/// Addresses with those of before whose kind has none any more, in the order of before.
fn with_lost(hosts: Vec<IpAddr>, before: &[IpAddr]) -> Vec<IpAddr> {
    let is_reached = |host: &&IpAddr| !host.is_loopback();
    let is_lost = |host: &IpAddr| {
        is_reached(&host) && !hosts.iter().filter(is_reached).any(|other| other.is_ipv4() == host.is_ipv4())
    };
    let stay = before.iter().filter(|host| hosts.contains(host) || is_lost(host)).copied();
    unique(stay.chain(hosts.iter().copied()).collect::<Vec<_>>())
}

/// Whether this machine does not have an address.
pub fn is_elsewhere(host: &IpAddr) -> bool {
    hold((*host, 0).into(), Type::STREAM).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// Each of them once.
pub(super) fn unique(hosts: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut unique = Vec::new();
    for host in hosts {
        if !unique.contains(&host) {
            unique.push(host);
        }
    }
    unique
}

/// Finds the port to listen on: the one that is set or, where that is only a default and cannot be had, `instead`.
/// Port 0 becomes a free one.
pub fn port(
    hosts: &[IpAddr],
    key: &str,
    port: u16,
    settings: &Settings,
    instead: u16,
    held: &Held,
) -> Result<u16, AddressError> {
    let error = match claim(hosts, port, Transport::Tcp, held) {
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
    claim(hosts, instead, Transport::Tcp, held).map_err(|(address, error)| AddressError::Port {
        address,
        setting: settings.cite(key),
        error,
    })
}

/// Finds the port of a door that may stay closed: the one that is set or, where that is only a default and cannot be had,
/// `instead`; None with a line in the log where there is none. What another door has, one of `taken`, cannot be had.
pub fn port_or_closed(
    hosts: &[IpAddr],
    key: &str,
    port: u16,
    settings: &Settings,
    instead: Option<u16>,
    (taken, held): (&[u16], &Held),
) -> Result<Option<u16>, AddressError> {
    if settings.is_named(key) {
        let error = |(address, error)| AddressError::Port { address, setting: settings.cite(key), error };
        return claim(hosts, port, Transport::Tcp, held).map(Some).map_err(error);
    }
    // Nothing waits for a door that nobody asked for.
    let try_port = |port: u16| match taken.contains(&port) {
        true => Err("another door has it".to_owned()),
        false => claim_now(hosts, port, Transport::Tcp, held).map_err(|(_, error)| reason(&error, port)),
    };
    let Err(why) = try_port(port) else { return Ok(Some(port)) };
    match instead.map(|instead| (instead, try_port(instead))) {
        None => {
            tracing::warn!("port {port} cannot be had ({why}) and stays closed: set {key} to choose another")
        }
        Some((instead, Ok(_))) => {
            tracing::warn!(
                "port {port} cannot be had ({why}); {instead} takes its place: set {key} to choose"
            );
            return Ok(Some(instead));
        }
        Some((instead, Err(also))) => tracing::warn!(
            "ports {port} ({why}) and {instead} ({also}) cannot be had and stay closed: set {key} to choose another"
        ),
    }
    Ok(None)
}

/// How the tracks of a pusher come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// On connections.
    Tcp,
    /// As datagrams.
    Udp,
}

/// Sees that nobody has a port that the configuration names; `setting` names it to people.
pub fn exact_port(
    hosts: &[IpAddr],
    setting: &str,
    port: u16,
    transport: Transport,
    held: &Held,
) -> Result<(), AddressError> {
    let refuse = |(address, error)| AddressError::Port { address, setting: setting.to_owned(), error };
    claim(hosts, port, transport, held).map(|_| ()).map_err(refuse)
}

/// Tries a port on all addresses, for a moment: of a server that was killed the kernel gives the ports free a little
/// later, io_uring's last of all.
fn claim(
    hosts: &[IpAddr],
    port: u16,
    transport: Transport,
    held: &Held,
) -> Result<u16, (SocketAddr, io::Error)> {
    let until = Instant::now() + FREED_WITHIN;
    loop {
        match claim_now(hosts, port, transport, held) {
            Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(FREED_WITHIN / 40);
            }
            result => return result,
        }
    }
}

/// Tries a port on all addresses. The shards' own sockets share their address; these do not, so that another program
/// on the port is seen. They never listen: a client that came now would be turned away.
fn claim_now(
    hosts: &[IpAddr],
    port: u16,
    transport: Transport,
    ours: &Held,
) -> Result<u16, (SocketAddr, io::Error)> {
    let kind = match transport {
        Transport::Tcp => Type::STREAM,
        Transport::Udp => Type::DGRAM,
    };
    let mut port = port;
    let mut held = Vec::new();
    for host in hosts {
        let address = SocketAddr::new(*host, port);
        if ours.has(address, transport) {
            continue;
        }
        match hold(address, kind) {
            Ok((socket, bound)) => {
                port = bound.port();
                held.push((socket, bound));
            }
            // An address that this machine lacks, or a port that this user may not have, is another error.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && (is_taken_by_us(host, &held) || ours.overlaps(address, transport)) => {}
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

fn hold(address: SocketAddr, kind: Type) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    // On Unix connections that linger from an earlier run are no reason against the port; on Windows the option means
    // that a port may be taken away from its owner. Datagrams leave nothing behind.
    socket.set_reuse_address(cfg!(unix) && kind == Type::STREAM)?;
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

/// The address that packets to another one would be sent from.
pub fn routed(local: IpAddr, remote: IpAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
    socket.connect(SocketAddr::new(remote, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// What to do about it.
fn advice(error: &io::Error, setting: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "change serverip".to_owned(),
        io::ErrorKind::PermissionDenied if cfg!(unix) => format!("change {setting}"),
        _ => format!("change {setting} or stop the program that has it"),
    }
}

fn reason(error: &io::Error, port: u16) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied if cfg!(windows) => format!(
            "port {port} belongs to another program alone, or to Windows, as `netsh interface ipv4 show \
             excludedportrange tcp` tells"
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_a_route_has_led_to_stay_until_it_leads_to_others() {
        let ips = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let before = ips(&["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"]);
        for (now, expected) in [
            (
                &["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"][..],
                &["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"][..],
            ),
            (&["127.0.0.1", "::1"], &["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"]),
            (&["192.0.2.8", "127.0.0.1", "::1"], &["2001:db8::7", "127.0.0.1", "::1", "192.0.2.8"]),
            (&["192.0.2.7", "2001:db8::9", "127.0.0.1"], &["192.0.2.7", "127.0.0.1", "2001:db8::9"]),
        ] {
            assert_eq!(with_lost(ips(now), &before), ips(expected), "{now:?}");
        }
        assert_eq!(
            with_lost(ips(&["127.0.0.1", "192.0.2.1"]), &ips(&["127.0.0.1"])),
            ips(&["127.0.0.1", "192.0.2.1"])
        );
    }
}
