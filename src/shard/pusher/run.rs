//! The life of a pushed stream: begun by its first packet, ended after a long silence.

use std::sync::Arc;

use proto::io::Op;
use proto::time::Time;
use rand::RngExt;

use super::reports::Reports;
use super::{Mode, Pusher, PusherKey};
use crate::shard::inflow::{TrackIn, WayIn};
use crate::shard::turn::{Alarm, Shard};
use crate::stream::catalog::{Order, StreamError, StreamName};

impl Shard {
    /// Obeys what the catalog passes on.
    pub(in crate::shard) fn order_pusher(&mut self, key: PusherKey, order: Order) {
        let now = self.now;
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        match order {
            Order::Subscribe { path, subscriber } => pusher.offer.subscribe(now, path, subscriber),
            Order::Unsubscribe { stream, shard } => pusher.offer.unsubscribe(stream, shard),
            // Nobody can be asked for a keyframe: senders hear nothing of us.
            Order::Want(stream, want) => pusher.offer.want(stream, want),
            Order::Yield { .. } => {}
        }
        self.tend_pusher(key);
    }

    /// A client publishes under a path: those who wait for it here are sent there.
    pub(in crate::shard) fn send_on_to_publisher(&mut self, path: &Arc<str>) {
        let waits = |pusher: &&mut Pusher| pusher.spec.mode == Mode::Rtsp && pusher.spec.path == *path;
        let Some(pusher) = self.pushers.slots.values_mut().find(waits) else { return };
        for (path, subscriber) in pusher.offer.take_waiting() {
            self.ports.catalog.subscribe(&StreamName::plain(path), subscriber);
        }
    }

    /// Begins the stream of a pusher that has none.
    pub(super) fn begin_pushed(&mut self, key: PusherKey) {
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        if pusher.offer.relay().is_some() {
            return;
        }
        let spec = pusher.spec.clone();
        let tracks: Vec<_> = spec.tracks.iter().map(|pushed| pushed.track.clone()).collect();
        let stream = self.ports.catalog.name_stream();
        let clocks: Vec<_> = tracks.iter().map(|track| track.clock_rate).collect();
        let mut relay = self.new_relay(stream, &spec.path, tracks);
        relay.accept_any_payload_type();
        let inflow = (clocks.into_iter().enumerate()).map(|(index, clock_rate)| {
            let reporter = self.ports.random.random();
            TrackIn::new(index as u8, clock_rate, WayIn::OneWay, reporter, self.interval())
        });
        let inflow = inflow.collect();
        if let Some(pusher) = self.pushers.get_mut(key) {
            pusher.inflow.tracks = inflow;
            pusher.offer.put(relay);
        }
    }

    /// Passes on what is due, answers who waits, and sees when to look again.
    pub(super) fn tend_pusher(&mut self, key: PusherKey) {
        let now = self.now;
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        let Some(relay) = pusher.offer.relay() else { return };
        let before = pusher.numbers;
        let wake = pusher.inflow.look(now, relay, &mut pusher.numbers).wake;
        self.counted.took(before, pusher.numbers);
        if pusher.heard.is_some() {
            pusher.offer.serve();
        }
        if let Some(at) = wake
            && pusher.wake_at.is_none_or(|scheduled| at < scheduled)
        {
            pusher.wake_at = Some(at);
            self.set_alarm(at, Alarm::Pusher(key));
        }
    }

    /// It is time to look at a pusher.
    pub(in crate::shard) fn wake_pusher(&mut self, key: PusherKey, at: Time) {
        if let Some(pusher) = self.pushers.get_mut(key) {
            pusher.wake_at.take_if(|scheduled| *scheduled == at);
            if pusher.opens_at.is_some_and(|(again, _)| again == at) {
                self.open_ports(key);
            }
        }
        self.tend_pusher(key);
    }

    /// Ends what waited for long enough.
    pub(in crate::shard) fn keep_pushers(&mut self) {
        self.keep_lines();
        let (now, patience, grace) = (self.now, self.settings.source_start, self.settings.source_grace);
        for key in self.pushers.keys() {
            let Some(pusher) = self.pushers.get_mut(key) else { continue };
            let missing = StreamError::Unavailable(pusher.what_is_missing());
            pusher.offer.refuse_late(now, patience, &missing);
            if pusher.heard.is_some_and(|heard| now.since(heard) >= grace) {
                pusher.end("the sender is silent");
            }
        }
    }

    /// Ends all of them.
    pub(in crate::shard) fn stop_pushers(&mut self) {
        for listener in self.pushers.doors.drain() {
            self.ports.driver.submit(Op::CloseListener(listener.0));
        }
        for conn in self.pushers.lines.drain() {
            self.ports.driver.submit(Op::Close(conn.0));
        }
        self.pushers.slots.values_mut().for_each(|pusher| pusher.end("the server stops"));
    }
}

impl Pusher {
    /// Ends the stream: its viewers are told. The next packet begins another.
    pub(super) fn end(&mut self, reason: &str) {
        self.heard = None;
        self.reports = Reports::default();
        if let Some(mut relay) = self.offer.take() {
            tracing::info!(path = %self.spec.path, %reason, "pushed stream ended");
            relay.end(reason);
        }
    }

    /// Why nobody can be answered yet.
    fn what_is_missing(&mut self) -> String {
        if self.spec.mode == Mode::Rtsp {
            return "nobody publishes it yet".to_owned();
        }
        let undescribed: Vec<u8> = match (self.heard, self.offer.relay()) {
            (Some(_), Some(relay)) => relay.undescribed().collect(),
            _ => (0..self.spec.tracks.len() as u8).collect(),
        };
        let missing = undescribed.into_iter().filter_map(|track| {
            let index = usize::from(track);
            let port = &self.spec.tracks.get(index)?.port;
            Some(match self.sources[index].heard {
                Some(_) => format!("no parameter sets have come to {port}"),
                None => format!("nothing has come to {port}"),
            })
        });
        missing.collect::<Vec<_>>().join(", ")
    }
}
