//! The live streams that this shard receives, and who watches them here.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use proto::io::Conn;
use proto::rtp::batch::Batch;
use proto::srtp::MasterKey;
use proto::time::{MediaTime, Time};

use super::bandwidth::Meter;
use super::catch_up::CatchUp;
use super::session::SessionKey;
use crate::egress::protection::{Protector, SharedProtector};
use crate::stream::catalog::{Description, Snapshot, StreamError, StreamId, StreamName};
use crate::stream::window::{Window, WindowLimits};

/// A source is asked for a keyframe at most this often, however many viewers need one.
const KEYFRAME_ASKED_MIN: Duration = Duration::from_secs(1);

/// Names that are remembered because what they ask for comes as it is.
const AGREEING_MAX: usize = 1_024;

/// One viewer's place in a stream's window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveCursor {
    /// Which stream.
    pub stream: StreamId,
    /// Index of the next batch; None until playing finds a keyframe to begin with.
    pub next: Option<u64>,
    /// Index that the keyframe to begin with must not lie before.
    pub not_before: u64,
    /// Since when it plays: what had come before could not be sent earlier.
    pub since: Time,
    /// How it comes from the cached keyframe to the present; None when it need not.
    pub catch_up: Option<CatchUp>,
}

impl LiveCursor {
    /// Before a stream is played, from now on.
    pub fn new(stream: StreamId, now: Time) -> LiveCursor {
        LiveCursor { stream, next: None, not_before: 0, since: now, catch_up: None }
    }
}

/// One stream as this shard has it.
#[derive(Debug)]
pub struct LiveStream {
    /// What it offers.
    pub description: Arc<Description>,
    /// Its recent past.
    pub window: Window,
    /// Sessions that play it.
    pub viewers: Vec<SessionKey>,
    /// For each track an RTP timestamp and the content time it is: those of its latest batch.
    pub clocks: Vec<(u32, MediaTime)>,
    /// How much comes of it.
    pub meter: Meter,
    /// When the last of it came, and why it ended; None while it goes on.
    pub finished: Option<(Time, String)>,
    first_viewer: usize,
    /// For each track the sequence number of its latest batch.
    sequences: Vec<u16>,
    /// Bytes of its largest packet so far.
    pub packet_bytes: usize,
    /// Keys of SRTP, one a track, the latest last; the others are those of viewers who came before.
    keys: Vec<Vec<SharedProtector>>,
    /// Keys that viewers have brought, and their tracks: what is left out for one counts as well.
    own_keys: Vec<(u8, Weak<RefCell<Protector>>)>,
    /// When its source was last asked for a keyframe.
    keyframe_asked: Option<Time>,
    /// Sessions that may play it at any time: those that are set up or paused as well.
    sessions: usize,
    idle_since: Option<Time>,
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        self.description.audience.change(self.viewers.len(), 0);
    }
}

/// All of them, by run and by what they are asked for by.
#[derive(Debug, Default)]
pub struct LiveStreams {
    /// Asked twice a viewer and batch: of a few streams a comparison finds one sooner than a hash.
    streams: BTreeMap<StreamId, LiveStream>,
    by_name: HashMap<StreamName, Entry>,
    /// Names of streams that come as they are asked for, and which run of them; None until that is received here.
    agreeing: HashMap<StreamName, Option<StreamId>>,
}

#[derive(Debug)]
enum Entry {
    Asked(Vec<Asker>),
    Running(StreamId),
}

/// Who asks for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A connection.
    Connection(Conn),
    /// Those who ask for groups.
    Groups,
}

/// What is known of a stream.
#[derive(Debug)]
pub enum Lookup {
    /// The stream runs and is received here.
    Running(Arc<Description>),
    /// It must be subscribed to; who asks will be told.
    Subscribe,
    /// It was subscribed to already; who asks will be told.
    Wait,
}

