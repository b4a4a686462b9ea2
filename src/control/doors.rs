//! Which ports are listened on, and what comes in by them.

use std::net::{IpAddr, SocketAddr};

use super::addresses::{self, AddressError, Held};
use crate::config::Settings;
use crate::shard::settings::{Doors, Listen, PortKind};

const HAS_TLS: bool = cfg!(feature = "tls");

/// The doors of the configuration that runs.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// What it says.
    pub settings: &'a Settings,
    /// The addresses.
    pub hosts: &'a [IpAddr],
    /// What is open.
    pub listen: &'a [Listen],
}

/// Finds the ports. Those that are open stay what they are where nobody has changed what the configuration says of them:
/// another port may have taken the place of one that could not be had.
pub fn ports(
    settings: &Settings,
    hosts: &[IpAddr],
    before: Option<Before<'_>>,
    held: &Held,
) -> Result<Vec<Listen>, AddressError> {
    let doors = |settings: &Settings| {
        let (http, https) = (settings.rtsp_over_http, settings.rtsp_over_https);
        [
            (Some(settings.server_port), "serverport", PortKind::Rtsp),
            (http.then_some(settings.http_port), "http_port", PortKind::Http),
            (settings.rtsps_port, "rtsps_port", PortKind::Rtsps),
            (https.then_some(settings.https_port), "https_port", PortKind::Https),
        ]
    };
    let as_before = |port: Option<u16>, key: &str, kind: PortKind| {
        let before = before.filter(|before| before.hosts == hosts)?;
        let said = doors(before.settings).into_iter().find(|door| door.2 == kind)?.0;
        let is_same = said == port && before.settings.is_named(key) == settings.is_named(key);
        is_same.then(|| before.listen.iter().find(|listen| listen.kind == kind).map(|it| it.address.port()))
    };
    let mut ports: Vec<(u16, PortKind)> = Vec::new();
    for (wanted, key, kind) in doors(settings) {
        let Some(port) = wanted else { continue };
        if kind.is_tls() && !HAS_TLS {
            if before.is_none() {
                tracing::warn!("this build has no TLS: {key} stays closed");
            }
            continue;
        }
        let found = match as_before(wanted, key, kind) {
            Some(open) => open,
            None if kind == PortKind::Rtsp => Some(addresses::port(hosts, key, port, settings, 8554, held)?),
            None => {
                let instead = match kind {
                    PortKind::Rtsps => Some(8322),
                    PortKind::Https => Some(8443),
                    PortKind::Rtsp | PortKind::Http => None,
                };
                let taken: Vec<_> = ports.iter().map(|(port, _)| *port).collect();
                addresses::port_or_closed(hosts, key, port, settings, instead, (&taken, held))?
            }
        };
        ports.extend(found.map(|port| (port, kind)));
    }
    let at =
        |(port, kind)| hosts.iter().map(move |host| Listen { address: SocketAddr::new(*host, port), kind });
    Ok(ports.into_iter().flat_map(at).collect())
}

/// Whether any of these is for TLS.
pub fn have_tls(listen: &[Listen]) -> bool {
    listen.iter().any(|listen| listen.kind.is_tls())
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
