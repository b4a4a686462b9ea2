//! How many clients there may be and what they may be sent, counted across all shards without a lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::gate::Subject;

/// Counters of addresses. Two addresses that share one are limited together; at 1,000 addresses that befalls one in 65.
const COUNTERS: usize = 64 * 1024;

/// Connections beyond `max_connections` that are kept until they have asked and been refused. More are closed at once.
const SURPLUS_MAX: usize = 256;

/// The bounds and what is counted against them.
#[derive(Debug)]
pub struct Limits {
    sessions_max: AtomicUsize,
    sessions_per_ip_max: AtomicU32,
    connections_max: AtomicUsize,
    bits_per_second_max: AtomicU64,
    sessions: AtomicUsize,
    by_ip: Box<[AtomicU32]>,
    connections: AtomicUsize,
    surplus: AtomicUsize,
    /// Bits a second that were promised to those who play.
    promised: AtomicU64,
    /// Bits a second that were sent of late.
    sent: AtomicU64,
    /// How many of those who play take what there is.
    takers: AtomicU32,
}

/// Least that is sent to one who takes what there is, in bits a second: it is to end some day.
const SHARE_MIN: u64 = 64_000;

/// The bounds. None is as much as memory, descriptors and the network allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of all sessions.
    pub sessions: Option<usize>,
    /// Of the sessions of one address.
    pub sessions_per_ip: Option<u32>,
    /// Of all connections.
    pub connections: Option<usize>,
    /// Of what is sent.
    pub bits_per_second: Option<u64>,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// Of all sessions.
    #[error("max_sessions is reached")]
    Sessions,
    /// Of the sessions of one address.
    #[error("max_sessions_per_ip is reached")]
    SessionsPerIp,
    /// Of all connections.
    #[error("max_connections is reached")]
    Connections,
    /// Of what is sent.
    #[error("max_bitrate_mbps would be exceeded")]
    Bitrate,
}

/// A connection's place among all; given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    limits: Arc<Limits>,
    is_surplus: bool,
}

/// What one who plays is expected to take, in bits a second; given back when this is dropped.
#[derive(Debug)]
pub struct Promise {
    limits: Arc<Limits>,
    bits_per_second: u64,
    /// Whether it is of one who takes what there is, whom the bound alone slows down.
    takes_rest: bool,
}

/// The clients that one shard has refused since that was last said.
#[derive(Debug, Default)]
pub struct Refused {
    by_limit: Vec<(LimitReached, u64, SocketAddr)>,
    /// How often nobody could be accepted, and why the last time.
    unaccepted: Option<(u64, io::Error)>,
}

impl Limits {
    /// Nothing is counted yet.
    pub fn new(bounds: Bounds) -> Limits {
        let limits = Limits {
            sessions_max: AtomicUsize::new(0),
            sessions_per_ip_max: AtomicU32::new(0),
            connections_max: AtomicUsize::new(0),
            bits_per_second_max: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
            by_ip: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            connections: AtomicUsize::new(0),
            surplus: AtomicUsize::new(0),
            promised: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            takers: AtomicU32::new(0),
        };
        limits.change(bounds);
        limits
    }