impl LiveStreams {
    /// Finds a stream for somebody who asks for it.
    pub fn look_up(&mut self, name: &StreamName, asker: Asker) -> Lookup {
        match self.by_name.get_mut(name) {
            Some(Entry::Running(id)) => match self.streams.get(id) {
                Some(stream) => Lookup::Running(stream.description.clone()),
                None => Lookup::Subscribe,
            },
            Some(Entry::Asked(waiting)) => {
                waiting.push(asker);
                Lookup::Wait
            }
            None => {
                self.by_name.insert(name.clone(), Entry::Asked(vec![asker]));
                Lookup::Subscribe
            }
        }
    }

    /// Whether what is asked for by a name comes as it is, as far as is known.
    pub fn agrees(&self, name: &StreamName) -> bool {
        !name.is_plain() && self.agreeing.contains_key(name)
    }

    /// What is asked for by a name comes as it is, as long as this run of it goes on.
    pub fn note_agreement(&mut self, name: StreamName) {
        if self.agreeing.len() < AGREEING_MAX {
            let running = match self.by_name.get(&StreamName::plain(name.path.clone())) {
                Some(Entry::Running(id)) => Some(*id),
                _ => None,
            };
            self.agreeing.insert(name, running);
        }
    }

    /// Takes the answer to a subscription; returns those who waited for it.
    pub fn subscribed(
        &mut self,
        now: Time,
        name: &StreamName,
        answer: Result<Snapshot, StreamError>,
        limits: WindowLimits,
    ) -> (Vec<Asker>, Result<Arc<Description>, StreamError>) {
        let waiting = match self.by_name.remove(name) {
            Some(Entry::Asked(waiting)) => waiting,
            _ => Vec::new(),
        };
        let snapshot = match answer {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.agreeing.retain(|agreeing, run| run.is_some() || agreeing.path != name.path);
                return (waiting, Err(error));
            }
        };
        let description = snapshot.description;
        if name.is_plain() {
            for (agreeing, run) in &mut self.agreeing {
                if run.is_none() && agreeing.path == name.path {
                    *run = Some(description.id);
                }
            }
        }
        let mut stream = LiveStream {
            description: description.clone(),
            window: Window::new(limits),
            viewers: Vec::new(),
            clocks: description.timestamp_base.iter().map(|base| (*base, MediaTime::ZERO)).collect(),
            meter: Meter::default(),
            finished: None,
            first_viewer: 0,
            sequences: vec![0; description.tracks.len()],
            packet_bytes: 0,
            keys: Vec::new(),
            own_keys: Vec::new(),
            keyframe_asked: None,
            sessions: 0,
            idle_since: Some(now),
        };
        let newest = snapshot.batches.iter().map(|batch| batch.meta().dts).max().unwrap_or_default();
        for batch in snapshot.batches {
            // When it would have come, had the stream been received here.
            let arrival = now - newest.since(batch.meta().dts);
            stream.push(arrival, batch);
        }
        self.by_name.insert(name.clone(), Entry::Running(description.id));
        self.streams.insert(description.id, stream);
        (waiting, Ok(description))
    }

    /// Takes one more batch of a stream; returns its viewers, beginning with another one each time, so that nobody
    /// is always last.
    pub fn push(&mut self, now: Time, id: StreamId, batch: Arc<Batch>) -> impl Iterator<Item = SessionKey> {
        let (first, viewers): (usize, &[SessionKey]) = match self.streams.get_mut(&id) {
            Some(stream) => {
                stream.push(now, batch);
                stream.first_viewer = (stream.first_viewer + 1) % stream.viewers.len().max(1);
                (stream.first_viewer, &stream.viewers)
            }
            None => (0, &[]),
        };
        let (before, from) = viewers.split_at(first.min(viewers.len()));
        from.iter().chain(before).copied()
    }

    /// Nothing more comes of a stream. Those who play it, and see what is left of it, are to be looked at.
    pub fn finish(&mut self, now: Time, id: StreamId, reason: String) -> Vec<SessionKey> {
        self.forget_name(id);
        let Some(stream) = self.streams.get_mut(&id) else { return Vec::new() };
        stream.finished = Some((now, reason));
        let viewers = stream.viewers.clone();
        self.forget_finished(id);
        viewers
    }

    /// Forgets a stream.
    pub fn remove(&mut self, id: StreamId) {
        self.streams.remove(&id);
        self.forget_name(id);
    }

    fn forget_name(&mut self, id: StreamId) {
        self.by_name.retain(|_, entry| !matches!(entry, Entry::Running(running) if *running == id));
        self.agreeing.retain(|_, run| *run != Some(id));
    }

    fn forget_finished(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| stream.finished.is_some() && stream.viewers.is_empty())
        {
            self.streams.remove(&id);
        }
    }

    /// Whose source is to be asked for a keyframe; None when that was done a moment ago.
    pub fn may_ask_keyframe(&mut self, now: Time, id: StreamId) -> Option<Arc<Description>> {
        let stream = self.streams.get_mut(&id)?;
        if stream.keyframe_asked.is_some_and(|asked| now.since(asked) < KEYFRAME_ASKED_MIN) {
            return None;
        }
        stream.keyframe_asked = Some(now);
        Some(stream.description.clone())
    }

    /// Keys for somebody who will watch a stream, with names in packets or without: those of others, or new ones where
    /// these have been in use for too long.
    pub fn protectors(
        &mut self,
        description: &Description,
        are_named: bool,
        mut key: impl FnMut() -> MasterKey,
    ) -> Vec<SharedProtector> {
        let mut fresh = || description.tracks.iter().map(|_| Protector::shared(key())).collect::<Vec<_>>();
        let Some(stream) = self.streams.get_mut(&description.id) else { return fresh() };
        let are_joinable = |keys: &Vec<SharedProtector>| {
            keys.iter().zip(&stream.sequences).all(|(key, at)| {
                let key = key.borrow();
                key.may_be_joined(*at) && key.master().mki.is_empty() != are_named
            })
        };
        if let Some(latest) = stream.keys.iter().rev().find(|keys| are_joinable(keys)) {
            return latest.clone();
        }
        // Keys that nobody has any more.
        stream.keys.retain(|keys| keys.iter().any(|key| Rc::strong_count(key) > 1));
        let keys = fresh();
        stream.keys.push(keys.clone());
        keys
    }

    /// Has a key that a viewer brought for a track follow the stream.
    pub fn follow(&mut self, id: StreamId, track: u8, protector: &SharedProtector) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let key = Rc::downgrade(protector);
            stream.own_keys.retain(|(_, other)| other.strong_count() > 0 && !other.ptr_eq(&key));
            stream.own_keys.push((track, key));
        }
    }

    /// A stream that is received here.
    pub fn get(&self, id: StreamId) -> Option<&LiveStream> {
        self.streams.get(&id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut LiveStream> {
        self.streams.get_mut(&id)
    }

    /// All streams that are received here.
    pub fn iter(&self) -> impl Iterator<Item = &LiveStream> {
        self.streams.values()
    }

    /// Adds a viewer.
    pub fn join(&mut self, id: StreamId, session: SessionKey) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.viewers.contains(&session)
        {
            stream.viewers.push(session);
            stream.description.audience.change(0, 1);
        }
    }

    /// Removes a viewer.
    pub fn leave(&mut self, id: StreamId, session: SessionKey) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let before = stream.viewers.len();
            stream.viewers.retain(|viewer| *viewer != session);
            stream.description.audience.change(before, stream.viewers.len());
        }
        self.forget_finished(id);
    }

    /// Counts a session in: while it lives the stream is received, whether it plays or not.
    pub fn begin(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.sessions += 1;
            stream.idle_since = None;
        }
    }

    /// Somebody asks for it who will have a session soon.
    pub fn touch(&mut self, now: Time, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.idle_since.is_some()
        {
            stream.idle_since = Some(now);
        }
    }

    /// Counts a session out that has ended.
    pub fn end(&mut self, now: Time, id: StreamId, session: SessionKey) {
        self.leave(id, session);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.sessions = stream.sessions.saturating_sub(1);
            if stream.sessions == 0 {
                stream.idle_since = Some(now);
            }
        }
    }

    /// Removes the streams that have had no session here for as long as `linger`, since clients often DESCRIBE, leave
    /// and come back; they are to be unsubscribed from.
    pub fn take_idle(&mut self, now: Time, linger: Duration) -> Vec<Arc<Description>> {
        let idle: Vec<_> = (self.streams.values())
            .filter(|stream| stream.idle_since.is_some_and(|since| now.since(since) > linger))
            .map(|stream| stream.description.clone())
            .collect();
        for description in &idle {
            self.remove(description.id);
        }
        idle
    }
}

