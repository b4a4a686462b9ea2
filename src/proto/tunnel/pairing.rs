//! Which GET and which POST are one tunnel (Apple's "Tunneling RTSP and RTP over HTTP").
//!
//! Both come in either order. A POST may end and another take its place while the GET stays. Halves without their
//! other half are bounded in number and time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::http::Cookie;
use crate::time::Time;

/// How long a half waits for its other half.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Halves that wait at once: of more the oldest goes. A client brings its second half within a round trip, so a flood
/// does not keep others out.
pub const HALVES_MAX: usize = 1_024;

/// A connection and where it comes from. `C` names connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half<C> {
    /// Its name.
    pub conn: C,
    /// Its client.
    pub peer: IpAddr,
}

/// What becomes of a half that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined<C> {
    /// It waits for its other half.
    Waits,
    /// It is one tunnel with `other`. The POST that it takes the place of, if any, is to be closed.
    Pair {
        /// The GET if a POST has come, else the POST.
        other: C,
        /// A POST of the same client that nobody has closed yet.
        replaced: Option<C>,
    },
    /// Another connection has that place.
    Refused,
}

/// All tunnels of one shard.
#[derive(Debug)]
pub struct Pairing<C> {
    tunnels: HashMap<Cookie, Tunnel<C>>,
    /// Those that wait or have waited, oldest first, by cookie and serial number.
    waiting: VecDeque<(Time, Cookie, u64)>,
    halves: usize,
    serial: u64,
}

#[derive(Debug)]
struct Tunnel<C> {
    out: Option<Half<C>>,
    into: Option<Half<C>>,
    /// Whether both halves were there once.
    is_paired: bool,
    serial: u64,
}

impl<C> Default for Pairing<C> {
    fn default() -> Pairing<C> {
        Pairing { tunnels: HashMap::new(), waiting: VecDeque::new(), halves: 0, serial: 0 }
    }
}

impl<C: Copy + Eq> Pairing<C> {
    /// Takes a GET.
    pub fn handle_get(&mut self, now: Time, cookie: &Cookie, half: Half<C>) -> Joined<C> {
        let tunnel = self.tunnel(now, cookie);
        if tunnel.out.is_some() {
            return Joined::Refused;
        }
        tunnel.out = Some(half);
        match tunnel.into {
            None => Joined::Waits,
            Some(into) => {
                tunnel.is_paired = true;
                self.halves -= 1;
                Joined::Pair { other: into.conn, replaced: None }
            }
        }
    }

    /// Takes a POST. One that is there already gives way to another of the same client: the end of the first may be
    /// seen later than the begin of the second.
    pub fn handle_post(&mut self, now: Time, cookie: &Cookie, half: Half<C>) -> Joined<C> {
        let tunnel = self.tunnel(now, cookie);
        if tunnel.into.is_some_and(|into| into.peer != half.peer || tunnel.out.is_none()) {
            return Joined::Refused;
        }
        let replaced = tunnel.into.replace(half).map(|into| into.conn);
        let Some(out) = tunnel.out else { return Joined::Waits };
        if !tunnel.is_paired {
            tunnel.is_paired = true;
            self.halves -= 1;
        }
        Joined::Pair { other: out.conn, replaced }
    }

    /// Notes that a connection is gone. Returns the other half if it has to go as well: a POST without its GET.
    pub fn handle_end(&mut self, cookie: &Cookie, conn: C) -> Option<C> {
        let tunnel = self.tunnels.get_mut(cookie)?;
        let is = |half: Option<Half<C>>| half.is_some_and(|half| half.conn == conn);
        if is(tunnel.out) {
            let into = tunnel.into.map(|into| into.conn);
            self.remove(cookie);
            return into;
        }
        if is(tunnel.into) {
            tunnel.into = None;
            if tunnel.out.is_none() {
                self.remove(cookie);
            }
        }
        None
    }

    /// The next half that has waited for too long, or is the oldest of too many; it is forgotten here and to be closed.
    pub fn poll_orphan(&mut self, now: Time) -> Option<C> {
        while let Some((since, cookie, serial)) = self.waiting.front() {
            let tunnel = self.tunnels.get(cookie).filter(|tunnel| tunnel.serial == *serial);
            let Some(tunnel) = tunnel.filter(|tunnel| !tunnel.is_paired) else {
                self.waiting.pop_front();
                continue;
            };
            if now.since(*since) <= PATIENCE && self.halves <= HALVES_MAX {
                return None;
            }
            let half = tunnel.out.or(tunnel.into);
            let (_, cookie, _) = self.waiting.pop_front()?;
            self.remove(&cookie);
            return half.map(|half| half.conn);
        }
        None
    }

    /// Count of tunnels, complete or not.
    pub fn count(&self) -> usize {
        self.tunnels.len()
    }

    fn tunnel(&mut self, now: Time, cookie: &Cookie) -> &mut Tunnel<C> {
        let (serial, halves, waiting) = (&mut self.serial, &mut self.halves, &mut self.waiting);
        self.tunnels.entry(cookie.clone()).or_insert_with(|| {
            *serial += 1;
            *halves += 1;
            waiting.push_back((now, cookie.clone(), *serial));
            Tunnel { out: None, into: None, is_paired: false, serial: *serial }
        })
    }

