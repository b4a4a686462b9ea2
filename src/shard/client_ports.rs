//! Which UDP addresses of viewers are taken, across all shards, without a lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots of the table. Two sessions' worth of addresses for 16,000 viewers at half load.
const SLOTS: usize = 64 * 1024;

/// How far a fingerprint may lie from its home slot; a claim that finds no place is granted unrecorded.
const PROBES_MAX: usize = 32;

/// A set of addresses, each held by at most one session. An address is kept as a 64-bit fingerprint: two different
/// ones meet by chance once in 2^48 claims at full table, and then a viewer is asked to choose another port.
#[derive(Debug)]
pub struct ClientPorts {
    slots: Box<[AtomicU64]>,
}

impl Default for ClientPorts {
    fn default() -> ClientPorts {
        ClientPorts { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl ClientPorts {
    /// Takes an address; false when a session has it already.
    pub fn claim(&self, address: SocketAddr) -> bool {
        let fingerprint = fingerprint(address);
        if self.probe(fingerprint).any(|slot| slot.load(Ordering::Relaxed) == fingerprint) {
            return false;
        }
        for slot in self.probe(fingerprint) {
            if slot.compare_exchange(0, fingerprint, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                break;
            }
        }
        true
    }

    /// Gives an address back.
    pub fn release(&self, address: SocketAddr) {
        let fingerprint = fingerprint(address);
        for slot in self.probe(fingerprint) {
            if slot.compare_exchange(fingerprint, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    fn probe(&self, fingerprint: u64) -> impl Iterator<Item = &AtomicU64> {
        let home = fingerprint as usize % SLOTS;
        (0..PROBES_MAX).map(move |step| &self.slots[(home + step) % SLOTS])
    }
}

fn fingerprint(address: SocketAddr) -> u64 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_claimed_once_until_it_is_released() {
        let ports = ClientPorts::default();
        let address = "192.0.2.1:5000".parse().unwrap();
        assert!(ports.claim(address));
        assert!(!ports.claim(address));
        ports.release(address);
        assert!(ports.claim(address));
    }

    #[test]
    fn thousands_of_addresses_do_not_meet() {
        let ports = ClientPorts::default();
        for port in 1..30_000 {
            assert!(ports.claim(SocketAddr::new("192.0.2.1".parse().unwrap(), port)), "{port}");
        }
    }
}