impl LiveStream {
    fn push(&mut self, now: Time, batch: Arc<Batch>) {
        let meta = batch.meta();
        if let Some(clock) = self.clocks.get_mut(usize::from(meta.track)) {
            *clock = (batch.timestamp(), meta.pts);
        }
        self.meter.count(batch.rtp().len(), meta.dts);
        let largest = batch.trains().iter().map(|train| usize::from(train.segment)).max();
        self.packet_bytes = self.packet_bytes.max(largest.unwrap_or(0));
        if let Some(sequence) = self.sequences.get_mut(usize::from(meta.track)) {
            *sequence = batch.sequence();
        }
        for key in self.keys.iter().filter_map(|keys| keys.get(usize::from(meta.track))) {
            key.borrow_mut().note(&batch);
        }
        let own = self.own_keys.iter().filter(|(track, _)| *track == meta.track);
        own.filter_map(|(_, key)| key.upgrade()).for_each(|key| key.borrow_mut().note(&batch));
        let is_leading_keyframe = meta.keyframe && meta.track == self.description.leading();
        self.window.push(now, batch, is_leading_keyframe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::time::NtpTime;

    fn description_of(live: &LiveStreams) -> Arc<Description> {
        live.get(7).unwrap().description.clone()
    }

    #[test]
    fn a_stream_stays_while_a_session_is_set_up_or_paused() {
        let mut live = LiveStreams::default();
        let description = Arc::new(Description {
            id: 7,
            name: StreamName::plain("test".into()),
            tracks: Vec::new(),
            ssrc: Vec::new(),
            timestamp_base: Vec::new(),
            origin: NtpTime::default(),
            audience: Arc::default(),
        });
        let at = |seconds: u64| Time::from_millis(seconds * 1_000);
        let session = SessionKey::default();
        let idle = |live: &mut LiveStreams, seconds| -> Vec<StreamId> {
            let idle = live.take_idle(at(seconds), Duration::from_secs(10));
            idle.iter().map(|description| description.id).collect()
        };
        let snapshot = Snapshot { description, batches: Vec::new() };
        let _ =
            live.subscribed(at(0), &StreamName::plain("test".into()), Ok(snapshot), WindowLimits::default());
        live.begin(7);
        assert_eq!(idle(&mut live, 100), [0; 0]);
        live.join(7, session);
        assert_eq!(description_of(&live).audience.count(), 1);
        live.leave(7, session);
        assert_eq!(description_of(&live).audience.count(), 0);
        assert_eq!(idle(&mut live, 200), [0; 0]);
        live.end(at(200), 7, session);
        assert_eq!(idle(&mut live, 205), [0; 0]);
        let description = description_of(&live);
        live.join(7, session);
        assert_eq!(description.audience.count(), 1);
        assert_eq!(idle(&mut live, 211), [7]);
        assert_eq!(description.audience.count(), 0, "who was left goes with the stream");
    }
}
