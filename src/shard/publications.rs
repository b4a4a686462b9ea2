//! The streams that are published on this shard: who sends them, who waits for them, and what becomes of them when
//! their publisher is gone.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::Conn;
use proto::time::Time;
use proto::track::Track;

use super::offer::Offer;
use super::session::SessionKey;
use super::steering::{PublicationReport, StreamState};
use super::turn::Shard;
use crate::stream::catalog::{
    Grant, Notice, Order, Pulse, ShardIndex, StreamError, StreamId, StreamName, Subscriber,
};
use crate::stream::relay::Relay;

/// One stream that is published here.
#[derive(Debug)]
pub struct Publication {
    /// By what right.
    pub grant: Grant,
    /// What was announced.
    pub tracks: Vec<Track>,
    /// The stream; None until it has been handed over.
    pub offer: Offer,
    /// Tells the catalog when the publisher was last heard.
    pub pulse: Arc<Pulse>,
    publisher: Publisher,
    /// Whether RECORD was answered.
    is_recorded: bool,
}

/// Who sends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// A connection that has announced it and not set it up.
    Announced(Conn),
    /// A session.
    Session(SessionKey),
    /// Nobody since then.
    Gone(Time),
}

/// All of them by tenure, and the paths that are published to anywhere.
#[derive(Debug, Default)]
pub struct Publications {
    streams: HashMap<u64, Publication>,
    paths: HashSet<Arc<str>>,
}

impl Publications {
    /// Whether a client publishes under this path, on whatever shard.
    pub fn has_path(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The path of a stream that is published here.
    pub fn path_of(&self, tenure: u64) -> Option<&str> {
        self.streams.get(&tenure).map(|publication| &*publication.offer.path)
    }

    /// How many streams are published here.
    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// The streams that have begun.
    pub fn relays(&mut self) -> impl Iterator<Item = &mut Relay> {
        self.streams.values_mut().filter_map(|publication| publication.offer.relay())
    }

    /// What there is to say of them; `peer_of` is the address of a session's client.
    pub fn reports(
        &mut self,
        is_asked: impl Fn(&str) -> bool,
        sender_of: impl Fn(SessionKey) -> Option<(SocketAddr, u64)>,
    ) -> impl Iterator<Item = PublicationReport> {
        let asked = self.streams.values_mut().filter(move |publication| is_asked(&publication.offer.path));
        asked.map(move |publication| {
            let (state, sender) = match publication.publisher {
                Publisher::Gone(_) => (StreamState::Lost, None),
                Publisher::Session(key) if publication.is_recorded => (StreamState::Running, sender_of(key)),
                Publisher::Session(_) | Publisher::Announced(_) => (StreamState::Idle, None),
            };
            let (sender, missing) = sender.unzip();
            let report = publication.offer.report(state, sender, missing);
            let tracks = if report.tracks.is_empty() { publication.tracks.clone() } else { report.tracks };
            PublicationReport { tracks, ..report }
        })
    }

    /// A stream that is published here.
    pub fn get_mut(&mut self, tenure: u64) -> Option<&mut Publication> {
        self.streams.get_mut(&tenure)
    }
}

impl Publication {
    /// A session is set up to send it.
    pub fn begin(&mut self, key: SessionKey) {
        self.publisher = Publisher::Session(key);
    }

    /// The session sends from now on.
    pub fn record(&mut self, key: SessionKey) {
        self.publisher = Publisher::Session(key);
        self.is_recorded = true;
    }

    /// Whether this session sends it, or did until it paused.
    pub fn is_recorded_by(&self, key: SessionKey) -> bool {
        self.is_recorded && self.publisher == Publisher::Session(key)
    }

    /// Whether this connection has announced it and not begun to set it up.
    pub fn is_announced_by(&self, conn: Conn) -> bool {
        self.publisher == Publisher::Announced(conn)
    }

    /// Answers those who wait, once media has come or will come and there is an answer.
    pub fn serve_waiting(&mut self) {
        if self.is_recorded {
            self.offer.serve();
        }
    }

    /// Refuses those who have waited long enough, and says what for; all of them once the publisher is lost.
    fn refuse_late(&mut self, now: Time, patience: Duration) {
        let (reason, patience) = match self.publisher {
            Publisher::Gone(_) => ("the publisher is lost and may come back", Duration::ZERO),
            _ if !self.is_recorded => ("the publisher has announced it and has not begun to send", patience),
            _ => ("the publisher has sent nothing yet that could be described", patience),
        };
        self.offer.refuse_late(now, patience, &StreamError::Unavailable(reason.to_owned()));
    }
}

impl Shard {
    /// A path is published to from now on, or no longer.
    pub(super) fn note_published(&mut self, path: Arc<str>, is_there: bool) {
        if is_there {
            self.send_on_to_publisher(&path);
            self.publications.paths.insert(path);
        } else {
            self.publications.paths.remove(&path);
        }
    }

    /// Begins a publication that was granted to a connection.
    pub(super) fn begin_publication(
        &mut self,
        conn: Conn,
        grant: Grant,
        path: Arc<str>,
        tracks: Vec<Track>,
        pulse: Arc<Pulse>,
    ) {
        let relay = (!grant.inherits).then(|| self.new_relay(grant.stream, &path, tracks.clone()));
        let publisher = Publisher::Announced(conn);
        let offer = Offer::new(path, relay);
        let publication = Publication { grant, tracks, offer, pulse, publisher, is_recorded: false };
        self.publications.streams.insert(grant.tenure, publication);
    }