    fn remove(&mut self, cookie: &Cookie) {
        if let Some(tunnel) = self.tunnels.remove(cookie)
            && !tunnel.is_paired
        {
            self.halves -= 1;
        }
        // Entries of what is gone would pile up behind one that waits.
        if self.waiting.len() > 2 * self.halves + 16 {
            let tunnels = &self.tunnels;
            self.waiting.retain(|(_, cookie, serial)| {
                tunnels.get(cookie).is_some_and(|tunnel| tunnel.serial == *serial && !tunnel.is_paired)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn half(conn: u32) -> Half<u32> {
        Half { conn, peer: Ipv4Addr::LOCALHOST.into() }
    }

    fn cookie(text: &str) -> Cookie {
        Cookie::parse(text).unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn both_orders_make_a_pair() {
        let mut pairing = Pairing::default();
        let (a, b) = (cookie("a"), cookie("b"));
        assert_eq!(pairing.handle_get(at(0), &a, half(1)), Joined::Waits);
        assert_eq!(pairing.handle_post(at(0), &a, half(2)), Joined::Pair { other: 1, replaced: None });
        assert_eq!(pairing.handle_post(at(0), &b, half(3)), Joined::Waits);
        assert_eq!(pairing.handle_get(at(0), &b, half(4)), Joined::Pair { other: 3, replaced: None });
        assert_eq!(pairing.poll_orphan(at(99)), None);
        assert_eq!(pairing.count(), 2);
    }

    #[test]
    fn a_post_may_be_opened_again_while_the_get_stays() {
        let mut pairing = Pairing::default();
        let a = cookie("a");
        pairing.handle_get(at(0), &a, half(1));
        pairing.handle_post(at(0), &a, half(2));
        assert_eq!(pairing.handle_end(&a, 2), None);
        assert_eq!(pairing.handle_post(at(60), &a, half(3)), Joined::Pair { other: 1, replaced: None });
        assert_eq!(pairing.handle_post(at(60), &a, half(4)), Joined::Pair { other: 1, replaced: Some(3) });
        assert_eq!(pairing.handle_end(&a, 3), None);
        assert_eq!(pairing.handle_end(&a, 1), Some(4));
        assert_eq!(pairing.count(), 0);
    }

    #[test]
    fn a_second_get_and_the_post_of_another_client_are_refused() {
        let mut pairing = Pairing::default();
        let a = cookie("a");
        pairing.handle_get(at(0), &a, half(1));
        assert_eq!(pairing.handle_get(at(0), &a, half(2)), Joined::Refused);
        pairing.handle_post(at(0), &a, half(3));
        let stranger = Half { conn: 4, peer: Ipv4Addr::new(192, 0, 2, 1).into() };
        assert_eq!(pairing.handle_post(at(0), &a, stranger), Joined::Refused);
        let b = cookie("b");
        pairing.handle_post(at(0), &b, half(5));
        assert_eq!(pairing.handle_post(at(0), &b, half(6)), Joined::Refused);
    }

    #[test]
    fn orphans_go_when_they_have_waited_or_are_too_many() {
        let mut pairing = Pairing::default();
        pairing.handle_get(at(0), &cookie("a"), half(1));
        pairing.handle_post(at(1), &cookie("b"), half(2));
        assert_eq!(pairing.poll_orphan(at(10)), None);
        assert_eq!(pairing.poll_orphan(at(11)), Some(1));
        assert_eq!(pairing.poll_orphan(at(11)), None);
        for conn in 0..HALVES_MAX as u32 {
            pairing.handle_get(at(11), &cookie(&format!("c{conn}")), half(100 + conn));
        }
        assert_eq!(pairing.poll_orphan(at(11)), Some(2));
        assert_eq!(pairing.poll_orphan(at(11)), None);
        assert_eq!(pairing.count(), HALVES_MAX);
    }

    proptest! {
        #[test]
        fn whatever_comes_a_connection_is_in_one_place_and_halves_are_bounded(
            steps in vec((0..4_u8, 0..6_u8, 0..40_u32), 0..300),
        ) {
            let (mut pairing, mut now) = (Pairing::default(), 0);
            let mut open: HashMap<u32, Cookie> = HashMap::new();
            for (step, name, conn) in steps {
                let cookie = cookie(&name.to_string());
                match step {
                    0 | 1 if !open.contains_key(&conn) => {
                        let joined = match step {
                            0 => pairing.handle_get(at(now), &cookie, half(conn)),
                            _ => pairing.handle_post(at(now), &cookie, half(conn)),
                        };
                        if joined != Joined::Refused {
                            open.insert(conn, cookie);
                        }
                        if let Joined::Pair { other, replaced } = joined {
                            prop_assert_eq!(&open[&other], &open[&conn]);
                            replaced.map(|gone| open.remove(&gone));
                        }
                    }
                    2 => {
                        if let Some(cookie) = open.remove(&conn) {
                            pairing.handle_end(&cookie, conn).map(|gone| open.remove(&gone));
                        }
                    }
                    _ => now += 3,
                }
                while let Some(orphan) = pairing.poll_orphan(at(now)) {
                    prop_assert!(open.remove(&orphan).is_some(), "an orphan is one that is open");
                }
                let waiting = pairing.tunnels.values().filter(|tunnel| !tunnel.is_paired).count();
                prop_assert_eq!(pairing.halves, waiting);
                prop_assert!(pairing.waiting.len() <= 2 * pairing.halves + 64);
            }
            for (conn, cookie) in open {
                pairing.handle_end(&cookie, conn);
            }
            prop_assert_eq!((pairing.count(), pairing.halves), (0, 0));
        }
    }
}
