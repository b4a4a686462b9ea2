//! Who publishes under which path.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::track::Track;

use super::catalog::{
    Claim, ClaimError, Grant, Notice, Order, PUBLICATIONS_MAX, Pulse, Reserved, ShardIndex, StreamId,
    Subscriber, Want,
};

/// A publisher that was silent for longer is stale.
const STALE: Duration = Duration::from_secs(5);

/// What becomes of a publisher when another one wants its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRepublish {
    /// It stays.
    Refuse,
    /// It goes.
    Replace,
    /// It goes when the other comes from the same address, or when it has been silent for 5 s.
    #[default]
    Stale,
}

/// The paths that clients publish under. Whoever owns it gives the orders that follow from it.
#[derive(Debug, Default)]
pub struct Registry {
    policy: OnRepublish,
    published: HashMap<Arc<str>, Published>,
    reserved: HashMap<Arc<str>, Reserved>,
    attendants: Vec<Subscriber>,
    /// Orders for shards that do not attend yet: another one that has started sooner has viewers already. As many as
    /// there are reserved paths, times the shards.
    early: Vec<(ShardIndex, Notice)>,
    last_tenure: u64,
}

#[derive(Debug)]
struct Published {
    grant: Grant,
    owner: Subscriber,
    tracks: Vec<Track>,
    peer: IpAddr,
    pulse: Arc<Pulse>,
}

impl Registry {
    /// Nobody publishes anything; of these paths some cannot be published to.
    pub fn new(policy: OnRepublish, reserved: Vec<Reserved>) -> Registry {
        let reserved = reserved.into_iter().map(|reserved| (reserved.path.clone(), reserved)).collect();
        Registry { policy, reserved, ..Registry::default() }
    }

    /// Another policy and other reserved paths from now on. A client that publishes under one that is the server's from
    /// now on gives way.
    pub fn change(&mut self, policy: OnRepublish, reserved: Vec<Reserved>, owned: &HashSet<String>) {
        let Registry { reserved, .. } = Registry::new(policy, reserved);
        let before = std::mem::replace(&mut self.reserved, reserved);
        self.policy = policy;
        let awaited = |list: &HashMap<Arc<str>, Reserved>, path: &Arc<str>| {
            list.get(path).is_some_and(|reserved| reserved.is_published)
        };
        let gone: Vec<_> = self.published.keys().filter(|path| owned.contains(&***path)).cloned().collect();
        for path in gone {
            if let Some(entry) = self.published.remove(&path) {
                let (tenure, order) = (entry.grant.tenure, Order::Yield { to: None });
                (entry.owner.deliver)(Notice::Order { tenure, order });
                self.announce(&path, false);
            }
        }
        for path in before.keys().chain(self.reserved.keys().filter(|path| !before.contains_key(*path))) {
            let (was, is) = (awaited(&before, path), awaited(&self.reserved, path));
            if was != is && !self.published.contains_key(path) {
                self.announce(path, is);
            }
        }
    }

    /// Tells a shard of all paths, now and from now on.
    pub fn attend(&mut self, subscriber: Subscriber) {
        let awaited = self.reserved.values().filter(|reserved| reserved.is_published);
        let awaited = awaited.map(|reserved| &reserved.path);
        for path in awaited.chain(self.published.keys()) {
            (subscriber.deliver)(Notice::Published { path: path.clone(), is_there: true });
        }
        for (_, notice) in self.early.extract_if(.., |(shard, _)| *shard == subscriber.shard) {
            (subscriber.deliver)(notice);
        }
        self.attendants.push(subscriber);
    }

    /// Grants or refuses a claim and tells everybody who must know. `new_id` names a stream that did not run before.
    pub fn claim(&mut self, claim: Claim, new_id: impl FnOnce() -> StreamId) {
        let answer = self.grant(&claim, new_id);
        let Claim { ticket, path, tracks, peer, pulse, owner, now } = claim;
        let mut before = None;
        if let Ok(grant) = answer {
            pulse.beat(now);
            let entry = Published { grant, owner: owner.clone(), tracks, peer, pulse };
            before = self.published.insert(path.clone(), entry).map(|entry| (entry, grant));
            if before.is_none() {
                self.announce(&path, true);
            }
        }
        // Behind the announcement: a viewer that the publisher sends for is known everywhere.
        (owner.deliver)(Notice::Claimed { ticket, answer });
        // And before the stream itself comes.
        if let Some((before, grant)) = before {
            let order = Order::Yield { to: grant.inherits.then_some((owner, grant.tenure)) };
            (before.owner.deliver)(Notice::Order { tenure: before.grant.tenure, order });
        }
    }

