//! Multicast groups for the tracks of presentations: each track has an address and a port pair of its own while both
//! last, and the same presentation gets the same ones again where nobody has taken them meanwhile.
//!
//! Shards share the range without a word: each has every N-th place of it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use proto::sdp::Group;

use super::catalog::ShardIndex;

/// What groups are taken from: any address of one family, with any pair of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRange {
    /// The lowest and the highest address.
    pub addresses: RangeInclusive<IpAddr>,
    /// The lowest and the highest port.
    pub ports: RangeInclusive<u16>,
}

/// The groups of one shard.
#[derive(Debug)]
pub struct Groups {
    range: GroupRange,
    shard: u64,
    shards: u64,
    taken: HashSet<Group>,
}

/// The shard that a presentation of this name has its groups on.
pub fn home(name: &str, shards: usize) -> ShardIndex {
    (hash(name) % shards.max(1) as u64) as ShardIndex
}

impl Groups {
    /// The share of one shard among so many, none of it taken.
    pub fn new(range: GroupRange, shard: ShardIndex, shards: usize) -> Groups {
        Groups { range, shard: shard.into(), shards: shards.max(1) as u64, taken: HashSet::new() }
    }

    /// Takes a group for each track of a presentation; None when there are not so many.
    pub fn take(&mut self, name: &str, tracks: usize) -> Option<Box<[Group]>> {
        let places = self.range.places().saturating_sub(self.shard).div_ceil(self.shards);
        let start = hash(name) / self.shards % places.max(1);
        let mut found = Vec::with_capacity(tracks);
        // No more are in the way than are taken.
        for step in 0..places.min((self.taken.len() + tracks) as u64) {
            if found.len() == tracks {
                break;
            }
            let group = self.range.at((start + step) % places * self.shards + self.shard);
            if !self.taken.contains(&group) {
                found.push(group);
            }
        }
        if found.len() < tracks {
            return None;
        }
        self.taken.extend(&found);
        Some(found.into())
    }

    /// Gives groups back.
    pub fn give_back(&mut self, groups: &[Group]) {
        for group in groups {
            self.taken.remove(group);
        }
    }

    /// Count of those that are taken.
    pub fn taken_count(&self) -> usize {
        self.taken.len()
    }
}

impl GroupRange {
    /// Count of addresses; of the many of IPv6 as many as fit.
    fn addresses_count(&self) -> u64 {
        let number = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let beyond_first = number(self.addresses.end()).saturating_sub(number(self.addresses.start()));
        u64::try_from(beyond_first).unwrap_or(u64::MAX).min(u64::from(u32::MAX)) + 1
    }

    fn first_port(&self) -> u16 {
        self.ports.start().next_multiple_of(2)
    }

    fn pairs(&self) -> u64 {
        (u64::from(*self.ports.end()) + 1).saturating_sub(self.first_port().into()) / 2
    }

    /// Count of places: an address with a pair of ports.
    pub fn places(&self) -> u64 {
        self.addresses_count() * self.pairs()
    }

    /// One place; neighbours differ in the address and in the ports, so that receivers that listen to a port alone tell
    /// them apart as well as those that listen to an address.
    fn at(&self, place: u64) -> Group {
        let (address, round) = (place % self.addresses_count(), place / self.addresses_count());
        let pair = (address % self.pairs() + round) % self.pairs();
        let address = match self.addresses.start() {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + address as u32).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(address)).into(),
        };
        Group { address, port: self.first_port() + 2 * pair as u16 }
    }
}

/// The same in every run.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: &str, last: &str, ports: RangeInclusive<u16>) -> GroupRange {
        GroupRange { addresses: first.parse().unwrap()..=last.parse().unwrap(), ports }
    }

    #[test]
    fn a_presentation_gets_the_same_groups_again() {
        let range = range("239.192.0.1", "239.192.255.254", 20_000..=29_999);
        let mut groups = Groups::new(range.clone(), 1, 2);
        let first = groups.take("a film", 2).unwrap();
        groups.give_back(&first);
        assert_eq!(groups.taken_count(), 0);
        assert_eq!(groups.take("a film", 2).unwrap(), first);
        assert_eq!(Groups::new(range, 1, 2).take("a film", 2).unwrap(), first, "in another run");
        assert!(first[0].address != first[1].address && first[0].port != first[1].port);
    }

    #[test]
    fn a_range_that_is_too_small_is_used_up_and_free_again() {
        let mut groups = Groups::new(range("ff3e::1", "ff3e::2", 5_001..=5_006), 0, 1);
        // Two addresses with 5002 and 5004 each.
        let taken = ["a", "b"].map(|name| groups.take(name, 2).unwrap());
        assert_eq!(groups.take("c", 1), None);
        groups.give_back(&taken[1][..1]);
        assert_eq!(groups.take("c", 2), None);
        assert_eq!(groups.take("c", 1).unwrap()[0], taken[1][0]);
        let mut none = Groups::new(range("239.0.0.1", "239.0.0.1", 5_001..=5_002), 0, 1);
        assert_eq!(none.take("a", 1), None);
    }

    proptest! {
        #[test]
        fn no_two_tracks_of_any_shards_have_the_same_group(
            first: u32, more in 0u32..40, ports in 1_000u16..1_100, pairs in 1u16..20, shards in 1usize..6,
            names in prop::collection::vec(("[a-f]{1,3}", 1usize..5), 1..40),
        ) {
            let address = |bits: u32| IpAddr::V4(Ipv4Addr::from_bits(0xe000_0000 | bits & 0x0fff_ffff));
            let last = (first & 0x0fff_ffff).saturating_add(more).min(0x0fff_ffff);
            let addresses = address(first)..=address(last);
            let range = GroupRange { addresses: addresses.clone(), ports: ports..=ports + 2 * pairs };
            let mut all: Vec<_> =
                (0..shards).map(|shard| Groups::new(range.clone(), shard as ShardIndex, shards)).collect();
            let mut seen = HashSet::new();
            for (name, tracks) in &names {
                let Some(groups) = all[usize::from(home(name, shards))].take(name, *tracks) else { continue };
                for group in groups {
                    prop_assert!(addresses.contains(&group.address));
                    prop_assert!(range.ports.contains(&group.port) && range.ports.contains(&(group.port + 1)));
                    prop_assert!(group.port % 2 == 0 && seen.insert(group));
                }
            }
        }
    }
}
