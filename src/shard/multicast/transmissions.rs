//! The transmissions of one shard, and who listens to them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::Udp;
use proto::time::Time;
use slotmap::SlotMap;
use smallvec::SmallVec;

use super::{Named, Offer, Tracks};
use crate::media::library::Ticket;
use crate::shard::connection::Mount;
use crate::shard::session::{SessionId, SessionKey};
use crate::stream::catalog::{ShardIndex, StreamName};
use crate::stream::groups::Groups;

slotmap::new_key_type! {
    /// Names a transmission on its home shard.
    pub struct TransmissionKey;
}

/// How long groups are kept for a client that has asked for them and has not come back.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A session is told of reports from its address at most this often.
const HEARD_MIN: Duration = Duration::from_millis(250);

/// One presentation on its way to its groups.
#[derive(Debug)]
pub struct Transmission {
    /// What is sent, and whereto.
    pub offer: Arc<Offer>,
    /// The session that sends; there while there are members.
    pub sender: Option<SessionKey>,
    /// Those who have asked for what is being prepared.
    pub awaited_by: SmallVec<[SessionId; 1]>,
    /// Sockets that hear the groups' reports.
    pub sockets: SmallVec<[Udp; 2]>,
    /// When it was last asked for.
    pub asked: Time,
    /// For each track how many listen to it.
    listeners: SmallVec<[usize; 2]>,
    members: HashMap<SessionId, Place>,
    by_ip: HashMap<IpAddr, SmallVec<[SessionId; 1]>>,
}

/// One member.
#[derive(Debug)]
struct Place {
    ip: IpAddr,
    tracks: Tracks,
    /// When it was last told that its address reports.
    heard: Option<Time>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Transmissions {
    all: SlotMap<TransmissionKey, Transmission>,
    /// By what is sent: a live stream, else a file; and by its name.
    by_name: HashMap<(bool, StreamName), TransmissionKey>,
    /// Whose reports come to a socket: the track's.
    sockets: HashMap<Udp, (TransmissionKey, u8)>,
    /// Clients that wait for a live stream to be known here.
    pub asking: Vec<(StreamName, ShardIndex, Ticket)>,
    /// What groups are taken from; None while multicast is off.
    pub groups: Option<Groups>,
}

impl Transmissions {
    /// With these groups to be had.
    pub fn new(groups: Option<Groups>) -> Transmissions {
        Transmissions { groups, ..Transmissions::default() }
    }

    /// The transmission of what a client has named, if there is one.
    pub fn find(&self, named: &Named) -> Option<TransmissionKey> {
        self.by_name.get(&id(named)).copied()
    }

    /// Takes groups for a presentation that has none; None when no more are to be had.
    pub fn add(&mut self, home: ShardIndex, mount: Mount, now: Time) -> Option<TransmissionKey> {
        let named = Named::of(&mount);
        let tracks = mount.tracks().len();
        let groups = self.groups.as_mut()?.take(named.name(), tracks)?;
        let key = self.all.insert_with_key(|key| Transmission {
            offer: Arc::new(Offer { home, key, mount, groups }),
            sender: None,
            awaited_by: SmallVec::new(),
            sockets: SmallVec::new(),
            asked: now,
            listeners: SmallVec::from_elem(0, tracks),
            members: HashMap::new(),
            by_ip: HashMap::new(),
        });
        self.by_name.insert(id(&named), key);
        Some(key)
    }

    /// Forgets one and gives its groups back.
    pub fn remove(&mut self, key: TransmissionKey) -> Option<Transmission> {
        let transmission = self.all.remove(key)?;
        self.by_name.remove(&id(&Named::of(&transmission.offer.mount)));
        for socket in &transmission.sockets {
            self.sockets.remove(socket);
        }
        if let Some(groups) = &mut self.groups {
            groups.give_back(&transmission.offer.groups);
        }
        Some(transmission)
    }

    /// Forgets what sends one and what hears its reports; its groups stay. The sockets to be closed.
    pub fn silence(&mut self, key: TransmissionKey) -> SmallVec<[Udp; 2]> {
        let Some(transmission) = self.all.get_mut(key) else { return SmallVec::new() };
        transmission.sender = None;
        let sockets = std::mem::take(&mut transmission.sockets);
        for socket in &sockets {
            self.sockets.remove(socket);
        }
        sockets
    }

    /// One of them.
    pub fn get(&self, key: TransmissionKey) -> Option<&Transmission> {
        self.all.get(key)
    }