    /// Takes a path back; whether it was still this grant's.
    pub fn release(&mut self, grant: Grant) {
        let path = self.published.iter().find(|(_, entry)| entry.grant.tenure == grant.tenure);
        if let Some(path) = path.map(|(path, _)| path.clone()) {
            self.published.remove(&path);
            // A path that is kept for a publisher is there without one.
            if !self.reserved.contains_key(&path) {
                self.announce(&path, false);
            }
        }
    }

    /// Passes a subscription on to the shard that publishes the path; gives it back when none does.
    pub fn subscribe(&mut self, path: &Arc<str>, subscriber: Subscriber) -> Result<(), Subscriber> {
        if !self.published.contains_key(path) && !self.reserved.contains_key(path) {
            return Err(subscriber);
        }
        self.order(path, Order::Subscribe { path: path.clone(), subscriber });
        Ok(())
    }

    /// Passes the end of a subscription on. A stream that was renewed when it was handed over is known to its owner alone.
    pub fn unsubscribe(&mut self, path: &str, stream: StreamId, shard: ShardIndex) {
        self.order(path, Order::Unsubscribe { stream, shard });
    }

    /// Passes on what a viewer needs.
    pub fn want(&mut self, path: &str, stream: StreamId, want: Want) {
        self.order(path, Order::Want(stream, want));
    }

    /// Gives an order to the shard of a stream.
    fn order(&mut self, path: &str, order: Order) {
        if let Some(entry) = self.published.get(path) {
            (entry.owner.deliver)(Notice::Order { tenure: entry.grant.tenure, order });
        } else if let Some(&Reserved { tenure, home, .. }) = self.reserved.get(path) {
            let notice = Notice::Order { tenure, order };
            match self.attendants.iter().find(|attendant| attendant.shard == home) {
                Some(attendant) => drop((attendant.deliver)(notice)),
                None => self.early.push((home, notice)),
            }
        }
    }

    fn grant(&mut self, claim: &Claim, new_id: impl FnOnce() -> StreamId) -> Result<Grant, ClaimError> {
        if self.reserved.get(&claim.path).is_some_and(|reserved| !reserved.is_published) {
            return Err(ClaimError::Owned);
        }
        let before = self.published.get(&claim.path);
        if before.is_none() && self.published.len() >= PUBLICATIONS_MAX {
            return Err(ClaimError::Full);
        }
        if let Some(before) = before {
            let silence = before.pulse.silence(claim.now);
            let may_replace = silence == Duration::MAX
                || match self.policy {
                    OnRepublish::Refuse => false,
                    OnRepublish::Replace => true,
                    OnRepublish::Stale => before.peer == claim.peer || silence > STALE,
                };
            if !may_replace {
                return Err(ClaimError::Busy);
            }
        }
        let continued = before.filter(|before| agree(&before.tracks, &claim.tracks));
        let stream = continued.map(|before| before.grant.stream);
        self.last_tenure += 1;
        let renewed = new_id();
        Ok(Grant {
            stream: stream.unwrap_or(renewed),
            tenure: self.last_tenure,
            inherits: stream.is_some(),
            renewed,
        })
    }

    fn announce(&self, path: &Arc<str>, is_there: bool) {
        for attendant in &self.attendants {
            (attendant.deliver)(Notice::Published { path: path.clone(), is_there });
        }
    }
}

