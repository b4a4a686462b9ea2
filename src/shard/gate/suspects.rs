//! Addresses that wrong passwords came from: how long they wait for an answer, and which of them are banned.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proto::time::Time;

use crate::stream::catalog::ShardIndex;

/// Addresses whose failures a shard remembers, and as many bans; beyond them the oldest is forgotten.
const SUSPECTS_MAX: usize = 4096;

/// How long the answer to a first wrong password takes; twice as long for each that follows.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// The longest that an answer takes: 200 ms doubled four times.
const DELAY_MAX: Duration = Duration::from_millis(3_200);

/// Whoever is counted together: an IPv4 address, or the 64 bits that are one network in IPv6 (RFC 4291 section 2.5.4),
/// because who has one address there has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject(IpAddr);

/// What a shard knows of them.
#[derive(Debug, Default)]
pub struct Suspects {
    failures: HashMap<Subject, Failures>,
    /// Until when.
    banned: HashMap<Subject, Time>,
    /// Connections refused since that was last said, and the last of them.
    turned_away: Option<(u64, SocketAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Time,
}

impl Subject {
    /// Whom an address belongs to: a client of IPv6 has a network, but on a link its neighbours have the same.
    pub fn of(address: IpAddr) -> Subject {
        match address.to_canonical() {
            IpAddr::V6(v6) if !is_one(v6) => {
                Subject(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into())
            }
            other => Subject(other),
        }
    }

    /// The shard that counts for all shards, one of so many.
    pub fn home(self, shards: usize) -> ShardIndex {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        (hasher.finish() % shards.max(1) as u64) as ShardIndex
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(v6) if !is_one(v6) => write!(f, "{v6}/64"),
            other => other.fmt(f),
        }
    }
}

/// Whether an address of IPv6 stands for itself alone.
fn is_one(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local()
}

impl Suspects {
    /// Counts a wrong password; how many there were, each within `memory` of the one before.
    pub fn fail(&mut self, now: Time, subject: Subject, memory: Duration) -> u32 {
        if self.failures.len() >= SUSPECTS_MAX && !self.failures.contains_key(&subject) {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last).map(|(who, _)| *who);
            oldest.and_then(|oldest| self.failures.remove(&oldest));
        }
        let failures = self.failures.entry(subject).or_insert(Failures { count: 0, last: now });
        if now.since(failures.last) > memory {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.count
    }

    /// Bans somebody; what led to it is settled.
    pub fn ban(&mut self, subject: Subject, until: Time) {
        self.failures.remove(&subject);
        if self.banned.len() >= SUSPECTS_MAX && !self.banned.contains_key(&subject) {
            let first = self.banned.iter().min_by_key(|(_, until)| **until).map(|(who, _)| *who);
            first.and_then(|first| self.banned.remove(&first));
        }
        self.banned.insert(subject, until);
    }

    /// Whether an address is banned.
    pub fn is_banned(&self, now: Time, address: IpAddr) -> bool {
        !self.banned.is_empty() && self.banned.get(&Subject::of(address)).is_some_and(|until| now < *until)
    }

    /// Forgets what is over; the bans that are.
    pub fn forget_old(&mut self, now: Time, memory: Duration) -> Vec<Subject> {
        if self.failures.is_empty() && self.banned.is_empty() {
            return Vec::new();
        }
        self.failures.retain(|_, failures| now.since(failures.last) <= memory);
        self.banned.extract_if(|_, until| now >= *until).map(|(subject, _)| subject).collect()
    }

    /// Counts somebody who was refused at the door.
    pub fn turn_away(&mut self, peer: SocketAddr) {
        let (count, last) = self.turned_away.get_or_insert((0, peer));
        *count += 1;
        *last = peer;
    }

    /// How many were refused since that was last asked, and the last of them.
    pub fn take_turned_away(&mut self) -> Option<(u64, SocketAddr)> {
        self.turned_away.take()
    }
}

/// Letters of a name that go to the log.
const NAME_SHOWN_MAX: usize = 64;

/// What goes to the log of a name that somebody claims: whoever guesses names does not fill it.
pub fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN_MAX).collect()
}

/// How long the answer to the latest of so many wrong passwords is kept back.
pub fn delay(count: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << count.saturating_sub(1).min(16)).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(300);

    fn subject(address: &str) -> Subject {
        Subject::of(address.parse().unwrap())
    }

    #[test]
    fn answers_take_longer_and_longer_up_to_a_bound() {
        let millis: Vec<_> = [1, 2, 3, 4, 5, 6, 1_000_000].map(|count| delay(count).as_millis()).into();
        assert_eq!(millis, [200, 400, 800, 1_600, 3_200, 3_200, 3_200]);
    }

    #[test]
    fn a_network_of_ipv6_is_one_subject() {
        assert_eq!(subject("2001:db8::1"), subject("2001:db8::ffff:1"));
        assert_ne!(subject("2001:db8::1"), subject("2001:db8:0:1::1"));
        assert_ne!(subject("192.0.2.1"), subject("192.0.2.2"));
        assert_eq!(subject("::ffff:192.0.2.1"), subject("192.0.2.1"));
        assert_eq!(subject("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(subject("::1").to_string(), "::1");
        assert_ne!(subject("fe80::1"), subject("fe80::2"));
    }

    #[test]
    fn failures_are_counted_together_only_within_their_time() {
        let mut suspects = Suspects::default();
        let who = subject("192.0.2.1");
        let mut now = Time::from_millis(1);
        assert_eq!([(); 3].map(|()| suspects.fail(now, who, MEMORY)), [1, 2, 3]);
        assert_eq!(suspects.fail(now, subject("192.0.2.2"), MEMORY), 1);
        now += MEMORY;
        assert_eq!(suspects.fail(now, who, MEMORY), 4);
        now += MEMORY + Duration::from_secs(1);
        assert_eq!(suspects.fail(now, who, MEMORY), 1);
    }

    #[test]
    fn a_ban_ends_and_is_told_once() {
        let mut suspects = Suspects::default();
        let (who, address) = (subject("2001:db8::1"), "2001:db8::2".parse().unwrap());
        let now = Time::from_millis(1);
        suspects.fail(now, who, MEMORY);
        suspects.ban(who, now + MEMORY);
        assert!(suspects.is_banned(now, address) && !suspects.is_banned(now, "192.0.2.1".parse().unwrap()));
        assert_eq!(suspects.forget_old(now, MEMORY), []);
        assert!(!suspects.is_banned(now + MEMORY, address));
        assert_eq!(suspects.forget_old(now + MEMORY, MEMORY), [who]);
        assert_eq!(suspects.forget_old(now + MEMORY, MEMORY), []);
        assert_eq!(suspects.fail(now + MEMORY, who, MEMORY), 1, "what led to it is settled");
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_tables() {
        let mut suspects = Suspects::default();
        for number in 0..2 * SUSPECTS_MAX as u32 {
            let who = Subject::of(std::net::Ipv4Addr::from_bits(number).into());
            let now = Time::from_millis(number.into());
            suspects.fail(now, who, MEMORY);
            suspects.fail(now, who, MEMORY);
            if number % 2 == 0 {
                suspects.ban(who, now + MEMORY);
            }
        }
        assert!(suspects.failures.len() <= SUSPECTS_MAX && suspects.banned.len() <= SUSPECTS_MAX);
    }
}
