//! The connection to a source that takes what viewers say: described, set up for a talker, left behind the last.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use proto::client::{Carrier, Event, Failure, Transfer};
use proto::io::Op;
use proto::rtp::batch::{INTERLEAVED_HEAD_BYTES, interleaved_head};
use proto::rtp::header::Header;
use proto::rtsp::message::Method;
use proto::rtsp::status::Status;
use proto::sdp::Session;
use proto::time::Time;
use proto::track::Kind;
use rand::RngExt;

use super::super::puller::{Puller, Said};
use super::super::{Phase, Proxy, ProxyKey, Run};
use super::{
    ABSENCE_BELIEVED, CONNECTION_INTERVAL, HOLD, Outlet, SILENCE_MAX, Stamp, TalkError, Talker, TalkerId,
    WAITING_MAX,
};
use crate::shard::datagrams::at_port;
use crate::shard::inflow::Due;
use crate::shard::ingest::{Arriving, Sender};
use crate::shard::talk::FromSink;
use crate::shard::turn::Shard;

impl Shard {
    /// Brings the connection up to date: what its client says, what is to be sent, when to look again.
    pub(in crate::shard::proxy) fn tend_talkback(&mut self, key: ProxyKey, proxy: &mut Proxy) {
        self.dismiss_silent(proxy);
        self.begin_or_leave_talkback(proxy);
        while let Some(said) = proxy.run().and_then(|run| run.client.poll_event()) {
            if let Said::Event(event) = said {
                self.handle_talkback_event(key, proxy, event);
            }
            self.begin_or_leave_talkback(proxy);
        }
        if let Some(run) = proxy.run() {
            run.say();
        }
        self.flush_line(proxy);
        let wake = proxy.talkback_due(self.settings.source_start);
        self.schedule(key, proxy, Due { wake, ..Due::default() });
    }

    /// Sends what the talker says.
    pub(super) fn pass_talk(&mut self, proxy: &mut Proxy, id: TalkerId, packet: &[u8]) {
        let now = self.now;
        let (Some(talkback), Phase::Running(run)) = (&mut proxy.talkback, &mut proxy.phase) else { return };
        let Some(talker) = talkback.talker.as_mut().filter(|talker| talker.id == id) else { return };
        talker.heard = now;
        let Some((header, payload)) = Header::parse(packet) else { return };
        let clock_rate = talkback.clock_rate(header.payload_type);
        let (Some(clock_rate), Some(outlet), Some(stamp), true) =
            (clock_rate, talkback.outlet, &mut talkback.stamp, talkback.plays)
        else {
            talkback.lost += 1;
            return;
        };
        let head = stamp.stamp(now, header, clock_rate).to_bytes();
        let size = (head.len() + payload.len()) as u16;
        let mut bytes = BytesMut::with_capacity(INTERLEAVED_HEAD_BYTES + usize::from(size));
        if let Outlet::Interleaved(channel) = outlet {
            bytes.put_slice(&interleaved_head(channel, size));
        }
        bytes.put_slice(&head);
        bytes.put_slice(&packet[payload]);
        match outlet {
            Outlet::Interleaved(_) if run.line.waiting() >= WAITING_MAX => talkback.lost += 1,
            Outlet::Interleaved(_) => run.line.push(bytes.freeze()),
            Outlet::Datagrams(udp, to) => {
                self.ports.driver.submit(Op::datagram(udp, to, bytes.freeze()));
            }
        }
    }

    /// A talker who is silent makes room, and who asks is not kept waiting for ever.
    fn dismiss_silent(&mut self, proxy: &mut Proxy) {
        let (now, patience) = (self.now, self.settings.source_start);
        let talker = proxy.talkback.as_ref().and_then(|talkback| talkback.talker.as_ref());
        let is_silent = talker.filter(|talker| talker.dismissed_at(patience) <= now);
        if let Some(Talker { is_granted, .. }) = is_silent {
            let reason = match is_granted {
                true => "nothing was said for some seconds",
                false => "the source has not answered yet",
            };
            self.dismiss_talker(proxy, TalkError::Unavailable(reason.to_owned()));
        }
        let is_late = proxy.talkback.as_ref().and_then(|talkback| talkback.asking.first());
        if is_late.is_some_and(|(since, _)| now.since(*since) >= patience) {
            let reason = "the source has not answered yet whether it takes sound";
            self.answer_askers(proxy, &Err(TalkError::Unavailable(reason.to_owned())));
        }
    }

