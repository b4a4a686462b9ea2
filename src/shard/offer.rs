//! A live stream that comes to this shard, and the shards that wait until it can be described.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::time::Time;

use super::steering::{PublicationReport, StreamState};
use crate::stream::catalog::{Notice, ShardIndex, StreamError, StreamId, StreamName, Subscriber, Want};
use crate::stream::relay::Relay;

/// One stream under its path.
#[derive(Debug)]
pub struct Offer {
    /// Its path, without the leading slash.
    pub path: Arc<str>,
    relay: Option<Box<Relay>>,
    waiting: Vec<Waiting>,
}

/// A subscriber that is answered once the stream is known well enough.
#[derive(Debug)]
struct Waiting {
    since: Time,
    path: Arc<str>,
    subscriber: Subscriber,
}

impl Offer {
    /// A path with the stream that is there already, if any.
    pub fn new(path: Arc<str>, relay: Option<Box<Relay>>) -> Offer {
        Offer { path, relay, waiting: Vec::new() }
    }

    /// The stream; None until it begins or is handed over.
    pub fn relay(&mut self) -> Option<&mut Relay> {
        self.relay.as_deref_mut()
    }

    /// Begins the stream, or another one.
    pub fn put(&mut self, relay: Box<Relay>) -> &mut Relay {
        self.relay.insert(relay)
    }

    /// Takes the stream out, for another owner or for good.
    pub fn take(&mut self) -> Option<Box<Relay>> {
        self.relay.take()
    }

    /// What there is to say of the stream.
    pub fn report(
        &mut self,
        state: StreamState,
        sender: Option<SocketAddr>,
        missing: Option<u64>,
    ) -> PublicationReport {
        let description = self.relay.as_mut().map(|relay| relay.fanout().description().clone());
        PublicationReport {
            path: self.path.clone(),
            state,
            tracks: description.as_ref().map(|it| it.tracks.clone()).unwrap_or_default(),
            viewers: description.map_or(0, |it| it.audience.count()),
            bytes: self.relay.as_mut().map_or(0, |relay| relay.fanout().distributed().bytes),
            missing,
            sender,
        }
    }

    /// Whether the stream is there and described well enough to be decoded.
    pub fn is_described(&self) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.is_described())
    }

    /// Adds a subscriber, who asked at `since`; answered by [`Offer::serve`] or one of the refusals.
    pub fn subscribe(&mut self, since: Time, path: Arc<str>, subscriber: Subscriber) {
        self.waiting.push(Waiting { since, path, subscriber });
    }

    /// Whether nobody receives it or waits for it.
    pub fn is_idle(&mut self) -> bool {
        self.waiting.is_empty() && self.relay.as_mut().is_none_or(|relay| relay.fanout().is_idle())
    }

    /// Delivers a run of the stream no more to a shard.
    pub fn unsubscribe(&mut self, stream: StreamId, shard: ShardIndex) {
        if let Some(relay) = &mut self.relay
            && relay.fanout().description().id == stream
        {
            relay.fanout().unsubscribe(shard);
        }
    }

    /// Does for a run of the stream what a viewer needs: asks its source, or cuts its packets.
    pub fn want(&mut self, stream: StreamId, want: Want) {
        if let Some(relay) = &mut self.relay
            && relay.fanout().description().id == stream
        {
            match want {
                Want::Keyframe => relay.fanout().want_keyframe(),
                Want::SmallPackets => relay.keep_packets_small(),
            }
        }
    }

    /// Answers those who wait, if the stream can be described.
    pub fn serve(&mut self) {
        if self.waiting.is_empty() || !self.is_described() {
            return;
        }
        let Some(relay) = &mut self.relay else { return };
        for Waiting { path, subscriber, .. } in self.waiting.drain(..) {
            relay.fanout().subscribe(&path, subscriber);
        }
    }

    /// Refuses those who have waited for as long as `patience`.
    pub fn refuse_late(&mut self, now: Time, patience: Duration, error: &StreamError) {
        let is_late = |waiting: &mut Waiting| now.since(waiting.since) >= patience;
        for waiting in self.waiting.extract_if(.., is_late) {
            waiting.refuse(error);
        }
    }

    /// Refuses all who wait.
    pub fn refuse(&mut self, error: &StreamError) {
        for waiting in self.waiting.drain(..) {
            waiting.refuse(error);
        }
    }

    /// Takes those who wait out, for another owner.
    pub fn take_waiting(&mut self) -> impl Iterator<Item = (Arc<str>, Subscriber)> {
        self.waiting.drain(..).map(|waiting| (waiting.path, waiting.subscriber))
    }
}

impl Waiting {
    fn refuse(self, error: &StreamError) {
        let name = StreamName::plain(self.path);
        (self.subscriber.deliver)(Notice::Subscribed { name, answer: Err(error.clone()) });
    }
}
