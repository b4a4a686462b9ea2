//! What a connection asks the home of a transmission: which groups there are.

use std::net::IpAddr;
use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::headers::require::{self, BACKCHANNEL};
use proto::rtsp::headers::transport::{Delivery, Pair, Transport};
use proto::rtsp::message::Request;
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::sdp::Multicast;

use super::{FromHome, Named, Offer, ToHome};
use crate::egress::track::Route;
use crate::media::library::Ticket;
use crate::shard::connection::{Mount, Refusal};
use crate::shard::inbox::Message;
use crate::shard::request::Outcome;
use crate::shard::session::SessionKey;
use crate::shard::talk::TalkError;
use crate::shard::turn::{Asker, Shard};
use crate::stream::catalog::ShardIndex;
use crate::stream::groups;

/// What a connection has asked for the request that it waits with.
#[derive(Debug)]
pub enum Asked {
    /// The answer is on its way.
    Awaited(Ticket),
    /// The answer.
    Known(Result<Arc<Offer>, Refusal>),
}

/// What a client wants of its group.
#[derive(Clone, Debug, Default)]
pub struct GroupWish {
    /// The group; None leaves it to the server.
    pub destination: Option<String>,
    /// How many hops its packets should live.
    pub ttl: Option<u8>,
}

impl Offer {
    /// What a client is granted for a track that is sent from an address, or why its wish cannot be met.
    pub fn grant(&self, track: u8, wish: &GroupWish, source: IpAddr, ttl: u8) -> Result<Transport, Refusal> {
        let refuse = |reason| Err(Refusal::new(Status::UNSUPPORTED_TRANSPORT, reason));
        let Some(group) = self.groups.get(usize::from(track)) else {
            return Err(Refusal::new(Status::NOT_FOUND, format!("there is no track {track}")));
        };
        if wish.ttl == Some(0) {
            return refuse("ttl=0 would reach nobody".to_owned());
        }
        // Whoever could choose would have us send to anybody.
        if let Some(wanted) = &wish.destination
            && wanted.trim_matches(['[', ']']).parse::<IpAddr>() != Ok(group.address)
        {
            return refuse(format!("the track is sent to {} alone", group.address));
        }
        Ok(Transport {
            delivery: Some(Delivery::Multicast),
            destination: Some(group.address.to_string()),
            source: group.is_source_specific().then(|| source.to_string()),
            port: Some(Pair::new(group.port, group.port + 1)),
            ttl: Some(ttl),
            ..Transport::default()
        })
    }
}

impl Shard {
    /// The groups that a description is to name: none unless its URL asks for them, by `t=multicast` or in the words of
    /// other servers, and they are to be had. Else an outcome to wait with, or to refuse with.
    pub(in crate::shard) fn groups_to_describe(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        mount: &Mount,
    ) -> Result<Option<Arc<Offer>>, Outcome> {
        let is_asked = target.parameter("t").is_some_and(|value| value.eq_ignore_ascii_case("multicast"))
            || ["multicast", "vlcmulticast"].iter().any(|name| target.parameter(name).is_some());
        if !is_asked || self.settings.multicast.is_none() {
            return Ok(None);
        }
        if require::has(&request.headers, BACKCHANNEL) {
            // Sound from viewers comes from one to one (ONVIF streaming specification section 5.3).
            return Err(TalkError::Absent.into());
        }
        self.offer_of(conn, mount).ok_or(Outcome::Wait)?.map(Some).map_err(Outcome::from)
    }

    /// What a description says of the groups of an offer.
    pub(in crate::shard) fn described_groups<'a>(&self, offer: &'a Offer) -> Option<Multicast<'a>> {
        let source = self.settings.multicast.as_ref()?.local.ip();
        Some(Multicast { groups: &offer.groups, ttl: self.settings.multicast_ttl, source })
    }

    /// The groups of a mount. None while their home is being asked: the connection is served again then.
    pub(in crate::shard) fn offer_of(
        &mut self,
        conn: Conn,
        mount: &Mount,
    ) -> Option<Result<Arc<Offer>, Refusal>> {
        let connection = self.connections.get_mut(conn)?;
        match connection.groups.take() {
            Some(Asked::Known(answer)) => return Some(answer),
            Some(awaited) if connection.is_retrying => {
                connection.groups = Some(awaited);
                return None;
            }
            _ => {}
        }
        let ticket = self.next_ticket(Asker::Connection(conn));
        self.connections.get_mut(conn)?.groups = Some(Asked::Awaited(ticket));
        let named = Named::of(mount);
        let home = groups::home(named.name(), self.ports.shards.len());
        self.tell_home(home, ToHome::Describe(named, self.index, ticket));
        None
    }

    /// Takes the answer to [`Shard::offer_of`].
    pub(super) fn offered(&mut self, ticket: Ticket, answer: Result<Arc<Offer>, Refusal>) {
        let Some(Asker::Connection(conn)) = self.waiting.remove(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_meant = |asked: &mut Asked| matches!(asked, Asked::Awaited(awaited) if *awaited == ticket);
        if connection.groups.as_mut().is_some_and(is_meant) {
            connection.groups = Some(Asked::Known(answer));
            self.retry(conn);
            // It was for this request alone.
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.groups.take_if(|asked| matches!(asked, Asked::Known(_)));
            }
        }
    }

    /// The way of a member's track: it carries nothing itself.
    pub(in crate::shard) fn group_way(
        &self,
        offer: Option<&Result<Arc<Offer>, Refusal>>,
        track: u8,
        wish: &GroupWish,
    ) -> Result<(Route, Transport), Refusal> {
        let absent = || Refusal::new(Status::UNSUPPORTED_TRANSPORT, "there is no group");
        let multicast = self.settings.multicast.as_ref().ok_or_else(absent)?;
        let offer = offer.ok_or_else(absent)?.as_ref().map_err(Refusal::clone)?;
        let granted = offer.grant(track, wish, multicast.local.ip(), self.settings.multicast_ttl)?;
        Ok((Route::Elsewhere, granted))
    }

    pub(super) fn tell_home(&self, home: ShardIndex, what: ToHome) {
        // A shard that has ended takes the program with it.
        if let Some(outside) = self.ports.shards.get(usize::from(home)) {
            outside.send(Message::ToHome(what));
        }
    }

    pub(super) fn tell_member(&self, shard: ShardIndex, what: FromHome) {
        if let Some(outside) = self.ports.shards.get(usize::from(shard)) {
            outside.send(Message::FromHome(what));
        }
    }

    /// Takes what the home of a transmission says.
    pub(in crate::shard) fn hear_home(&mut self, what: FromHome) {
        match what {
            FromHome::Described(ticket, answer) => self.offered(ticket, answer),
            FromHome::Flows(member, answer) => self.flows(member, answer),
            FromHome::Heard(member) => {
                let key = self.by_id.get(&member).copied();
                if let Some(session) = key.and_then(|key: SessionKey| self.sessions.get_mut(key)) {
                    session.seen = self.now;
                }
            }
            FromHome::Ended(member, reason) => {
                if let Some(key) = self.by_id.get(&member).copied() {
                    self.end_session(key, &reason);
                }
            }
        }
    }
}