    fn begin_or_leave_talkback(&mut self, proxy: &mut Proxy) {
        let now = self.now;
        let Some(talkback) = &mut proxy.talkback else { return };
        let is_idle = !talkback.is_wanted() || self.stop.is_some();
        let is_held = talkback.known.as_ref().is_some_and(|(until, known)| known.is_ok() && now < *until);
        if matches!(proxy.phase, Phase::Waiting(until) if until <= now) {
            proxy.phase = Phase::Idle;
        }
        match &mut proxy.phase {
            Phase::Idle if is_idle => {}
            Phase::Idle => match talkback.rests_until.filter(|until| now < *until) {
                Some(until) => proxy.phase = Phase::Waiting(until),
                None => self.begin_talkback(proxy),
            },
            Phase::Running(run) if run.is_leaving => {}
            Phase::Running(run) if talkback.talker.is_some() => run.client.set_up(now),
            // Whoever describes will most likely talk.
            Phase::Running(_) if talkback.outlet.is_none() && (!is_idle || is_held) => {}
            Phase::Running(run) => {
                run.is_leaving = true;
                run.client.teardown(now);
                if talkback.plays {
                    let (path, lost) = (&proxy.spec.path, talkback.lost);
                    tracing::info!(%path, source = %proxy.spec.url, lost, "talk ends");
                }
                talkback.begin_again();
            }
            Phase::Waiting(_) => {}
        }
    }

    fn begin_talkback(&mut self, proxy: &mut Proxy) {
        let now = self.now;
        let Some(talkback) = &mut proxy.talkback else { return };
        let ssrc = self.ports.random.random();
        talkback.stamp.get_or_insert_with(|| Stamp::new(ssrc));
        talkback.begin_again();
        talkback.rests_until = Some(now + CONNECTION_INTERVAL);
        let seed = self.ports.random.random();
        let client = Puller::talkback(now, &proxy.spec, seed);
        proxy.phase = Phase::Running(Box::new(Run::new(client)));
    }

    fn handle_talkback_event(&mut self, key: ProxyKey, proxy: &mut Proxy, event: Event) {
        match event {
            Event::Connect(endpoint) => {
                if let Some(talkback) = &mut proxy.talkback {
                    talkback.begin_again();
                }
                self.connect_source(key, proxy, &endpoint);
            }
            Event::Described { session, wanted } => self.take_formats(proxy, &session, &wanted),
            Event::PortsWanted { media } => {
                if let Err(reason) = self.try_to_give_ports(proxy, media) {
                    self.lose_talkback(proxy, TalkError::Unavailable(reason));
                }
            }
            Event::TrackReady { carrier, .. } => self.open_outlet(key, proxy, carrier),
            Event::TransferRefused { tried: Transfer::Tcp } => {
                if let Some(run) = proxy.run() {
                    run.client.set_transfer(self.now, Transfer::Udp);
                }
            }
            Event::TransferRefused { .. } => {
                let reason = "the source takes sound neither over TCP nor over UDP";
                self.lose_talkback(proxy, TalkError::Unavailable(reason.to_owned()));
            }
            Event::Playing { .. } => self.grant_place(proxy),
            // Reports of the source on what it hears, and of a track that was left.
            Event::Packet { .. } | Event::TrackRefused { .. } => {}
            Event::Ended => self.close_run(proxy),
            Event::Failed(failure) => self.talkback_failed(proxy, failure),
        }
    }

    fn take_formats(&mut self, proxy: &mut Proxy, session: &Session, wanted: &[usize]) {
        let now = self.now;
        let Some(talkback) = &mut proxy.talkback else { return };
        let media = wanted.first().and_then(|media| session.media.get(*media));
        let formats = media.into_iter().flat_map(|media| media.formats.iter());
        let formats: Vec<_> =
            formats.filter(|format| format.kind() == Kind::Audio && format.clock_rate > 0).cloned().collect();
        if formats.is_empty() {
            return self.lose_talkback(proxy, TalkError::Absent);
        }
        let answer = Ok(formats.into());
        talkback.known = Some((now + HOLD, answer.clone()));
        talkback.was_held = talkback.talker.is_none();
        self.answer_askers(proxy, &answer);
    }

