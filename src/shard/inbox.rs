//! Everything that reaches a shard from other threads, drained once a turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use proto::io::{Conn, Detached};
use proto::time::Time;

use super::client_ports::Holder;
use super::door::Door;
use super::gate::{Access, Login, Subject};
use super::hooks::{Answer as ServiceAnswer, Visit};
use super::limits::Place;
use super::multicast::{FromHome, ToHome};
use super::names::AddressesReply;
use super::secure::Secure;
use super::settings::{PortKind, Settings};
use super::steering::{Question, Said};
use super::talk::{FromSink, SinkAddress, ToSink};
use super::tls::Step;
use crate::media::library::{Answer, ReplyTo, Ticket};
use crate::stream::catalog::{Notice, ShardIndex, Subscriber};

/// Messages that may wait before live batches are refused: a shard that is this far behind skips to the next keyframe.
/// All other messages are answers, as many as there are questions, or come once: none of them may be lost.
const MESSAGES_MAX: usize = 16 * 1024;

/// A message to a shard.
#[derive(Debug)]
pub enum Message {
    /// From the library of files.
    Media(Answer),
    /// From a live stream.
    Stream(Notice),
    /// The addresses of another server, or why there are none.
    Addresses(Ticket, Result<Vec<SocketAddr>, String>),
    /// To whoever takes sound here under that name.
    ToSink(u64, ToSink),
    /// To one who asks or talks by that ticket, from the sink at that address.
    FromSink(SinkAddress, Ticket, FromSink),
    /// To the home of a transmission, from those who listen.
    ToHome(ToHome),
    /// To those who listen to a transmission, from its home.
    FromHome(FromHome),
    /// A connection that belongs here.
    Moved(Moved),
    /// What a connection's client is told in its handshake, and how that stands.
    Handshaken(Conn, Vec<u8>, Step),
    /// A session's UDP address has gone to a newcomer, because its own viewer has vanished.
    Overtaken(SocketAddr, Holder),
    /// A wrong password came from there, which the receiver counts for all shards.
    LogInFailed(Subject),
    /// Nobody from there may come in until then.
    Banned(Subject, Time),
    /// What a web service has said to the question under that ticket.
    ServiceAnswered(Ticket, ServiceAnswer),
    /// To be answered with the shard's number: who answers turns.
    RollCall(Sender<ShardIndex>),
    /// To a client whose connection was passed on, from who serves it.
    Said(Conn, Said),
    /// From those who see and steer the server.
    Asked(Question),
    /// The configuration has changed: what is new is added.
    Settings(Arc<Settings>),
    /// And everybody knows of it: what is there no longer goes.
    Settled,
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
    /// Which of our ports that is.
    pub port: PortKind,
    /// How RTSP travels on it.
    pub door: Door,
    /// What it has proven.
    pub login: Option<Box<Login>>,
    /// The list that this numbers its user by.
    pub access: Option<Arc<Access>>,
    /// The proxy that it came by; None when the client itself connected.
    pub forwarder: Option<SocketAddr>,
    /// What it is to the web services.
    pub visit: Option<Box<Visit>>,
    /// Its place among all connections.
    pub place: Option<Place>,
    /// Its keys; None on a plain port.
    pub(super) secure: Option<Box<Secure>>,
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
        let (sender, receiver) = crossbeam_channel::unbounded();
        (Inbox { receiver }, Outside { shard, sender, waker })
    }

    /// The next message, if any.
    pub fn next(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

impl Outside {
    /// Delivers a message and wakes the shard. False when the shard has ended, and for a live batch when it is behind.
    pub fn send(&self, message: Message) -> bool {
        let may_be_lost = matches!(message, Message::Stream(Notice::Batch { .. }));
        if may_be_lost && self.sender.len() >= MESSAGES_MAX || self.sender.send(message).is_err() {
            return false;
        }
        self.waker.wake_by_ref();
        true
    }

    /// How the library answers this shard.
    pub fn reply_to(&self) -> ReplyTo {
        let outside = self.clone();
        Arc::new(move |answer| {
            if !outside.send(Message::Media(answer)) {
                tracing::debug!(shard = outside.shard, "a media answer was lost: the shard has ended");
            }
        })
    }

    /// How the addresses of another server reach this shard.
    pub fn names_reply(&self, ticket: Ticket) -> AddressesReply {
        let outside = self.clone();
        Box::new(move |answer| {
            outside.send(Message::Addresses(ticket, answer));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rtp::batch::{BatchWriter, Meta, Numbering};
    use proto::time::MediaTime;

    #[test]
    fn a_full_inbox_refuses_batches_and_nothing_else() {
        let (inbox, outside) = Inbox::new(0, Waker::noop().clone());
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
        let mut writer = BatchWriter::new(numbering, 10);
        writer.packet(true, &[b"x"]);
        let meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
        let batch = Arc::new(writer.finish(meta).unwrap());
        let notice = || Message::Stream(Notice::Batch { stream: 1, batch: batch.clone() });
        assert_eq!((0..=MESSAGES_MAX).filter(|_| outside.send(notice())).count(), MESSAGES_MAX);
        assert!(outside.send(Message::Shutdown));
        assert!(inbox.next().is_some());
        assert!(inbox.next().is_some());
        assert!(outside.send(notice()));
    }
}
