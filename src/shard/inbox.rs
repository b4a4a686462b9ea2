//! Everything that reaches a shard from other threads, drained once a turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use proto::io::Detached;

use crate::media::library::{Answer, ReplyTo};
use crate::stream::catalog::{Notice, ShardIndex, Subscriber};

/// Messages that may wait; a shard that is this far behind skips live batches up to the next keyframe.
const MESSAGES_MAX: usize = 16 * 1024;

/// A message to a shard.
#[derive(Debug)]
pub enum Message {
    /// From the library of files.
    Media(Answer),
    /// From a live stream.
    Stream(Notice),
    /// A connection that belongs here.
    Moved(Moved),
    /// The program ends: BYE to viewers, then everything is closed.
    Shutdown,
}

/// A connection on its way between two shards.
#[derive(Debug)]
pub struct Moved {
    /// The socket.
    pub socket: Detached,
    /// The client's address.
    pub peer: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// What was received and not yet answered, the request that names this shard's session first.
    pub unread: Bytes,
}

/// The receiving end; owned by the shard.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Message>,
}

/// The sending end; any thread may have a copy.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Which shard it leads to.
    pub shard: ShardIndex,
    sender: Sender<Message>,
    waker: Waker,
}

impl Inbox {
    /// An inbox and the way into it; `waker` wakes the shard's driver.
    pub fn new(shard: ShardIndex, waker: Waker) -> (Inbox, Outside) {
        let (sender, receiver) = crossbeam_channel::bounded(MESSAGES_MAX);
        (Inbox { receiver }, Outside { shard, sender, waker })
    }

    /// The next message, if any.
    pub fn next(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

impl Outside {
    /// Delivers a message and wakes the shard. False when its inbox is full or the shard has ended.
    pub fn send(&self, message: Message) -> bool {
        match self.sender.try_send(message) {
            Ok(()) => {
                self.waker.wake_by_ref();
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// How the library answers this shard.
    pub fn reply_to(&self) -> ReplyTo {
        let outside = self.clone();
        Arc::new(move |answer| {
            if !outside.send(Message::Media(answer)) {
                tracing::warn!(shard = outside.shard, "a media answer was lost: the inbox is full");
            }
        })
    }

    /// How live streams reach this shard.
    pub fn subscriber(&self) -> Subscriber {
        let outside = self.clone();
        Subscriber {
            shard: self.shard,
            deliver: Arc::new(move |notice| outside.send(Message::Stream(notice))),
        }
    }
}
