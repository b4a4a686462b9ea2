//! The home of transmissions: groups are taken for what clients ask for, members come and go.

use std::net::IpAddr;
use std::sync::Arc;

use proto::rtsp::status::Status;

use super::{FromHome, Named, Offer, ToHome, Tracks, TransmissionKey};
use crate::media::library::Ticket;
use crate::shard::connection::{Mount, Refusal};
use crate::shard::live::{Asker, Lookup};
use crate::shard::session::{Session, SessionId, State};
use crate::shard::turn::Shard;
use crate::stream::catalog::{Description, ShardIndex, StreamError, StreamName};

/// Why a transmission ends that nobody listens to any more.
const UNHEARD: &str = "nobody listens any more";

impl Shard {
    /// Takes what members and their connections say.
    pub(in crate::shard) fn hear_member(&mut self, what: ToHome) {
        match what {
            ToHome::Describe(named, shard, ticket) => self.describe_groups(named, shard, ticket),
            ToHome::Enter(key, member, ip) => self.member_enters(key, member, ip),
            ToHome::Listen(key, member, tracks) => self.member_listens(key, member, tracks),
            ToHome::Leave(key, member) => self.member_leaves(key, member),
        }
    }

    /// A live stream that clients wait for is known here, or is not to be had.
    pub(in crate::shard) fn stream_found(
        &mut self,
        name: &StreamName,
        answer: &Result<Arc<Description>, StreamError>,
    ) {
        let asking: Vec<_> = self.transmissions.asking.extract_if(.., |(asked, ..)| asked == name).collect();
        for (_, shard, ticket) in asking {
            let answer = match answer {
                Ok(stream) => self.offer(Mount::Live(stream.clone())),
                Err(StreamError::AsItComes) => {
                    self.describe_groups(Named::Live(StreamName::plain(name.path.clone())), shard, ticket);
                    continue;
                }
                Err(error) => Err(Refusal::of_stream(error)),
            };
            self.tell_member(shard, FromHome::Described(ticket, answer));
        }
    }

    /// Forgets the groups that nobody has come for.
    pub(in crate::shard) fn keep_transmissions(&mut self) {
        for key in self.transmissions.idle(self.now) {
            self.end_transmission(key, UNHEARD);
        }
    }

    /// The session that sends a transmission has ended: its members end with it. Where there are none, somebody may have
    /// been told of its groups a moment ago and be on the way.
    pub(in crate::shard) fn sender_ended(&mut self, key: TransmissionKey, reason: &str) {
        let Some(transmission) = self.transmissions.get(key) else { return };
        if transmission.member_count() > 0 || transmission.is_idle(self.now) {
            return self.end_transmission(key, reason);
        }
        for socket in self.transmissions.silence(key) {
            self.ports.driver.submit(proto::io::Op::CloseUdp(socket));
        }
    }

    /// Ends a transmission that nothing sends: its members end with it.
    fn end_transmission(&mut self, key: TransmissionKey, reason: &str) {
        let Some(transmission) = self.transmissions.remove(key) else { return };
        for socket in &transmission.sockets {
            self.ports.driver.submit(proto::io::Op::CloseUdp(*socket));
        }
        for member in transmission.members() {
            self.tell_member(member.shard(), FromHome::Ended(member, reason.to_owned()));
        }
    }

    fn describe_groups(&mut self, named: Named, shard: ShardIndex, ticket: Ticket) {
        let answer = match named {
            Named::File(file) => self.offer(Mount::File(file)),
            Named::Live(name) => match self.live.look_up(&name, Asker::Groups) {
                Lookup::Running(stream) => {
                    self.live.touch(self.now, stream.id);
                    self.offer(Mount::Live(stream))
                }
                lookup => {
                    self.transmissions.asking.push((name.clone(), shard, ticket));
                    if matches!(lookup, Lookup::Subscribe) {
                        let subscriber = self.ports.shards[usize::from(self.index)].subscriber();
                        self.ports.catalog.subscribe(&name, subscriber);
                    }
                    return;
                }
            },
        };
        self.tell_member(shard, FromHome::Described(ticket, answer));
    }

