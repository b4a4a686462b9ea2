//! By which interface multicast leaves, and whether it does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use bytes::Bytes;
use if_addrs::{Interface, get_if_addrs};
use proto::io::{Event, Membership, Op, UdpOptions};

use super::addresses::{AddressError, routed};
use crate::config::{Host, Settings, ZeroCopy};
use crate::driver::Backend;
use crate::shard::settings::Multicast;
use crate::stream::groups::GroupRange;

/// How long a packet may take to come back from our own interface.
const PATIENCE: Duration = Duration::from_millis(300);

/// An interface, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlet {
    name: String,
    /// Its address that packets come from.
    ip: IpAddr,
    /// Its number; zero where the system does not tell.
    index: u32,
}

impl std::fmt::Display for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.ip)
    }
}

/// What the shards are told of multicast: nothing where it is off or does not work, which is said. An error when the
/// interface that the configuration names is not there.
pub fn multicast(
    settings: &Settings,
    backend: Backend,
    shards: u16,
) -> Result<Option<Multicast>, AddressError> {
    if !settings.multicast {
        return Ok(None);
    }
    let (first, last) = (settings.multicast_ip_min, settings.multicast_ip_max);
    let outlet = match outlet(settings) {
        Ok(outlet) => outlet,
        Err(error) if settings.multicast_interface.is_some() => return Err(error),
        Err(error) => {
            tracing::error!("multicast is off: {error}");
            return Ok(None);
        }
    };
    let ports = settings.udp_port_min..=settings.udp_port_max;
    let range = GroupRange { addresses: first..=last, ports };
    if range.places() < 2 * u64::from(shards) {
        tracing::warn!(
            "multicast_ip_min, multicast_ip_max and the UDP ports leave {} groups for {shards} shards: some viewers will \
             be refused; widen the range",
            range.places()
        );
    }
    let multicast = outlet.multicast(range);
    if let Err(reason) = test(backend, &multicast) {
        tracing::error!(
            "multicast is off: {outlet} does not carry it, {reason}; name another one in multicast_interface"
        );
        return Ok(None);
    }
    let ttl = settings.multicast_ttl;
    tracing::info!("multicast leaves by {outlet}: groups {first} to {last}, ttl {ttl}, tested");
    Ok(Some(multicast))
}

/// The interface that multicast leaves by: the one that is named, else the one that routing chooses.
pub fn outlet(settings: &Settings) -> Result<Outlet, AddressError> {
    let group = settings.multicast_ip_min;
    let listed = get_if_addrs();
    let interfaces = listed.as_deref().unwrap_or_default();
    let Some(named) = &settings.multicast_interface else {
        let any = if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let ip = routed(any, group).map_err(|error| AddressError::Unrouted { group, error })?;
        let found = interfaces.iter().find(|interface| interface.ip() == ip);
        let unknown = || Outlet { name: "an interface".into(), ip, index: 0 };
        return Ok(found.map_or_else(unknown, |found| Outlet::of(found, interfaces)));
    };
    let mut fitting: Vec<_> = interfaces.iter().filter(|it| it.ip().is_ipv4() == group.is_ipv4()).collect();
    // Addresses of the link serve where there are no others.
    fitting.sort_by_key(|interface| interface.is_link_local());
    let is_meant = |interface: &&&Interface| match named {
        Host::Address(ip) => interface.ip() == *ip,
        Host::Name(name) => interface.name == *name,
    };
    fitting.iter().find(is_meant).map(|interface| Outlet::of(interface, interfaces)).ok_or_else(|| {
        let there: Vec<_> = fitting.iter().map(|it| Outlet::of(it, interfaces).to_string()).collect();
        let there = match &listed {
            Ok(_) if there.is_empty() => "none".to_owned(),
            Ok(_) => there.join(", "),
            Err(error) => format!("none that the system lists ({error})"),
        };
        AddressError::Interface {
            setting: settings.cite("multicast_interface"),
            name: named.to_string(),
            family: if group.is_ipv4() { "IPv4" } else { "IPv6" },
            there,
        }
    })
}

impl Outlet {
    fn of(interface: &Interface, all: &[Interface]) -> Outlet {
        // Wine tells the number with addresses of IPv4 alone.
        let index = all.iter().filter(|other| other.name == interface.name).find_map(|other| other.index);
        Outlet { name: interface.name.clone(), ip: interface.ip(), index: index.unwrap_or_default() }
    }

    fn multicast(&self, range: GroupRange) -> Multicast {
        let local = match self.ip {
            // Others lead somewhere without a scope, and are found by viewers without.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, 0, 0, self.index).into(),
            ip => SocketAddr::new(ip, 0),
        };
        let scope = if self.ip.is_ipv6() { self.index } else { 0 };
        Multicast { local, scope, range }
    }
}

/// Sends to the last group of the range and hears it, as the shards will, by the same driver. The reason why not.
fn test(backend: Backend, multicast: &Multicast) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut driver = backend.driver(ZeroCopy::Off).map_err(text)?;
    let membership = Membership { interface: Some(multicast.local.ip()), source: None };
    // No further than the next router.
    let plain = UdpOptions { multicast_ttl: 1, ..UdpOptions::default() };
    let joined = UdpOptions { membership: Some(membership), ..plain.clone() };
    let group = multicast.group_address(*multicast.range.addresses.end(), 0);
    let (heard, bound) =
        driver.bind(group, &joined).map_err(|error| format!("{group} cannot be joined: {error}"))?;
    let (udp, _) = driver.bind(multicast.local, &plain).map_err(text)?;
    let to = multicast.group_address(group.ip(), bound.port());
    driver.submit(Op::datagram(udp, to, Bytes::from_static(b"is there multicast?")));
    let until = driver.now() + PATIENCE;
    let mut events = Vec::new();
    while driver.now() < until {
        driver.turn(Some(until), &mut events).map_err(text)?;
        if events.iter().any(|event| matches!(event, Event::Datagram { udp, .. } if *udp == heard)) {
            return Ok(());
        }
        if driver.stats().datagrams_failed > 0 {
            return Err(format!("the system refuses to send to {to}"));
        }
        events.clear();
    }
    Err(format!("nothing of what is sent to {to} comes back"))
}
