//! One run of a stream whose source is in this program, on a thread of its own.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use proto::time::{NtpTime, Time};

use crate::media::documents::Documents;
use crate::media::source::{Demand, Source};
use crate::stream::catalog::{
    Audience, Description, Notice, ShardIndex, StreamError, StreamId, StreamName, Subscriber, Want,
};
use crate::stream::publish::Publisher;
use crate::stream::window::WindowLimits;

/// How long a source runs on with nobody watching.
const LINGER: Duration = Duration::from_secs(5);

/// Who subscribes is answered when there is something to begin with, or after this.
const FIRST_MAX: Duration = Duration::from_secs(3);

/// Between two looks at what there is to say of a stream.
const LOOK: Duration = Duration::from_millis(50);

/// What a run is told.
pub(super) enum Command {
    /// Deliver it to one more shard.
    Subscribe(Subscriber),
    /// Deliver no more.
    Unsubscribe(ShardIndex),
    /// A viewer needs something of it.
    Want(Want),
    /// Run no longer.
    End,
}

/// One run.
pub(super) struct Live {
    pub(super) id: StreamId,
    pub(super) name: StreamName,
    pub(super) received: Receiver<Command>,
    pub(super) mtu_bytes: usize,
    pub(super) cache: WindowLimits,
    /// What others say of streams; None where no metadata is added.
    pub(super) metadata: Option<Arc<Documents>>,
    /// Who is answered when there is something to begin with: a player that begins with nothing puts the first of each
    /// track to the same moment.
    pub(super) waiting: RefCell<Vec<Subscriber>>,
}

impl Live {
    /// Runs the source until nobody watches. Who watches may be counted with others.
    pub(super) fn run(&self, mut source: Box<dyn Source>, audience: Option<Arc<Audience>>) {
        let tracks = match source.tracks() {
            Ok(tracks) => tracks,
            Err(error) => {
                tracing::error!(stream = %self.name, %error, "source does not start");
                self.refuse(&error.into());
                return;
            }
        };
        let origin = source.origin().unwrap_or_else(wall);
        let (name, random) = (self.name.clone(), &mut rand::rng());
        let mut publisher = Publisher::new(self.id, name, tracks, origin, self.mtu_bytes, self.cache, random);
        if let Some(audience) = audience {
            publisher.fanout().describe(|known| Description { audience, ..known.clone() });
        }
        if let Some(documents) = &self.metadata {
            let anchor = (Time::ZERO, wall().since(origin));
            publisher.add_metadata(documents, self.mtu_bytes, anchor, random);
        }
        tracing::info!(stream = %self.name, "source started");
        let begun = Instant::now();
        let mut look_at = begun;
        let mut idle_since = begun;
        let (mut is_left, mut is_ended) = (false, false);
        let result = source.run(&mut |frame| {
            is_ended |= self.obey(&mut publisher);
            if is_ended {
                return Demand::Nothing;
            }
            if !publisher.fanout().is_idle() || !self.waiting.borrow().is_empty() {
                (idle_since, is_left) = (Instant::now(), false);
            } else if idle_since.elapsed() > LINGER {
                is_left = true;
                return Demand::Nothing;
            }
            if let Some(frame) = frame {
                publisher.publish(&frame);
            }
            if self.metadata.is_some() && look_at <= Instant::now() {
                look_at = Instant::now() + LOOK;
                publisher.tell(Time::ZERO + begun.elapsed(), wall());
            }
            if publisher.fanout().has_past() || begun.elapsed() > FIRST_MAX {
                for subscriber in self.waiting.borrow_mut().drain(..) {
                    publisher.fanout().subscribe(&self.name.path, subscriber);
                }
            }
            if publisher.fanout().awaits_keyframe() { Demand::Keyframe } else { Demand::More }
        });
        let reason = match result {
            Ok(()) if is_left => {
                tracing::info!(stream = %self.name, "source stopped: nobody watches");
                "the source stopped".to_owned()
            }
            Ok(()) if is_ended => "the configuration has it no more".to_owned(),
            Ok(()) => "the source has ended".to_owned(),
            Err(error) => {
                tracing::error!(stream = %self.name, %error, "source failed");
                // Not left for another start: it might fail again at once, for ever.
                self.refuse(&StreamError::Unavailable(error.to_string()));
                error.to_string()
            }
        };
        for subscriber in self.waiting.borrow_mut().drain(..) {
            self.answer(&subscriber, &StreamError::Unavailable(reason.clone()));
        }
        publisher.fanout().end(&reason);
    }

    fn answer(&self, subscriber: &Subscriber, error: &StreamError) {
        let name = self.name.clone();
        (subscriber.deliver)(Notice::Subscribed { name, answer: Err(error.clone()) });
    }

    /// Does what it is told; true when it is to end.
    fn obey(&self, publisher: &mut Publisher) -> bool {
        let mut is_ended = false;
        for command in self.received.try_iter() {
            match command {
                Command::Subscribe(subscriber) => self.waiting.borrow_mut().push(subscriber),
                Command::Unsubscribe(shard) => {
                    self.waiting.borrow_mut().retain(|waiting| waiting.shard != shard);
                    publisher.fanout().unsubscribe(shard);
                }
                Command::Want(Want::Keyframe) => publisher.fanout().want_keyframe(),
                // Packets are made so small here that they hold.
                Command::Want(Want::SmallPackets) => {}
                Command::End => is_ended = true,
            }
        }
        is_ended
    }

    /// Answers all who have asked.
    pub(super) fn refuse(&self, error: &StreamError) {
        let asked = self.received.try_iter().filter_map(|command| match command {
            Command::Subscribe(subscriber) => Some(subscriber),
            Command::Unsubscribe(_) | Command::Want(_) | Command::End => None,
        });
        for subscriber in asked.chain(self.waiting.borrow_mut().drain(..)) {
            self.answer(&subscriber, error);
        }
    }
}

fn wall() -> NtpTime {
    NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