    /// The groups of a presentation: those that it has, or others.
    fn offer(&mut self, mount: Mount) -> Result<Arc<Offer>, Refusal> {
        if let Some(key) = self.transmissions.find(&Named::of(&mount))
            && let Some(transmission) = self.transmissions.get_mut(key)
        {
            transmission.asked = self.now;
            let offer = transmission.offer.clone();
            let is_same = offer.mount.is_same(&mount);
            let goes_on = match &offer.mount {
                // Whoever listens to it sees it as it was.
                Mount::File(_) => transmission.member_count() > 0,
                Mount::Live(_) => false,
            };
            if is_same || goes_on {
                return Ok(offer);
            }
            self.stop_transmission(key, "another one has taken its place");
        }
        let key = loop {
            match self.transmissions.add(self.index, mount.clone(), self.now) {
                Some(key) => break Some(key),
                // Whoever takes part goes before whoever may.
                None => match self.transmissions.first_without_members() {
                    Some(unheard) => self.end_transmission(unheard, UNHEARD),
                    None => break None,
                },
            }
        };
        let transmission = key.and_then(|key| self.transmissions.get(key));
        transmission.map(|transmission| transmission.offer.clone()).ok_or_else(|| {
            let reason = "no group is free between multicast_ip_min and multicast_ip_max";
            tracing::error!("{reason}");
            Refusal::new(Status::NOT_ENOUGH_BANDWIDTH, reason)
        })
    }

    /// Ends a transmission and whatever sends it.
    fn stop_transmission(&mut self, key: TransmissionKey, reason: &str) {
        match self.transmissions.get(key).and_then(|transmission| transmission.sender) {
            Some(sender) => {
                // No receiver is left with half a picture.
                self.finish_batch(sender);
                self.end_session(sender, reason);
            }
            None => self.end_transmission(key, reason),
        }
    }

    fn member_enters(&mut self, key: TransmissionKey, member: SessionId, ip: IpAddr) {
        let Some(transmission) = self.transmissions.get(key) else {
            let reason = "its groups are gone".to_owned();
            return self.tell_member(member.shard(), FromHome::Ended(member, reason));
        };
        if transmission.sender.is_none()
            && let Err(refusal) = self.make_sender(key)
        {
            return self.tell_member(member.shard(), FromHome::Ended(member, refusal.reason));
        }
        if let Some(transmission) = self.transmissions.get_mut(key) {
            transmission.enter(member, ip);
        }
    }

    fn member_listens(&mut self, key: TransmissionKey, member: SessionId, tracks: Tracks) {
        let is_paused = tracks.is_empty();
        let Some(transmission) = self.transmissions.get_mut(key) else { return };
        if !transmission.listen(member, tracks) {
            return;
        }
        let started = self.adjust_sender(key);
        if is_paused {
            return;
        }
        match started {
            Ok(State::Starting) => {
                if let Some(transmission) = self.transmissions.get_mut(key) {
                    transmission.awaited_by.push(member);
                }
            }
            Ok(_) => {
                self.tell_flows(key, member);
                self.show_picture(key);
            }
            Err(refusal) => self.tell_refused(key, member, refusal),
        }
    }

    /// A newcomer sees nothing before the next keyframe.
    fn show_picture(&mut self, key: TransmissionKey) {
        if let Some(Mount::Live(stream)) = self.transmissions.get(key).map(|one| &one.offer.mount) {
            self.ask_keyframe(stream.id);
        }
    }

    fn member_leaves(&mut self, key: TransmissionKey, member: SessionId) {
        let Some(transmission) = self.transmissions.get_mut(key) else { return };
        transmission.leave(member);
        if transmission.member_count() == 0 {
            return self.stop_transmission(key, UNHEARD);
        }
        // Who goes on listening was answered before.
        let _ = self.adjust_sender(key);
    }

    /// Answers those who have waited until the sender has begun, or could not.
    pub(in crate::shard) fn sender_began(&mut self, key: TransmissionKey) {
        let Some(transmission) = self.transmissions.get_mut(key) else { return };
        let (waiting, sender) = (std::mem::take(&mut transmission.awaited_by), transmission.sender);
        let session = sender.and_then(|sender| self.sessions.get_mut(sender));
        let refused = session.and_then(|session: &mut Session| session.failed.take());
        for member in waiting {
            match &refused {
                None => self.tell_flows(key, member),
                Some(refusal) => self.tell_refused(key, member, refusal.clone()),
            }
        }
    }

    fn tell_flows(&mut self, key: TransmissionKey, member: SessionId) {
        let starts = self.starts(key);
        self.tell_member(member.shard(), FromHome::Flows(member, Ok(starts)));
    }

    fn tell_refused(&mut self, key: TransmissionKey, member: SessionId, refusal: Refusal) {
        if let Some(transmission) = self.transmissions.get_mut(key) {
            transmission.listen(member, Tracks::new());
        }
        self.tell_member(member.shard(), FromHome::Flows(member, Err(refusal)));
    }
}
