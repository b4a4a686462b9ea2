//! Which ports are listened on, and what comes in by them.

use std::net::{IpAddr, SocketAddr};

use super::addresses::{self, AddressError};
use crate::config::Settings;
use crate::shard::settings::{Doors, Listen, PortKind};

/// Every port at every address.
pub fn listen(settings: &Settings, hosts: &[IpAddr]) -> Result<Vec<Listen>, AddressError> {
    let rtsp = addresses::port(hosts, "serverport", settings.server_port, settings, 8554)?;
    let mut ports = vec![(rtsp, PortKind::Rtsp)];
    if settings.rtsp_over_http {
        let http = addresses::port_or_closed(hosts, "http_port", settings.http_port, settings, &[rtsp])?;
        ports.extend(http.map(|port| (port, PortKind::Http)));
    }
    let at =
        |(port, kind)| hosts.iter().map(move |host| Listen { address: SocketAddr::new(*host, port), kind });
    Ok(ports.into_iter().flat_map(at).collect())
}

/// Whether HTTP and WebSocket are let in, and from which pages.
pub fn doors(settings: &Settings) -> Doors {
    Doors {
        http: settings.rtsp_over_http,
        https: settings.rtsp_over_https,
        origins: settings.ws_origins.clone(),
    }
}

/// The address of a kind of port that other machines are most likely to reach, as it stands in a URL of that scheme.
pub fn base(listen: &[Listen], kind: PortKind, scheme: &str, default_port: u16) -> Option<String> {
    let addresses = || listen.iter().filter(|door| door.kind == kind).map(|door| door.address);
    let reachable = addresses().find(|address| !address.ip().is_loopback() && address.is_ipv4());
    let address = reachable.or(addresses().next())?;
    let host = match address.ip() {
        ip if ip.is_unspecified() => addresses::routed_host().unwrap_or(ip),
        ip => ip,
    };
    let host = match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    };
    Some(match address.port() {
        port if port == default_port => format!("{scheme}://{host}"),
        port => format!("{scheme}://{host}:{port}"),
    })
}
