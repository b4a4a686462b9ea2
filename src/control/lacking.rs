//! What a configuration asks for that this machine does not have, as far as that shows before the program starts with it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::addresses;
use super::certificate::Certificate;
use super::lookup::Lookup;
use super::multicast::outlet;
use super::privileges;
use crate::config::{Problem, Settings};

/// Each thing that is not there. What a program that is confined may not look at is not named: that may well be there.
pub fn lacking(settings: &Settings, is_confined: bool) -> Vec<Problem> {
    let mut lacking = Vec::new();
    // These name their settings.
    let said =
        |error: &dyn std::error::Error| Problem { place: None, subject: None, text: error.to_string() };
    match addresses::hosts(settings, &Lookup::of(settings)) {
        Ok(hosts) => {
            for host in hosts.into_iter().filter(addresses::is_elsewhere) {
                lacking.push(
                    settings.problem("serverip", format!("this machine does not have the address {host}")),
                );
            }
        }
        Err(error) => lacking.push(said(&error)),
    }
    if settings.multicast
        && let Err(error) = outlet(settings)
    {
        lacking.push(said(&error));
    }
    if !(is_confined && is_certificate_denied(settings))
        && let Err(error) = Certificate::check(settings)
    {
        lacking.push(said(&error));
    }
    if let Err(error) = privileges::known(settings) {
        lacking.push(said(&error));
    }
    for (key, file) in [("log_file", &settings.log_file), ("api_socket", &settings.api_socket)] {
        let Some(folder) = file.as_deref().and_then(Path::parent) else { continue };
        if !folder.as_os_str().is_empty() && is_missing(folder) {
            let text = format!("there is no folder {}; make it, or name another one", folder.display());
            lacking.push(settings.problem(key, text));
        }
    }
    lacking
}

/// Whether the program may not read the certificate or its key.
pub(super) fn is_certificate_denied(settings: &Settings) -> bool {
    let is_denied =
        |file: &PathBuf| File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    settings.cert_file.iter().chain(&settings.key_file).any(is_denied)
}

fn is_missing(folder: &Path) -> bool {
    match folder.metadata() {
        Ok(found) => !found.is_dir(),
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}
