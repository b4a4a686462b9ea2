//! The addresses of the names that a configuration listens by. The system may take many seconds to find them, so that they
//! are looked up where nobody waits for other things.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use super::addresses::{AddressError, unique};
use crate::config::{Host, Settings};

/// What the system knows of some names, or why it knows nothing.
#[derive(Debug, Default)]
pub struct Lookup(HashMap<String, io::Result<Vec<IpAddr>>>);

impl Lookup {
    /// Looks up all names that a configuration listens by, which may take long.
    pub fn of(settings: &Settings) -> Lookup {
        let of_pushers = settings.pushers.iter().filter_map(|pusher| pusher.ip.as_ref());
        let names = settings.server_ips.iter().chain(of_pushers).filter_map(|host| match host {
            Host::Name(name) => Some(name.clone()),
            Host::Address(_) => None,
        });
        let mut known = Lookup::default();
        for name in names {
            known.0.entry(name).or_insert_with_key(|name| {
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(unique(found.map(|address| address.ip())))
            });
        }
        known
    }

    /// The addresses of a host that a setting names.
    pub fn find(&self, setting: &str, host: &Host) -> Result<Vec<IpAddr>, AddressError> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let error = match self.0.get(name) {
            Some(Ok(found)) => return Ok(found.clone()),
            Some(Err(error)) => io::Error::new(error.kind(), error.to_string()),
            None => io::ErrorKind::NotFound.into(),
        };
        Err(AddressError::Unresolved { setting: setting.to_owned(), name: name.clone(), error })
    }
}