    fn open_outlet(&mut self, key: ProxyKey, proxy: &mut Proxy, carrier: Carrier) {
        let outlet = match carrier {
            Carrier::Interleaved(channels) => Some(Outlet::Interleaved(channels.rtp)),
            Carrier::Unicast { server_port, source } => proxy.run().and_then(|run| {
                let (_, pair) = run.ports.as_ref()?;
                let peer = run.line.ends?.peer;
                let port = server_port.map(|ports| ports.rtp).filter(|port| *port > 0)?;
                let to = source.map_or(at_port(peer, port), |ip| (ip, port).into());
                let arriving = Arriving { sender: Sender::Proxy(key), track: 0, is_media: true };
                self.udp.register_sender(pair, arriving);
                Some(Outlet::Datagrams(pair.rtp, to))
            }),
            Carrier::Group { .. } => None,
        };
        if outlet.is_none() {
            let reason = "the source does not say where it takes sound";
            return self.lose_talkback(proxy, TalkError::Unavailable(reason.to_owned()));
        }
        if let Some(talkback) = &mut proxy.talkback {
            talkback.outlet = outlet;
        }
    }

    fn grant_place(&mut self, proxy: &mut Proxy) {
        let (now, sink) = (self.now, proxy.sink());
        let Some(talkback) = &mut proxy.talkback else { return };
        (talkback.plays, talkback.lost) = (true, 0);
        if let Some(stamp) = &mut talkback.stamp {
            stamp.change_talker();
        }
        if let Some(talker) = &mut talkback.talker {
            (talker.heard, talker.is_granted) = (now, true);
            let id = talker.id;
            tracing::info!(path = %proxy.spec.path, source = %proxy.spec.url, "talk begins");
            self.tell_talker(sink, id, FromSink::Begun(Ok(())));
        }
    }

    fn talkback_failed(&mut self, proxy: &mut Proxy, failure: Failure) {
        let Some(talkback) = &mut proxy.talkback else { return };
        let may_be_old = matches!(failure, Failure::Closed | Failure::ResponseTimeout(_));
        let is_waiting = talkback.talker.as_ref().is_some_and(|talker| !talker.is_granted);
        if may_be_old && std::mem::take(&mut talkback.was_held) && is_waiting {
            // The source did not wait for the talker: it is asked again.
            return self.close_run(proxy);
        }
        let reason = proxy.run().and_then(|run| run.error.take()).unwrap_or_else(|| failure.to_string());
        self.lose_talkback(
            proxy,
            match failure {
                Failure::NoTrack
                | Failure::ResponseTimeout(Method::Describe)
                | Failure::Refused { method: Method::Describe, status: Status::OPTION_NOT_SUPPORTED } => {
                    TalkError::Absent
                }
                Failure::Refused { status: Status::NOT_ENOUGH_BANDWIDTH, .. } => TalkError::Busy,
                _ => TalkError::Unavailable(reason),
            },
        );
    }

    /// Ends the connection, and tells who asks or talks why.
    fn lose_talkback(&mut self, proxy: &mut Proxy, error: TalkError) {
        let is_absent = error == TalkError::Absent;
        if proxy.talkback.as_ref().is_some_and(|talkback| talkback.is_wanted()) {
            let (path, source) = (&proxy.spec.path, &proxy.spec.url);
            match is_absent {
                true => tracing::info!(%path, %source, "source takes no sound"),
                false => tracing::warn!(%path, %source, %error, "source takes no sound now"),
            }
        }
        if let Some(talkback) = &mut proxy.talkback {
            talkback.begin_again();
            talkback.known = is_absent.then(|| (self.now + ABSENCE_BELIEVED, Err(TalkError::Absent)));
        }
        self.answer_askers(proxy, &Err(error.clone()));
        self.dismiss_talker(proxy, error);
        let now = self.now;
        if let Some(run) = proxy.run() {
            run.client.teardown(now);
        }
        self.close_run(proxy);
    }
}

impl Talker {
    /// When it loses the place if it says nothing, or does not get it if the source says nothing.
    fn dismissed_at(&self, patience: Duration) -> Time {
        self.heard + if self.is_granted { SILENCE_MAX } else { patience }
    }
}

impl Proxy {
    /// When somebody has been silent or has waited for too long.
    fn talkback_due(&self, patience: Duration) -> Option<Time> {
        let talkback = self.talkback.as_ref()?;
        let silent = talkback.talker.as_ref().map(|talker| talker.dismissed_at(patience));
        let late = talkback.asking.first().map(|(since, _)| *since + patience);
        // One that leaves is held no more: its time has come already.
        let is_staying = matches!(&self.phase, Phase::Running(run) if !run.is_leaving);
        let is_held = is_staying && talkback.outlet.is_none() && !talkback.is_wanted();
        let unheld = talkback.known.as_ref().filter(|_| is_held).map(|(until, _)| *until);
        [silent, late, unheld].into_iter().flatten().min()
    }
}