/// Whether viewers of one can go on with the other.
pub fn agree(ours: &[Track], theirs: &[Track]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| {
            a.codec.agrees_with(&b.codec) && a.payload_type == b.payload_type && a.clock_rate == b.clock_rate
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proto::time::Time;
    use proto::track::{Codec, Law};

    use super::*;

    /// A shard that writes down what it is told.
    fn shard(index: u16) -> (Subscriber, Arc<Mutex<Vec<Notice>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let deliver = {
            let told = told.clone();
            Arc::new(move |notice| {
                told.lock().unwrap().push(notice);
                true
            })
        };
        (Subscriber { shard: index, deliver }, told)
    }

    fn claim(owner: &Subscriber, peer: u8, now_s: u64, rate: u32) -> Claim {
        let codec = Codec::G711 { law: Law::A, sample_rate: rate, channels: 1 };
        Claim {
            ticket: 5,
            path: "a".into(),
            tracks: vec![Track::new(codec, 0)],
            peer: [10, 0, 0, peer].into(),
            now: Time::from_millis(now_s * 1_000),
            pulse: Arc::default(),
            owner: owner.clone(),
        }
    }

    /// What the last claim of a shard was answered.
    fn answer(told: &Mutex<Vec<Notice>>) -> Result<Grant, ClaimError> {
        let told = told.lock().unwrap();
        let claimed = told.iter().rev().find_map(|notice| match notice {
            Notice::Claimed { ticket: 5, answer } => Some(*answer),
            _ => None,
        });
        claimed.expect("every claim is answered")
    }

    fn second(policy: OnRepublish, peer: u8, now_s: u64) -> bool {
        let mut registry = Registry::new(policy, Vec::new());
        let (owner, told) = shard(0);
        registry.claim(claim(&owner, 1, 1, 8_000), || 1);
        answer(&told).unwrap();
        registry.claim(claim(&owner, peer, now_s, 8_000), || 2);
        answer(&told).is_ok()
    }

    #[test]
    fn another_publisher_takes_over_as_the_policy_says() {
        use OnRepublish::{Refuse, Replace, Stale};
        let cases =
            [(Refuse, 1, 60, false), (Replace, 2, 2, true), (Stale, 2, 2, false), (Stale, 1, 2, true)];
        for (policy, peer, now_s, is_granted) in cases.into_iter().chain([(Stale, 2, 7, true)]) {
            assert_eq!(second(policy, peer, now_s), is_granted, "{policy:?} {peer} {now_s}");
        }
    }

    #[test]
    fn a_publisher_of_the_same_tracks_inherits_and_another_does_not() {
        for (rate, inherits) in [(8_000, true), (16_000, false)] {
            let mut registry = Registry::new(OnRepublish::Replace, Vec::new());
            let ((first, first_told), (second, second_told)) = (shard(0), shard(1));
            registry.claim(claim(&first, 1, 1, 8_000), || 1);
            registry.claim(claim(&second, 2, 2, rate), || 2);
            let grant = answer(&second_told).unwrap();
            assert_eq!((grant.inherits, grant.stream), (inherits, if inherits { 1 } else { 2 }));
            let told = first_told.lock().unwrap();
            let Some(Notice::Order { tenure: 1, order: Order::Yield { to } }) = told.last() else {
                panic!("{told:?}");
            };
            assert_eq!(to.as_ref().map(|(to, tenure)| (to.shard, *tenure)), inherits.then_some((1, 2)));
        }
    }

    #[test]
    fn a_stream_that_ended_before_it_was_handed_over_has_another_name() {
        let mut registry = Registry::new(OnRepublish::Replace, Vec::new());
        let (owner, told) = shard(0);
        registry.claim(claim(&owner, 1, 1, 8_000), || 1);
        registry.claim(claim(&owner, 2, 2, 8_000), || 2);
        let grant = answer(&told).unwrap();
        assert_eq!((grant.inherits, grant.stream, grant.renewed), (true, 1, 2));
        // Its owner may have begun it under either, and is told of both.
        for stream in [1, 2] {
            registry.unsubscribe("a", stream, 7);
            let told = told.lock().unwrap();
            let Some(Notice::Order { order: Order::Unsubscribe { stream: named, shard: 7 }, .. }) =
                told.last()
            else {
                panic!("{told:?}");
            };
            assert_eq!(*named, stream);
        }
    }

    #[test]
    fn a_path_that_was_taken_over_is_not_given_back_by_its_first_owner() {
        let mut registry = Registry::new(OnRepublish::Replace, Vec::new());
        let ((owner, told), (attendant, heard)) = (shard(0), shard(1));
        registry.attend(attendant);
        registry.claim(claim(&owner, 1, 1, 8_000), || 1);
        let first = answer(&told).unwrap();
        registry.claim(claim(&owner, 2, 2, 8_000), || 2);
        let second = answer(&told).unwrap();
        registry.release(first);
        assert_eq!(registry.published.len(), 1);
        registry.release(second);
        assert_eq!(registry.published.len(), 0);
        let heard: Vec<_> = (heard.lock().unwrap().iter())
            .map(|notice| matches!(notice, Notice::Published { is_there: true, .. }))
            .collect();
        assert_eq!(heard, [true, false]);
    }

    #[test]
    fn a_path_kept_for_a_publisher_is_always_there_and_waits_at_home_for_one() {
        let kept =
            |path: &str, tenure, is_published| Reserved { path: path.into(), tenure, home: 1, is_published };
        let mut registry = Registry::new(OnRepublish::Stale, vec![kept("a", 90, true), kept("b", 91, false)]);
        let ((owner, told), (home, heard)) = (shard(0), shard(1));
        registry.attend(home);
        let subscribe = |registry: &mut Registry| registry.subscribe(&"a".into(), owner.clone()).is_ok();
        assert!(subscribe(&mut registry));
        registry.claim(claim(&owner, 1, 1, 8_000), || 1);
        let grant = answer(&told).unwrap();
        assert!(subscribe(&mut registry));
        registry.release(grant);
        assert!(subscribe(&mut registry));
        let tenures = |told: &Mutex<Vec<Notice>>| -> Vec<u64> {
            let told = told.lock().unwrap();
            let orders = told.iter().filter_map(|notice| match notice {
                Notice::Order { tenure, order: Order::Subscribe { .. } } => Some(*tenure),
                _ => None,
            });
            orders.collect()
        };
        assert_eq!((tenures(&told), tenures(&heard)), (vec![grant.tenure], vec![90, 90]));
        let heard = heard.lock().unwrap();
        let is_there = |notice: &Notice| matches!(notice, Notice::Published { is_there: false, .. });
        assert!(!heard.iter().any(is_there), "it never goes");
        assert!(matches!(heard[0], Notice::Published { is_there: true, .. }));
        let owned = Claim { path: "b".into(), ..claim(&owner, 1, 1, 8_000) };
        registry.claim(owned, || 2);
        assert_eq!(answer(&told), Err(ClaimError::Owned));
    }

    #[test]
    fn paths_of_the_configuration_come_and_go_and_publishers_give_way_to_them() {
        let kept =
            |path: &str, is_published| Reserved { path: path.into(), tenure: 90, home: 0, is_published };
        let mut registry = Registry::new(OnRepublish::Stale, vec![kept("k", true)]);
        let (owner, told) = shard(0);
        registry.attend(owner.clone());
        registry.claim(claim(&owner, 1, 1, 8_000), || 1);
        let tenure = answer(&told).unwrap().tenure;
        told.lock().unwrap().clear();
        registry.change(
            OnRepublish::Replace,
            vec![kept("a", false), kept("n", true)],
            &HashSet::from(["a".to_owned()]),
        );
        let published = |path: &str| {
            let told = told.lock().unwrap();
            let of_path = told.iter().filter_map(|notice| match notice {
                Notice::Published { path: other, is_there } if **other == *path => Some(*is_there),
                _ => None,
            });
            of_path.collect::<Vec<_>>()
        };
        assert_eq!(["a", "k", "n"].map(published), [vec![false], vec![false], vec![true]]);
        let yields = |notice: &Notice| matches!(notice, Notice::Order { tenure: of, order: Order::Yield { to: None } } if *of == tenure);
        assert!(told.lock().unwrap().iter().any(yields));
        registry.claim(claim(&owner, 1, 1, 8_000), || 2);
        assert_eq!(answer(&told), Err(ClaimError::Owned));
        registry.change(OnRepublish::Replace, Vec::new(), &HashSet::new());
        registry.claim(claim(&owner, 1, 1, 8_000), || 3);
        assert!(answer(&told).is_ok());
    }

    #[test]
    fn who_asks_before_the_home_shard_attends_is_not_forgotten() {
        let reserved = Reserved { path: "a".into(), tenure: 90, home: 1, is_published: false };
        let mut registry = Registry::new(OnRepublish::Stale, vec![reserved]);
        let ((first, _), (home, heard)) = (shard(0), shard(1));
        registry.attend(first.clone());
        registry.subscribe(&"a".into(), first).unwrap();
        registry.attend(home);
        let heard = heard.lock().unwrap();
        assert!(
            matches!(heard[..], [Notice::Order { tenure: 90, order: Order::Subscribe { .. } }]),
            "{heard:?}"
        );
    }

    #[test]
    fn a_publisher_that_is_gone_is_replaced_under_any_policy() {
        let mut registry = Registry::new(OnRepublish::Refuse, Vec::new());
        let (owner, told) = shard(0);
        let first = claim(&owner, 1, 1, 8_000);
        let pulse = first.pulse.clone();
        registry.claim(first, || 1);
        pulse.stop();
        registry.claim(claim(&owner, 2, 2, 8_000), || 2);
        assert!(answer(&told).unwrap().inherits);
    }
}