    /// One of them, to change.
    pub fn get_mut(&mut self, key: TransmissionKey) -> Option<&mut Transmission> {
        self.all.get_mut(key)
    }

    /// Remembers whose reports come to a socket.
    pub fn register_socket(&mut self, key: TransmissionKey, track: u8, socket: Udp) {
        if let Some(transmission) = self.all.get_mut(key) {
            transmission.sockets.push(socket);
            self.sockets.insert(socket, (key, track));
        }
    }

    /// Whose reports come to a socket.
    pub fn on_socket(&self, socket: Udp) -> Option<(TransmissionKey, u8)> {
        self.sockets.get(&socket).copied()
    }

    /// The first that a client at an address listens to, of those that meet a condition.
    pub fn heard_by(
        &self,
        ip: IpAddr,
        mut is_meant: impl FnMut(&Transmission) -> bool,
    ) -> Option<TransmissionKey> {
        let mut all = self.all.iter();
        all.find(|(_, one)| one.by_ip.contains_key(&ip) && is_meant(one)).map(|(key, _)| key)
    }

    /// Those that nobody has entered although they were asked for.
    pub fn idle(&self, now: Time) -> Vec<TransmissionKey> {
        self.all
            .iter()
            .filter(|(_, one)| one.members.is_empty() && one.is_idle(now))
            .map(|(key, _)| key)
            .collect()
    }

    /// Of those that have no members the one that was asked for longest ago.
    pub fn first_without_members(&self) -> Option<TransmissionKey> {
        let unheard = self.all.iter().filter(|(_, one)| one.members.is_empty());
        unheard.min_by_key(|(_, one)| one.asked).map(|(key, _)| key)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }
}

impl Transmission {
    /// Adds a member that listens to nothing yet.
    pub fn enter(&mut self, member: SessionId, ip: IpAddr) {
        self.members.insert(member, Place { ip, tracks: Tracks::new(), heard: None });
        self.by_ip.entry(ip).or_default().push(member);
    }

    /// Has a member listen to other tracks; whether it is one.
    pub fn listen(&mut self, member: SessionId, tracks: Tracks) -> bool {
        let Some(place) = self.members.get_mut(&member) else { return false };
        let before = std::mem::replace(&mut place.tracks, tracks.clone());
        self.count(&before, |count| count.saturating_sub(1));
        self.count(&tracks, |count| count + 1);
        true
    }

    /// Removes a member.
    pub fn leave(&mut self, member: SessionId) {
        self.awaited_by.retain(|other| *other != member);
        let Some(place) = self.members.remove(&member) else { return };
        self.count(&place.tracks, |count| count.saturating_sub(1));
        if let Some(members) = self.by_ip.get_mut(&place.ip) {
            members.retain(|other| *other != member);
            if members.is_empty() {
                self.by_ip.remove(&place.ip);
            }
        }
    }

    /// Everybody.
    pub fn members(&self) -> impl Iterator<Item = SessionId> {
        self.members.keys().copied()
    }

    /// How many there are.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody has asked for it of late.
    pub fn is_idle(&self, now: Time) -> bool {
        now.since(self.asked) > IDLE_MAX
    }

    /// Whether anybody listens to a track.
    pub fn is_heard(&self, track: u8) -> bool {
        self.listeners.get(usize::from(track)).is_some_and(|count| *count > 0)
    }

    /// Whether a member is at an address.
    pub fn has_member_at(&self, ip: IpAddr) -> bool {
        self.by_ip.contains_key(&ip)
    }

    /// A report has come from an address: the members there that are to be told.
    pub fn show_life(&mut self, ip: IpAddr, now: Time) -> SmallVec<[SessionId; 1]> {
        let mut told = SmallVec::new();
        for member in self.by_ip.get(&ip).into_iter().flatten() {
            let Some(place) = self.members.get_mut(member) else { continue };
            if place.heard.is_none_or(|heard| now.since(heard) >= HEARD_MIN) {
                place.heard = Some(now);
                told.push(*member);
            }
        }
        told
    }

    fn count(&mut self, tracks: &Tracks, change: impl Fn(usize) -> usize) {
        for track in tracks {
            if let Some(count) = self.listeners.get_mut(usize::from(*track)) {
                *count = change(*count);
            }
        }
    }
}

/// What has groups of its own: whether it is live, and what it is asked for by.
fn id(named: &Named) -> (bool, StreamName) {
    match named {
        Named::Live(name) => (true, name.clone()),
        Named::File(file) => (false, StreamName::new(Arc::from(file.name.as_str()), file.format)),
    }
}