    /// Other bounds from now on, for what was counted so far as well: who is there stays.
    pub fn change(&self, bounds: Bounds) {
        self.sessions_max.store(bounds.sessions.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.sessions_per_ip_max.store(bounds.sessions_per_ip.unwrap_or(u32::MAX), Ordering::Relaxed);
        self.connections_max.store(bounds.connections.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.bits_per_second_max.store(bounds.bits_per_second.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the number of sessions has any bound at all.
    pub fn are_bounded(&self) -> bool {
        let (sessions, per_ip) = (&self.sessions_max, &self.sessions_per_ip_max);
        sessions.load(Ordering::Relaxed) != usize::MAX || per_ip.load(Ordering::Relaxed) != u32::MAX
    }

    /// Whether what is sent has a bound.
    pub fn has_bitrate(&self) -> bool {
        self.bits_per_second_max.load(Ordering::Relaxed) != u64::MAX
    }

    /// Counts a session that begins; an error when there are enough.
    pub fn begin(&self, peer: IpAddr) -> Result<(), LimitReached> {
        if self.sessions.fetch_add(1, Ordering::Relaxed) >= self.sessions_max.load(Ordering::Relaxed) {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(LimitReached::Sessions);
        }
        if self.counter(peer).fetch_add(1, Ordering::Relaxed)
            >= self.sessions_per_ip_max.load(Ordering::Relaxed)
        {
            self.end(peer);
            return Err(LimitReached::SessionsPerIp);
        }
        Ok(())
    }

    /// Counts a session that ended.
    pub fn end(&self, peer: IpAddr) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        self.counter(peer).fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that was accepted. None when there are so many that not even a refusal can be said.
    pub fn enter(self: &Arc<Limits>) -> Option<Place> {
        let take = |count: &AtomicUsize, max| {
            let has_room = count.fetch_add(1, Ordering::Relaxed) < max;
            if !has_room {
                count.fetch_sub(1, Ordering::Relaxed);
            }
            has_room
        };
        let is_surplus = !take(&self.connections, self.connections_max.load(Ordering::Relaxed));
        let is_in = !is_surplus || take(&self.surplus, SURPLUS_MAX);
        is_in.then(|| Place { limits: self.clone(), is_surplus })
    }

    /// Promises so many bits a second; an error when what was promised, or what is sent, leaves no room for them.
    pub fn promise(self: &Arc<Limits>, bits_per_second: u64) -> Result<Promise, LimitReached> {
        let mut promise = Promise { limits: self.clone(), bits_per_second: 0, takes_rest: false };
        promise.raise(bits_per_second)?;
        Ok(promise)
    }

    /// Takes what one shard has sent of late in the place of what it had sent before, in bits a second.
    pub fn note_sent(&self, before: u64, now: u64) {
        self.sent.fetch_add(now, Ordering::Relaxed);
        self.sent.fetch_sub(before, Ordering::Relaxed);
    }

    fn counter(&self, peer: IpAddr) -> &AtomicU32 {
        let mut hasher = DefaultHasher::new();
        Subject::of(peer).hash(&mut hasher);
        &self.by_ip[hasher.finish() as usize % COUNTERS]
    }
}

impl Place {
    /// Whether there was none left: the connection is only to be refused.
    pub fn is_surplus(&self) -> bool {
        self.is_surplus
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = if self.is_surplus { &self.limits.surplus } else { &self.limits.connections };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Promise {
    /// Promises at least so many bits a second. After an error the promise is what it was.
    pub fn raise(&mut self, bits_per_second: u64) -> Result<(), LimitReached> {
        let more = bits_per_second.saturating_sub(self.bits_per_second);
        let max = self.limits.bits_per_second_max.load(Ordering::Relaxed);
        let promised = self.limits.promised.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let sent = self.limits.sent.load(Ordering::Relaxed).saturating_add(more);
        // Whoever plays already is within both.
        if (more > 0 || self.bits_per_second == 0) && promised.max(sent) > max {
            self.limits.promised.fetch_sub(more, Ordering::Relaxed);
            return Err(LimitReached::Bitrate);
        }
        self.bits_per_second += more;
        Ok(())
    }

    /// Sets whether it is of one who takes what there is.
    pub fn set_takes_rest(&mut self, takes_rest: bool) {
        if takes_rest && !self.takes_rest {
            self.limits.takers.fetch_add(1, Ordering::Relaxed);
        } else if self.takes_rest && !takes_rest {
            self.limits.takers.fetch_sub(1, Ordering::Relaxed);
        }
        self.takes_rest = takes_rest;
    }

    /// Whether it is of one who takes what there is: what it is sent beyond the promise keeps nobody out.
    pub fn takes_rest(&self) -> bool {
        self.takes_rest
    }

    /// What was promised, in bits a second.
    pub fn bits_per_second(&self) -> u64 {
        self.bits_per_second
    }

    /// Bits a second that one may be sent who takes what there is: the promise, and a fair part of what nobody was promised.
    pub fn share(&self) -> u64 {
        let limits = &self.limits;
        let max = limits.bits_per_second_max.load(Ordering::Relaxed);
        let rest = max.saturating_sub(limits.promised.load(Ordering::Relaxed));
        let takers = u64::from(limits.takers.load(Ordering::Relaxed)).max(1);
        (self.bits_per_second + rest / takers).max(SHARE_MIN)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.set_takes_rest(false);
        self.limits.promised.fetch_sub(self.bits_per_second, Ordering::Relaxed);
    }
}

impl Refused {
    /// Counts a client that was refused.
    pub fn note(&mut self, reached: LimitReached, peer: SocketAddr) {
        match self.by_limit.iter_mut().find(|(other, ..)| *other == reached) {
            Some((_, count, last)) => (*count, *last) = (*count + 1, peer),
            None => self.by_limit.push((reached, 1, peer)),
        }
    }

    /// By which bound how many were refused since that was last asked, and the last of them.
    pub fn take(&mut self) -> Vec<(LimitReached, u64, SocketAddr)> {
        std::mem::take(&mut self.by_limit)
    }

    /// Counts that clients could not be accepted and wait.
    pub fn note_unaccepted(&mut self, error: io::Error) {
        let count = self.unaccepted.as_ref().map_or(0, |(count, _)| *count);
        self.unaccepted = Some((count + 1, error));
    }

    /// How often that was since it was last asked, and why the last time; None when it was not.
    pub fn take_unaccepted(&mut self) -> Option<(u64, io::Error)> {
        self.unaccepted.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(sessions: Option<usize>, sessions_per_ip: Option<u32>) -> Limits {
        Limits::new(Bounds { sessions, sessions_per_ip, ..Bounds::default() })
    }

    #[test]
    fn other_bounds_are_for_what_was_counted_before() {
        let limits = bounded(Some(1), None);
        let ip = IpAddr::from([192, 0, 2, 1]);
        assert_eq!([limits.begin(ip), limits.begin(ip)], [Ok(()), Err(LimitReached::Sessions)]);
        limits.change(Bounds { sessions: Some(2), ..Bounds::default() });
        assert_eq!([limits.begin(ip), limits.begin(ip)], [Ok(()), Err(LimitReached::Sessions)]);
        limits.change(Bounds { sessions: Some(1), ..Bounds::default() });
        limits.end(ip);
        assert_eq!(limits.begin(ip), Err(LimitReached::Sessions), "who is there stays and is counted");
    }

    #[test]
    fn sessions_are_refused_beyond_the_bounds_and_counted_down() {
        let limits = bounded(Some(3), Some(2));
        let [one, two] = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        assert_eq!(limits.begin(one), Ok(()));
        assert_eq!(limits.begin(one), Ok(()));
        assert_eq!(limits.begin(one), Err(LimitReached::SessionsPerIp));
        assert_eq!(limits.begin(two), Ok(()));
        assert_eq!(limits.begin(two), Err(LimitReached::Sessions));
        limits.end(one);
        assert_eq!(limits.begin(two), Ok(()));
    }

    #[test]
    fn who_takes_what_there_is_has_a_fair_part_of_what_nobody_was_promised() {
        let bits_per_second = Some(10_000_000);
        let limits = Arc::new(Limits::new(Bounds { bits_per_second, ..Bounds::default() }));
        let mut one = limits.promise(1_000_000).unwrap();
        one.set_takes_rest(true);
        assert_eq!(one.share(), 10_000_000);
        let mut other = limits.promise(3_000_000).unwrap();
        assert_eq!(one.share(), 7_000_000);
        other.set_takes_rest(true);
        other.set_takes_rest(true);
        assert_eq!((one.share(), other.share()), (4_000_000, 6_000_000));
        let last = limits.promise(6_000_000).unwrap();
        assert_eq!((one.share(), other.share()), (1_000_000, 3_000_000));
        drop((other, last));
        assert_eq!(one.share(), 10_000_000);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let limits = bounded(None, Some(2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(["2001:db8::1", "2001:db8::2"].map(|ip| limits.begin(address(ip))), [Ok(()); 2]);
        assert_eq!(limits.begin(address("2001:db8::3")), Err(LimitReached::SessionsPerIp));
        assert_eq!(limits.begin(address("2001:db8:0:1::3")), Ok(()));
    }

    #[test]
    fn connections_beyond_the_bound_are_kept_to_be_refused_up_to_a_bound_of_their_own() {
        let limits = Arc::new(Limits::new(Bounds { connections: Some(2), ..Bounds::default() }));
        let mut places: Vec<_> = (0..2 + SURPLUS_MAX).map(|_| limits.enter().unwrap()).collect();
        assert_eq!(places.iter().filter(|place| place.is_surplus()).count(), SURPLUS_MAX);
        assert!(limits.enter().is_none());
        places.remove(0);
        assert!(limits.enter().is_some_and(|place| !place.is_surplus()));
    }

    #[test]
    fn neither_what_is_promised_nor_what_is_sent_goes_beyond_the_bound() {
        let limits = Arc::new(Limits::new(Bounds { bits_per_second: Some(10), ..Bounds::default() }));
        let mut first = limits.promise(4).unwrap();
        let second = limits.promise(6).unwrap();
        assert_eq!(limits.promise(1).err(), Some(LimitReached::Bitrate));
        assert_eq!(first.raise(5), Err(LimitReached::Bitrate));
        assert_eq!(first.raise(3), Ok(()), "it has that much");
        drop(second);
        assert_eq!(first.raise(5), Ok(()));
        limits.note_sent(0, 8);
        assert_eq!(limits.promise(3).err(), Some(LimitReached::Bitrate));
        limits.note_sent(8, 11);
        assert_eq!(limits.promise(0).err(), Some(LimitReached::Bitrate), "what is unknown needs some room");
        limits.note_sent(11, 0);
        drop(first);
        assert!(limits.promise(10).is_ok());
    }

    #[test]
    fn who_was_refused_is_told_once() {
        let mut refused = Refused::default();
        let [one, two] = [SocketAddr::from(([192, 0, 2, 1], 1)), SocketAddr::from(([192, 0, 2, 2], 2))];
        refused.note(LimitReached::Bitrate, one);
        refused.note(LimitReached::Sessions, one);
        refused.note(LimitReached::Bitrate, two);
        assert_eq!(refused.take(), [(LimitReached::Bitrate, 2, two), (LimitReached::Sessions, 1, one)]);
        assert_eq!(refused.take(), []);
    }
}
