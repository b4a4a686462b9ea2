//! Looks up the names of other servers, each on a thread of its own: the system may take many seconds for one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::shard::names::{AddressesReply, Names};

/// Names that may be looked up at the same time.
const LOOK_UPS_MAX: usize = 64;

/// The system's resolver.
#[derive(Debug, Default)]
pub struct SystemNames {
    under_way: Arc<AtomicUsize>,
}

impl Names for SystemNames {
    fn look_up(&self, host: &str, port: u16, reply: AddressesReply) {
        if let Some(addresses) = own_machine(host, port) {
            return reply(Ok(addresses));
        }
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= LOOK_UPS_MAX {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return reply(Err(format!("{host}: too many names are being looked up")));
        }
        let (host, under_way) = (host.to_owned(), self.under_way.clone());
        // The system may refuse a thread; it is not asked here, where packets wait.
        let look_up = move || {
            let answer = (host.as_str(), port).to_socket_addrs();
            under_way.fetch_sub(1, Ordering::Relaxed);
            reply(match answer.map(Iterator::collect::<Vec<_>>) {
                Ok(addresses) if addresses.is_empty() => Err(format!("{host} has no address")),
                Ok(addresses) => Ok(addresses),
                Err(error) => Err(format!("{host}: {error}")),
            });
        };
        if let Err(error) = thread::Builder::new().name("names".into()).spawn(look_up) {
            // The attempt ends by its time limit.
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            tracing::error!(%error, "no thread to look up a name");
        }
    }
}

/// The addresses of a name that always means this machine (RFC 6761 section 6.3): systems without a file of hosts do
/// not know it.
fn own_machine(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_own = host == "localhost" || host.ends_with(".localhost");
    is_own.then(|| vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_means_this_machine_without_being_looked_up() {
        for name in ["localhost", "LOCALHOST.", "gate.localhost"] {
            let addresses = own_machine(name, 554).expect(name);
            assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 554));
        }
        for name in ["localhost.example", "nolocalhost", ""] {
            assert_eq!(own_machine(name, 554), None, "{name}");
        }
    }
}
