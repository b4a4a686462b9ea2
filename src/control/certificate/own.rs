//! A certificate of our own, made once and kept: a client that was told to trust it need not be told again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::CertificateError;
use super::files::Files;
use crate::control::host::host_name;
use crate::control::private;
use crate::shard::tls::Identity;

/// Where it is kept, beside the configuration.
const CERTIFICATE_FILE: &str = "rtspserver-cert.pem";
const KEY_FILE: &str = "rtspserver-key.pem";

/// A year of 365 days.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How long it is good for: nobody would renew it.
const YEARS: u32 = 20;

/// The certificate that is kept in `folder`, or a new one for these addresses. With the files that it is in, if it is in
/// any.
pub(super) fn identity(
    folder: &Path,
    hosts: &[IpAddr],
) -> Result<(Identity, Option<Files>), CertificateError> {
    let files = Files {
        certificate: folder.join(CERTIFICATE_FILE),
        key: folder.join(KEY_FILE),
        settings: ["cert_file is not set", "key_file is not set"].map(str::to_owned),
    };
    if files.certificate.exists() || files.key.exists() {
        match files.read() {
            Ok(identity) => {
                say(
                    "the self-signed certificate of an earlier start is shown",
                    &files.certificate,
                    &identity,
                );
                return Ok((identity, Some(files)));
            }
            // Somebody has put them there or changed them: they are not ours to overwrite.
            Err(error) => {
                tracing::error!("{error}; a self-signed certificate is made for this run alone");
                return Ok((make(hosts)?.0, None));
            }
        }
    }
    let (identity, certificate, key) = make(hosts)?;
    match keep(&files, &certificate, &key) {
        Ok(()) => {
            say("cert_file is not set: a self-signed certificate was made", &files.certificate, &identity);
            Ok((identity, Some(files)))
        }
        Err(error) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            tracing::warn!(
                fingerprint = %identity.fingerprint(),
                "cert_file is not set: a self-signed certificate was made for this run alone, as it cannot be kept in \
                 {}: {error}",
                folder.display()
            );
            Ok((identity, None))
        }
    }
}

fn say(what: &str, file: &Path, identity: &Identity) {
    tracing::info!(file = %file.display(), fingerprint = %identity.fingerprint(), "{what}");
}

/// An identity with its two files' contents.
fn make(hosts: &[IpAddr]) -> Result<(Identity, String, String), CertificateError> {
    let unmade = |error: rcgen::Error| CertificateError::Unmade(error.to_string());
    // ECDSA with P-256: made in a moment, and signed with in a moment.
    let key = KeyPair::generate().map_err(unmade)?;
    let certificate = parameters(hosts).self_signed(&key).map_err(unmade)?;
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())
        .map_err(|error| CertificateError::Unmade(error.to_string()))?;
    Ok((identity, certificate, key))
}

fn parameters(hosts: &[IpAddr]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Ringcaster");
    let names = ["localhost".to_owned()].into_iter().chain(host_name());
    let names = names.filter_map(|name| name.try_into().ok()).map(SanType::DnsName);
    let addresses = addresses(hosts).into_iter().map(SanType::IpAddress);
    parameters.subject_alt_names = names.chain(addresses).collect();
    let now = SystemTime::now();
    // Clocks of clients may be behind ours.
    parameters.not_before = (now - YEAR).into();
    parameters.not_after = (now + YEAR * YEARS).into();
    parameters
}

/// The addresses of a server that listens on `hosts`, of which some may stand for all that there are.
fn addresses(hosts: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = hosts.iter().copied().filter(|host| !host.is_unspecified()).collect();
    if addresses.len() < hosts.len() {
        let there = if_addrs::get_if_addrs().unwrap_or_default();
        addresses.extend(there.iter().map(if_addrs::Interface::ip));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Writes the files; the key first, so that there is never a certificate without one.
fn keep(files: &Files, certificate: &str, key: &str) -> io::Result<()> {
    private::file().open(&files.key)?.write_all(key.as_bytes())?;
    let certificate_file = OpenOptions::new().write(true).create_new(true).open(&files.certificate);
    let written = certificate_file.and_then(|mut file| file.write_all(certificate.as_bytes()));
    if written.is_err() {
        // Half of a pair would be taken for somebody's mistake at the next start.
        let _ = fs::remove_file(&files.key);
    }
    written
}
