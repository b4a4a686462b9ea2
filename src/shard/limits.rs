//! How many sessions there may be, counted across all shards without a lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Counters of addresses. Two addresses that share one are limited together; at 1,000 addresses that befalls one in 65.
const COUNTERS: usize = 64 * 1024;

/// The bounds and what is counted against them.
#[derive(Debug)]
pub struct Limits {
    sessions_max: usize,
    sessions_per_ip_max: u32,
    sessions: AtomicUsize,
    by_ip: Box<[AtomicU32]>,
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
}

impl Limits {
    /// Bounds of all sessions, and of those of one address; None = as many as memory and descriptors allow.
    pub fn new(sessions_max: Option<usize>, sessions_per_ip_max: Option<u32>) -> Limits {
        Limits {
            sessions_max: sessions_max.unwrap_or(usize::MAX),
            sessions_per_ip_max: sessions_per_ip_max.unwrap_or(u32::MAX),
            sessions: AtomicUsize::new(0),
            by_ip: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Whether there is any bound at all.
    pub fn are_bounded(&self) -> bool {
        self.sessions_max != usize::MAX || self.sessions_per_ip_max != u32::MAX
    }

    /// Counts a session that begins; an error when there are enough.
    pub fn begin(&self, peer: IpAddr) -> Result<(), LimitReached> {
        if self.sessions.fetch_add(1, Ordering::Relaxed) >= self.sessions_max {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(LimitReached::Sessions);
        }
        if self.counter(peer).fetch_add(1, Ordering::Relaxed) >= self.sessions_per_ip_max {
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

    fn counter(&self, peer: IpAddr) -> &AtomicU32 {
        let mut hasher = DefaultHasher::new();
        peer.hash(&mut hasher);
        &self.by_ip[hasher.finish() as usize % COUNTERS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_refused_beyond_the_bounds_and_counted_down() {
        let limits = Limits::new(Some(3), Some(2));
        let [one, two] = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        assert_eq!(limits.begin(one), Ok(()));
        assert_eq!(limits.begin(one), Ok(()));
        assert_eq!(limits.begin(one), Err(LimitReached::SessionsPerIp));
        assert_eq!(limits.begin(two), Ok(()));
        assert_eq!(limits.begin(two), Err(LimitReached::Sessions));
        limits.end(one);
        assert_eq!(limits.begin(two), Ok(()));
    }
}
