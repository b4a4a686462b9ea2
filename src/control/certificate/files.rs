//! The certificate of the configuration: read at start, and again when its files have changed.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{CertificateError, own, threads};
use crate::config::Settings;
use crate::shard::tls::{Identity, IdentityError, TlsServer};

/// The certificate that is shown, and the files that it came from.
#[derive(Debug)]
pub struct Certificate {
    server: TlsServer,
    /// None where it is kept in memory alone.
    files: Option<Files>,
    /// What the files were like when they were last read.
    read: Stamps,
    /// What they were like at the last look.
    seen: Stamps,
}

/// A certificate that takes the place of another.
#[derive(Debug)]
pub struct Prepared {
    identity: Identity,
    files: Option<Files>,
}

/// Two files in PEM form, with the settings that name them.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) settings: [String; 2],
}

/// What tells one version of a file from another: when it was changed and its size. None where it is not there.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// Reads or makes the certificate, and starts the threads that shake hands with it. `hosts` are the addresses that
    /// one of our own is for.
    pub fn open(settings: &Settings, hosts: &[IpAddr]) -> Result<Option<Certificate>, CertificateError> {
        let Prepared { identity, files } = Certificate::prepare(settings, hosts)?;
        let (server, jobs) = TlsServer::new(identity);
        threads::start(&jobs).map_err(CertificateError::Thread)?;
        let read = files.as_ref().map(Files::stamps).unwrap_or_default();
        Ok(Some(Certificate { server, files, read, seen: read }))
    }

    /// Reads or makes the certificate of a configuration.
    pub fn prepare(settings: &Settings, hosts: &[IpAddr]) -> Result<Prepared, CertificateError> {
        let (identity, files) = match Files::named(settings) {
            Some(files) => (files.read()?, Some(files)),
            None => own::identity(settings.state_folder(), hosts)?,
        };
        Ok(Prepared { identity, files })
    }

    /// Shows another from now on. Connections that are open stay.
    pub fn adopt(&mut self, Prepared { identity, files }: Prepared) {
        self.server.replace(identity);
        self.read = files.as_ref().map(Files::stamps).unwrap_or_default();
        (self.files, self.seen) = (files, self.read);
    }

    /// Whether the certificate that the configuration names can be used.
    pub fn check(settings: &Settings) -> Result<(), CertificateError> {
        Files::named(settings).map_or(Ok(()), |files| files.read().map(|_| ()))
    }

    /// What shards shake hands with.
    pub fn server(&self) -> TlsServer {
        self.server.clone()
    }

    /// Shows what the files hold if they have changed since they were last read. Files that are being written are left
    /// alone until they are the same twice.
    pub fn look(&mut self) {
        let Some(files) = &self.files else { return };
        let found = files.stamps();
        let is_settled = std::mem::replace(&mut self.seen, found) == found;
        if !is_settled || found == self.read {
            return;
        }
        self.read = found;
        match files.read() {
            Ok(identity) => {
                let fingerprint = identity.fingerprint();
                tracing::info!(file = %files.certificate.display(), %fingerprint, "the certificate was read again");
                self.server.replace(identity);
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error}"),
        }
    }
}

impl Files {
    fn named(settings: &Settings) -> Option<Files> {
        let (certificate, key) = (settings.cert_file.clone()?, settings.key_file.clone()?);
        let settings = ["cert_file", "key_file"].map(|key| settings.cite(key));
        Some(Files { certificate, key, settings })
    }

    pub(super) fn read(&self) -> Result<Identity, CertificateError> {
        let [of_certificate, of_key] = &self.settings;
        let read = |setting: &String, file: &Path| {
            fs::read(file).map_err(|error| CertificateError::Unreadable {
                setting: setting.clone(),
                file: file.to_owned(),
                error,
            })
        };
        let certificate = read(of_certificate, &self.certificate)?;
        let key = read(of_key, &self.key)?;
        Identity::from_pem(&certificate, &key).map_err(|error| {
            let (setting, file) = match error {
                IdentityError::Certificate(_) => (of_certificate, &self.certificate),
                IdentityError::Key(_) | IdentityError::Mismatch => (of_key, &self.key),
            };
            CertificateError::Unusable { setting: setting.clone(), file: file.clone(), error }
        })
    }

    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key].map(|file| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }
}
