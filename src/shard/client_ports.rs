//! Which UDP addresses of viewers are taken, across all shards, without a lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::session::SessionId;
use crate::stream::catalog::ShardIndex;

/// Slots of the table. Two sessions' worth of addresses for 16,000 viewers at half load.
const SLOTS: usize = 64 * 1024;

/// How far an address may lie from its home slot; a claim that finds no place is granted unrecorded.
const PROBES_MAX: usize = 32;

/// A set of addresses, each held by at most one session. A slot holds 0 or, from the lowest bit up,
///
/// ```text
/// 32 fingerprint of the address | 8 shard | 23 of the session's random bits | 1 abandoned
/// ```
///
/// so that one exchange changes the holder, and who lost an address cannot give away what is another's. Two addresses
/// meet by chance once in 2^27 claims at full table, and then a viewer is asked to choose another port.
#[derive(Debug)]
pub struct ClientPorts {
    slots: Box<[AtomicU64]>,
}

/// Which session holds an address: its shard, and enough of its identifier to tell it from others there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(u32);

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The address is the claimant's.
    Granted,
    /// It is the claimant's, and was that of a session whose viewer has vanished: that one must end.
    TakenOver(Holder),
    /// Another session has it.
    Refused,
}

impl Holder {
    /// The session with this identifier.
    pub fn of(id: SessionId) -> Holder {
        Holder(u32::from(id.shard() as u8) << 23 | id.random_bits() & ((1 << 23) - 1))
    }

    /// The shard that the session lives on.
    pub fn shard(self) -> ShardIndex {
        ShardIndex::from((self.0 >> 23) as u8)
    }
}

impl Default for ClientPorts {
    fn default() -> ClientPorts {
        ClientPorts { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl ClientPorts {
    /// Takes an address, if need be from a session that has abandoned it.
    pub fn claim(&self, address: SocketAddr, holder: Holder) -> Claim {
        let place = Place::of(address);
        let held = place.held_by(holder);
        for slot in self.probe(place) {
            let found = slot.load(Ordering::Relaxed);
            if !place.is_named_by(found) {
                continue;
            }
            let is_taken = found & ABANDONED == 0
                || slot.compare_exchange(found, held, Ordering::Relaxed, Ordering::Relaxed).is_err();
            return if is_taken { Claim::Refused } else { Claim::TakenOver(Place::holder(found)) };
        }
        for slot in self.probe(place) {
            if slot.compare_exchange(0, held, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                break;
            }
        }
        Claim::Granted
    }

    /// Gives an address back, if the session still has it.
    pub fn release(&self, address: SocketAddr, holder: Holder) {
        let held = Place::of(address).held_by(holder);
        self.change(address, held, 0);
        self.change(address, held | ABANDONED, 0);
    }

    /// The viewer's connection is gone: whoever comes next may have the address.
    pub fn abandon(&self, address: SocketAddr, holder: Holder) {
        let held = Place::of(address).held_by(holder);
        self.change(address, held, held | ABANDONED);
    }

    /// The viewer speaks again: the address stays its own, if nobody else has taken it.
    pub fn keep(&self, address: SocketAddr, holder: Holder) {
        let held = Place::of(address).held_by(holder);
        self.change(address, held | ABANDONED, held);
    }

    /// Whether nobody has an address.
    pub fn is_free(&self, address: SocketAddr) -> bool {
        let place = Place::of(address);
        !self.probe(place).any(|slot| place.is_named_by(slot.load(Ordering::Relaxed)))
    }

    fn change(&self, address: SocketAddr, from: u64, to: u64) {
        for slot in self.probe(Place::of(address)) {
            if slot.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    fn probe(&self, place: Place) -> impl Iterator<Item = &AtomicU64> {
        (0..PROBES_MAX).map(move |step| &self.slots[(place.home + step) % SLOTS])
    }
}

/// Where an address is looked for, and how it is told from others there.
#[derive(Clone, Copy)]
struct Place {
    home: usize,
    fingerprint: u32,
}

impl Place {
    fn of(address: SocketAddr) -> Place {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let hash = hasher.finish();
        Place { home: (hash >> 32) as usize % SLOTS, fingerprint: (hash as u32).max(1) }
    }

    fn held_by(self, holder: Holder) -> u64 {
        u64::from(self.fingerprint) | u64::from(holder.0) << 32
    }

    fn is_named_by(self, slot: u64) -> bool {
        slot as u32 == self.fingerprint
    }

    fn holder(slot: u64) -> Holder {
        Holder(((slot & !ABANDONED) >> 32) as u32)
    }
}

/// Set in a slot whose session has no connection any more.
const ABANDONED: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(shard: ShardIndex, random: u64) -> Holder {
        Holder::of(SessionId::new(shard, random))
    }

    #[test]
    fn a_holder_names_its_shard() {
        assert_eq!(holder(7, u64::MAX).shard(), 7);
        assert_ne!(holder(7, 1 << 8), holder(7, 2 << 8));
    }

    #[test]
    fn an_address_is_claimed_once_until_it_is_released() {
        let ports = ClientPorts::default();
        let address = "192.0.2.1:5000".parse().unwrap();
        let (one, two) = (holder(0, 1 << 20), holder(255, u64::MAX));
        assert_eq!(ports.claim(address, one), Claim::Granted);
        assert_eq!(ports.claim(address, two), Claim::Refused);
        ports.release(address, two);
        assert_eq!(ports.claim(address, two), Claim::Refused, "what is another's cannot be given away");
        ports.release(address, one);
        assert!(ports.is_free(address));
        assert_eq!(ports.claim(address, two), Claim::Granted);
    }

    #[test]
    fn an_abandoned_address_changes_hands_once() {
        let ports = ClientPorts::default();
        let address = "192.0.2.1:5000".parse().unwrap();
        let (one, two) = (holder(3, 1 << 20), holder(255, u64::MAX));
        assert_eq!(ports.claim(address, one), Claim::Granted);
        ports.abandon(address, one);
        ports.keep(address, one);
        assert_eq!(ports.claim(address, two), Claim::Refused, "the viewer came back");
        ports.abandon(address, one);
        assert_eq!(ports.claim(address, two), Claim::TakenOver(one));
        ports.abandon(address, one);
        ports.release(address, one);
        assert_eq!(ports.claim(address, one), Claim::Refused);
        ports.abandon(address, two);
        ports.release(address, two);
        assert!(ports.is_free(address));
    }

    #[test]
    fn thousands_of_addresses_do_not_meet() {
        let ports = ClientPorts::default();
        for port in 1..30_000 {
            let address = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
            assert_eq!(ports.claim(address, holder(0, 0)), Claim::Granted, "{port}");
        }
    }
}
