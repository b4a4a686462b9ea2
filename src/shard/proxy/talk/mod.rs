//! The source of a proxy as a sink: what viewers say goes to its backchannel (ONVIF streaming specification section
//! 5.3), on a connection that is there only while somebody asks or talks.

mod run;
mod stamp;

use std::net::SocketAddr;
use std::time::Duration;

use proto::io::Udp;
use proto::time::Time;

use super::Proxy;
use crate::shard::talk::{Formats, FromSink, SinkAddress, TalkError, TalkerId, ToSink};
use crate::shard::turn::Shard;
use stamp::Stamp;

/// How long a source that was described is kept waiting for a talker: players describe, then set up.
const HOLD: Duration = Duration::from_secs(10);

/// A source is connected to at most this often, however viewers come and go: it may have one talker's place only, and
/// little strength.
const CONNECTION_INTERVAL: Duration = Duration::from_secs(1);

/// How long it is believed that a source has no backchannel.
const ABSENCE_BELIEVED: Duration = Duration::from_secs(60);

/// A talker who says nothing for so long makes room for another.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Packets that may wait to leave on the source's connection; what comes beyond is lost.
const WAITING_MAX: usize = 64;

/// What there is of the backchannel of one source.
#[derive(Debug, Default)]
pub(super) struct Talkback {
    /// What the source takes, or why it takes nothing, and until when that is believed.
    known: Option<(Time, Formats)>,
    /// Who asks what it takes, and since when.
    asking: Vec<(Time, TalkerId)>,
    talker: Option<Talker>,
    /// None before the first talker.
    stamp: Option<Stamp>,
    /// How packets leave; None before the source has set the track up.
    outlet: Option<Outlet>,
    /// Whether the source plays: it takes sound.
    plays: bool,
    /// Whether the connection has stood still behind the description: the source may have closed it.
    was_held: bool,
    /// Until when no other connection is made; None before the first.
    rests_until: Option<Time>,
    /// Packets that could not leave.
    lost: u64,
}

/// Who has the place.
#[derive(Debug)]
struct Talker {
    id: TalkerId,
    /// When it was heard last, or came by the place.
    heard: Time,
    /// Whether the source takes what it says.
    is_granted: bool,
}

/// How packets leave.
#[derive(Clone, Copy, Debug)]
enum Outlet {
    /// In `$` frames of that channel.
    Interleaved(u8),
    /// From one of our sockets to one of the source's.
    Datagrams(Udp, SocketAddr),
}

impl Shard {
    /// Obeys a viewer's shard.
    pub(in crate::shard) fn order_talkback(&mut self, tenure: u64, what: ToSink) {
        let Some(key) = self.proxies.talkbacks.get(&tenure).copied() else { return };
        self.with_proxy(key, |shard, proxy| match what {
            ToSink::Describe(asker) => shard.describe_sink(proxy, asker),
            ToSink::Begin(talker) => shard.give_place(proxy, talker),
            ToSink::Packet { talker, packet, .. } => shard.pass_talk(proxy, talker, &packet),
            ToSink::End(talker) => proxy.forget_talker(talker),
        });
    }

    fn describe_sink(&mut self, proxy: &mut Proxy, asker: TalkerId) {
        let (now, sink) = (self.now, proxy.sink());
        let Some(talkback) = &mut proxy.talkback else { return };
        match talkback.believed(now) {
            Some(answer) => self.tell_talker(sink, asker, FromSink::Described(answer)),
            None => talkback.asking.push((now, asker)),
        }
    }

    fn give_place(&mut self, proxy: &mut Proxy, id: TalkerId) {
        let (now, sink) = (self.now, proxy.sink());
        let Some(talkback) = &mut proxy.talkback else { return };
        let refused = match talkback.believed(now) {
            Some(Err(error)) => Some(error),
            _ => talkback.talker.is_some().then_some(TalkError::Busy),
        };
        match refused {
            Some(error) => self.tell_talker(sink, id, FromSink::Begun(Err(error))),
            None => talkback.talker = Some(Talker { id, heard: now, is_granted: false }),
        }
    }

    /// Tells those who ask or talk why they can no longer.
    pub(in crate::shard::proxy) fn end_talkback(&mut self, proxy: &mut Proxy, reason: &str) {
        let error = TalkError::Unavailable(reason.to_owned());
        self.answer_askers(proxy, &Err(error.clone()));
        self.dismiss_talker(proxy, error);
    }

    /// Tells all who ask what the source takes.
    fn answer_askers(&mut self, proxy: &mut Proxy, answer: &Formats) {
        let sink = proxy.sink();
        let Some(talkback) = &mut proxy.talkback else { return };
        for (_, asker) in std::mem::take(&mut talkback.asking) {
            self.tell_talker(sink, asker, FromSink::Described(answer.clone()));
        }
    }

    /// Takes the place back, or does not give it.
    fn dismiss_talker(&mut self, proxy: &mut Proxy, error: TalkError) {
        let sink = proxy.sink();
        let Some(talker) = proxy.talkback.as_mut().and_then(|talkback| talkback.talker.take()) else {
            return;
        };
        let what = match talker.is_granted {
            true => FromSink::Ended(error.to_string()),
            false => FromSink::Begun(Err(error)),
        };
        self.tell_talker(sink, talker.id, what);
    }
}

impl Proxy {
    fn sink(&self) -> SinkAddress {
        SinkAddress { home: self.spec.home, tenure: self.spec.tenure }
    }

    fn forget_talker(&mut self, id: TalkerId) {
        if let Some(talkback) = &mut self.talkback {
            talkback.talker.take_if(|talker| talker.id == id);
        }
    }

    /// Something has come from the source over UDP.
    pub(super) fn hear_talkback(&mut self, now: Time) {
        if let Some(run) = self.run() {
            run.client.handle_media(now);
        }
    }
}

impl Talkback {
    /// What is known of the source: for a while, and as long as it is set up.
    fn believed(&self, now: Time) -> Option<Formats> {
        let (until, answer) = self.known.as_ref()?;
        (now < *until || self.outlet.is_some()).then(|| answer.clone())
    }

    fn clock_rate(&self, payload_type: u8) -> Option<u32> {
        let (_, Ok(formats)) = self.known.as_ref()? else { return None };
        let format = formats.iter().find(|format| format.payload_type == payload_type)?;
        Some(format.clock_rate)
    }

    /// Whether anybody asks or talks.
    fn is_wanted(&self) -> bool {
        self.talker.is_some() || !self.asking.is_empty()
    }

    /// Forgets what belonged to a connection.
    fn begin_again(&mut self) {
        (self.outlet, self.plays, self.was_held) = (None, false, false);
    }
}
