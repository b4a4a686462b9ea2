//! Which ports are listened on, and what comes in by them.

use std::net::{IpAddr, SocketAddr};

use super::addresses;
use super::certificate::Certificate;
use super::run::RunError;
use crate::config::Settings;
use crate::shard::settings::{Doors, Listen, PortKind};

/// What is open.
#[derive(Debug)]
pub struct Opened {
    /// Every port at every address.
    pub listen: Vec<Listen>,
    /// What is shown on ports for TLS; None where there are none.
    pub certificate: Option<Certificate>,
}

/// Finds the ports, and the certificate where one is needed.
pub fn open(settings: &Settings, hosts: &[IpAddr]) -> Result<Opened, RunError> {
    let rtsp = addresses::port(hosts, "serverport", settings.server_port, settings, 8554)?;
    let mut ports = vec![(rtsp, PortKind::Rtsp)];
    let (http, https) = (settings.rtsp_over_http, settings.rtsp_over_https);
    let others = [
        (http.then_some(settings.http_port), "http_port", None, PortKind::Http),
        (settings.rtsps_port, "rtsps_port", Some(8322), PortKind::Rtsps),
        (https.then_some(settings.https_port), "https_port", Some(8443), PortKind::Https),
    ];
    let mut certificate = None;
    for (port, key, instead, kind) in others {
        let Some(port) = port else { continue };
        if kind.is_tls() && certificate.is_none() {
            certificate = Certificate::open(settings, hosts)?;
            if certificate.is_none() {
                tracing::warn!("this build has no TLS: rtsps_port and https_port stay closed");
                break;
            }
        }
        let taken: Vec<_> = ports.iter().map(|(port, _)| *port).collect();
        let port = addresses::port_or_closed(hosts, key, port, settings, instead, &taken)?;
        ports.extend(port.map(|port| (port, kind)));
    }
    let at =
        |(port, kind)| hosts.iter().map(move |host| Listen { address: SocketAddr::new(*host, port), kind });
    Ok(Opened { listen: ports.into_iter().flat_map(at).collect(), certificate })
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
