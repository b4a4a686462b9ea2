//! The ports for TLS, and whom clients see there.

use std::net::IpAddr;

use super::addresses::port_if_any;
use super::certificate::Certificate;
use super::run::RunError;
use crate::config::Settings;
use crate::shard::settings::PortKind;

/// The ports for TLS that are open, and the certificate that is shown there.
#[derive(Debug, Default)]
pub struct SecurePorts {
    /// Which; none in a build without TLS.
    pub ports: Vec<(u16, PortKind)>,
    /// None where there are none.
    pub certificate: Option<Certificate>,
}

/// Finds the ports for TLS and opens the certificate. `taken` are the ports of other doors.
pub fn secure_ports(settings: &Settings, hosts: &[IpAddr], taken: &[u16]) -> Result<SecurePorts, RunError> {
    let wanted = [
        (settings.rtsps_port, "rtsps_port", 8322, PortKind::Rtsps),
        (settings.rtsp_over_https.then_some(settings.https_port), "https_port", 8443, PortKind::Https),
    ];
    let wanted =
        wanted.into_iter().filter_map(|(port, key, instead, kind)| Some((port?, key, instead, kind)));
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Ok(SecurePorts::default());
    }
    let Some(certificate) = Certificate::open(settings, hosts)? else {
        tracing::warn!("this build has no TLS: rtsps_port and https_port stay closed");
        return Ok(SecurePorts::default());
    };
    let mut taken = taken.to_vec();
    let mut ports = Vec::new();
    for (port, key, instead, kind) in wanted {
        if let Some(port) = port_if_any(hosts, key, port, settings, instead, &taken)? {
            taken.push(port);
            ports.push((port, kind));
        }
    }
    Ok(SecurePorts { ports, certificate: Some(certificate) })
}