    /// Obeys what the catalog passes on.
    pub(super) fn handle_order(&mut self, tenure: u64, order: Order) {
        if let Some(key) = self.proxies.find(tenure) {
            return self.order_proxy(key, order);
        }
        if let Some(key) = self.pushers.find(tenure) {
            return self.order_pusher(key, order);
        }
        match order {
            Order::Subscribe { path, subscriber } => self.subscribe_to(tenure, path, subscriber),
            Order::Unsubscribe { stream, shard } => self.unsubscribe_from(tenure, stream, shard),
            Order::Want(stream, want) => {
                if let Some(publication) = self.publications.streams.get_mut(&tenure) {
                    publication.offer.want(stream, want);
                }
            }
            Order::Yield { to } => self.yield_publication(tenure, to),
        }
    }

    /// Takes over a stream from the publisher before.
    pub(super) fn take_over_stream(&mut self, tenure: u64, relay: Option<Box<Relay>>) {
        let Some(publication) = self.publications.streams.get(&tenure) else {
            // The claimant is gone again: so is the stream, once this is dropped.
            return;
        };
        let (grant, path, tracks) =
            (publication.grant, publication.offer.path.clone(), publication.tracks.clone());
        let relay = relay.unwrap_or_else(|| self.new_relay(grant.renewed, &path, tracks.clone()));
        if let Some(publication) = self.publications.streams.get_mut(&tenure) {
            publication.offer.put(relay).restart();
            publication.serve_waiting();
            if let Publisher::Session(key) = publication.publisher
                && let Some(conn) = self.sessions.get(key).and_then(|session| session.conn)
            {
                self.retry(conn);
            }
        }
        self.watch_metadata();
    }

    /// The publisher said goodbye, or never began: its viewers are told at once.
    pub(super) fn end_publication(&mut self, tenure: u64, reason: &str) {
        let Some(mut publication) = self.publications.streams.remove(&tenure) else { return };
        if let Some(relay) = publication.offer.relay() {
            relay.end(reason);
        }
        publication.offer.refuse(&StreamError::NotFound);
        self.ports.catalog.release(publication.grant);
    }

    /// The publisher is lost: its viewers are kept for a while.
    pub(super) fn orphan_publication(&mut self, tenure: u64) {
        if let Some(publication) = self.publications.streams.get_mut(&tenure) {
            publication.pulse.stop();
            publication.publisher = Publisher::Gone(self.now);
            if let Some(relay) = publication.offer.relay() {
                relay.note_lost();
            }
            publication.refuse_late(self.now, self.settings.source_start);
        }
    }

    /// Ends what waited for long enough.
    pub(super) fn keep_publications(&mut self) {
        let (now, patience, grace) = (self.now, self.settings.source_start, self.settings.source_grace);
        let mut lost = Vec::new();
        for (tenure, publication) in &mut self.publications.streams {
            publication.refuse_late(now, patience);
            if let Publisher::Gone(since) = publication.publisher
                && now.since(since) >= grace
            {
                lost.push(*tenure);
            }
        }
        lost.sort_unstable();
        for tenure in lost {
            self.end_publication(tenure, "the publisher is lost");
        }
    }

    pub(super) fn new_relay(&mut self, stream: StreamId, path: &str, tracks: Vec<Track>) -> Box<Relay> {
        let wall = self.ports.driver.wall();
        let (limits, random) = (&self.settings.live, &mut self.ports.random);
        let mut relay = Box::new(Relay::new(stream, path, tracks, limits, self.now, wall, random));
        if let Some(documents) = &self.settings.metadata {
            relay.add_metadata(documents, self.now, random);
            self.watch_metadata();
        }
        relay
    }

    fn subscribe_to(&mut self, tenure: u64, path: Arc<str>, subscriber: Subscriber) {
        let Some(publication) = self.publications.streams.get_mut(&tenure) else {
            let answer = Err(StreamError::NotFound);
            (subscriber.deliver)(Notice::Subscribed { name: StreamName::plain(path), answer });
            return;
        };
        publication.offer.subscribe(self.now, path, subscriber);
        publication.serve_waiting();
        publication.refuse_late(self.now, self.settings.source_start);
    }

    fn unsubscribe_from(&mut self, tenure: u64, stream: StreamId, shard: ShardIndex) {
        if let Some(publication) = self.publications.streams.get_mut(&tenure) {
            publication.offer.unsubscribe(stream, shard);
        }
    }

    fn yield_publication(&mut self, tenure: u64, to: Option<(Subscriber, u64)>) {
        let publication = self.publications.streams.remove(&tenure);
        let (mut relay, publisher) = match publication {
            Some(mut publication) => {
                for (path, subscriber) in publication.offer.take_waiting() {
                    // The catalog knows who has the path now.
                    self.ports.catalog.subscribe(&StreamName::plain(path), subscriber);
                }
                (publication.offer.take(), Some(publication.publisher))
            }
            None => (None, None),
        };
        match (to, &mut relay) {
            (Some((owner, tenure)), _) => {
                (owner.deliver)(Notice::HandedOver { tenure, relay });
            }
            (None, Some(relay)) => relay.end("another publisher sends other tracks"),
            (None, None) => {}
        }
        match publisher {
            Some(Publisher::Session(key)) => self.end_session(key, "another publisher took over"),
            Some(Publisher::Announced(conn)) => self.close_when_flushed(conn),
            Some(Publisher::Gone(_)) | None => {}
        }
    }
}
