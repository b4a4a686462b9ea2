//! The shard itself, and one turn of it: let the driver work, act on what it reports, send what is ready.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::{Conn, Event, Listener, Op};
use proto::time::Time;
use proto::tunnel::pairing::Pairing;
use slotmap::SlotMap;
use smallvec::SmallVec;

use super::accounts::Accounts;
use super::bandwidth::Sent;
use super::connection::Connections;
use super::datagrams::UdpPairs;
use super::gate::Suspects;
use super::inbox::{Message, Moved};
use super::limits::Refused;
use super::live::{self, LiveStreams};
use super::multicast::Transmissions;
use super::ports::Ports;
use super::proxy::{Proxies, ProxyKey};
use super::publications::Publications;
use super::pusher::{PusherKey, Pushers};
use super::ready::{self, Ready};
use super::secure::Sealing;
use super::session::{Session, SessionId, SessionKey};
use super::settings::{Listen, Settings};
use super::steering::Totals;
use super::talk::Loudspeaker;
use crate::egress::heads::Heads;
use crate::media::library::{Answer, ReplyTo, Ticket};
use crate::stream::catalog::{Notice, ShardIndex};
use crate::stream::groups::Groups;

/// How often time-outs are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// One thread's worth of server.
#[derive(Debug)]
pub struct Shard {
    pub(super) index: ShardIndex,
    pub(super) settings: Arc<Settings>,
    pub(super) ports: Ports,
    pub(super) now: Time,
    pub(super) connections: Connections,
    pub(super) sessions: SlotMap<SessionKey, Session>,
    pub(super) by_id: HashMap<SessionId, SessionKey>,
    pub(super) live: LiveStreams,
    pub(super) publications: Publications,
    pub(super) proxies: Proxies,
    pub(super) pushers: Pushers,
    /// The machine's own, where what viewers say is heard.
    pub(super) loudspeaker: Loudspeaker,
    pub(super) udp: UdpPairs,
    pub(super) suspects: Suspects,
    pub(super) refused: Refused,
    pub(super) sent: Sent,
    /// What has happened here since the start.
    pub(super) counted: Totals,
    pub(super) accounts: Accounts,
    pub(super) transmissions: Transmissions,
    pub(super) tunnels: Pairing<Conn>,
    pub(super) heads: Heads,
    pub(super) sealing: Sealing,
    pub(super) waiting: HashMap<Ticket, Asker>,
    /// Connections whose input is to be worked off.
    pub(super) unserved: VecDeque<Conn>,
    pub(super) stop: Option<Time>,
    pub(super) listeners: Vec<(Listener, Listen)>,
    /// Where it should listen and cannot.
    pub(super) unopened: Vec<SocketAddr>,
    last_ticket: Ticket,
    ready: Ready,
    alarms: BinaryHeap<Reverse<(Time, Alarm)>>,
    /// When it is looked what there is to say of streams that come here; None while none has metadata.
    pub(super) metadata_at: Option<Time>,
    housekeeping_at: Time,
    events: Vec<Event>,
    arrived: Vec<Moved>,
}

/// Who awaits an answer of the library.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// A connection that asks what a path names.
    Connection(Conn),
    /// A session that needs a segment; whether it begins another play of the file.
    Session(SessionKey, bool),
    /// A proxy that looks for its source.
    Proxy(ProxyKey),
    /// A proxy whose picture is made anew.
    Picture(ProxyKey),
    /// A session that wants to talk again.
    Talker(SessionKey),
}

/// What is to be looked at when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A session.
    Session(SessionKey),
    /// A proxy.
    Proxy(ProxyKey),
    /// A pusher.
    Pusher(PusherKey),
    /// A connection whose answer is kept back.
    Connection(Conn),
}

impl Shard {
    /// A shard that listens where its settings say. Errors are those of listening, with the address.
    pub fn new(
        index: ShardIndex,
        settings: Arc<Settings>,
        mut ports: Ports,
    ) -> Result<Shard, (SocketAddr, io::Error)> {
        ports.catalog.attend(ports.shards[usize::from(index)].subscriber());
        let mut listeners = Vec::new();
        for listen in &settings.listen {
            let opened = ports.driver.listen(listen.address).map_err(|error| (listen.address, error));
            listeners.push((opened?.0, *listen));
        }
        let mut udp = UdpPairs::default();
        let pushers = Pushers::open(index, &settings.pushers, &mut *ports.driver, &mut udp)?;
        let now = ports.driver.now();
        let proxies = Proxies::new(index, &settings.proxies);
        let groups = settings.multicast.as_ref();
        let groups = groups.map(|it| Groups::new(it.range.clone(), index, ports.shards.len()));
        let mut shard = Shard {
            index,
            settings,
            ports,
            now,
            connections: Connections::default(),
            sessions: SlotMap::with_key(),
            by_id: HashMap::new(),
            live: LiveStreams::default(),
            publications: Publications::default(),
            proxies,
            pushers,
            loudspeaker: Loudspeaker::default(),
            udp,
            suspects: Suspects::default(),
            refused: Refused::default(),
            sent: Sent::default(),
            counted: Totals::default(),
            accounts: Accounts::default(),
            transmissions: Transmissions::new(groups),
            tunnels: Pairing::default(),
            heads: Heads::default(),
            sealing: Sealing::default(),
            waiting: HashMap::new(),
            unserved: VecDeque::new(),
            stop: None,
            listeners,
            unopened: Vec::new(),
            last_ticket: 0,
            ready: Ready::default(),
            alarms: BinaryHeap::new(),
            metadata_at: None,
            housekeeping_at: now + HOUSEKEEPING,
            events: Vec::new(),
            arrived: Vec::new(),
        };
        shard.start_proxies();
        Ok(shard)
    }

    /// Lets the driver work until something happens or is due, and acts on it. An error means that the driver is
    /// broken for good. False when the shard was told to stop and has nothing left to do.
    pub fn turn(&mut self) -> io::Result<bool> {
        let until = self.deadline();
        let mut events = std::mem::take(&mut self.events);
        self.ports.driver.turn(Some(until), &mut events)?;
        self.now = self.ports.driver.now();
        self.sealing.begin_turn();
        // Before requests: what a client was told by another shard is known here when it asks.
        while let Some(message) = self.ports.inbox.next() {
            self.handle_message(message);
        }
        for event in events.drain(..) {
            self.handle_event(event);
        }
        self.events = events;
        // What publishers have just sent leaves in this turn.
        while let Some(message) = self.ports.inbox.next() {
            self.handle_message(message);
        }
        self.serve_some();
        // Behind the events: until then a name that the driver gives anew may be that of a connection which leaves, and
        // which is not handed over yet.
        for moved in std::mem::take(&mut self.arrived) {
            self.take_over(moved);
        }
        self.heed_alarms();
        if self.metadata_at.is_some_and(|at| at <= self.now) {
            self.tell_metadata();
        }
        if self.now >= self.housekeeping_at {
            self.housekeeping_at = self.now + HOUSEKEEPING;
            self.keep_house();
        }
        let mut served = ready::Turn::default();
        while !self.sealing.is_enough()
            && let Some(key) = self.ready.next(&mut served)
        {
            if let Some(soon) = self.ready.peek().and_then(|key| self.sessions.get(key)) {
                self.ports.driver.need_soon(ptr::from_ref(soon).cast(), size_of_val(soon));
            }
            if let Some(session) = self.sessions.get_mut(key) {
                session.is_ready = false;
                self.pump(key);
            }
        }
        if self.is_finished() {
            // The last goodbyes leave.
            self.ports.driver.turn(Some(self.now), &mut Vec::new())?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Puts a session on the list of those that may have something to send.
    pub(super) fn make_ready(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            self.ready.add(key, session);
        }
    }

    /// Has a session looked at again at `at`, or earlier if that was asked before.
    pub(super) fn wake_session_at(&mut self, key: SessionKey, at: Time) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.wake_at.is_none_or(|scheduled| at < scheduled) {
            session.wake_at = Some(at);
            self.set_alarm(at, Alarm::Session(key));
        }
    }

    /// Has something looked at again at `at`.
    pub(super) fn set_alarm(&mut self, at: Time, alarm: Alarm) {
        self.alarms.push(Reverse((at, alarm)));
    }

    /// A ticket for a question that is answered later.
    pub(super) fn next_ticket(&mut self, asker: Asker) -> Ticket {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, asker);
        self.last_ticket
    }

    /// A ticket for a question to the library.
    pub(super) fn ticket(&mut self, asker: Asker) -> (Ticket, ReplyTo) {
        let ticket = self.next_ticket(asker);
        (ticket, self.ports.shards[usize::from(self.index)].reply_to())
    }

    fn deadline(&self) -> Time {
        if !self.ready.is_empty() || !self.unserved.is_empty() {
            return self.now;
        }
        let wake = self.alarms.peek().map(|Reverse((at, _))| *at);
        [wake, self.stop, self.metadata_at].into_iter().flatten().fold(self.housekeeping_at, Time::min)
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Accepted { listener, conn, peer, .. } if self.pushers.has_door(listener) => {
                match self.admits(peer) {
                    true => self.pusher_connected(listener, conn, peer),
                    false => self.turn_away(conn, peer),
                }
            }
            Event::Accepted { listener, conn, peer, local } => {
                let port = self.listeners.iter().find(|(other, _)| *other == listener);
                // Of a listener that is being closed nothing is wanted any more.
                let Some((_, listen)) = port else { return self.turn_away(conn, peer) };
                self.welcome(conn, peer, local, listen.kind);
            }
            Event::Connected { conn, local } => self.proxy_connected(conn, local),
            // With every descriptor that is freed one client comes in and the next one is refused.
            Event::AcceptRefused { error, .. } => self.refused.note_unaccepted(error),
            Event::Received { conn, span } if self.proxies.has_conn(conn) => self.proxy_received(conn, span),
            Event::Received { conn, span } if self.pushers.has_conn(conn) => self.pusher_received(conn, span),
            Event::Received { conn, span } => self.handle_received(conn, span),
            Event::Ended { conn, error } if self.proxies.has_conn(conn) => self.proxy_ended(conn, error),
            Event::Ended { conn, error } if self.pushers.has_conn(conn) => self.pusher_ended(conn, error),
            Event::Ended { conn, error: None } => self.handle_end(conn),
            Event::Ended { conn, error: Some(error) } => {
                tracing::debug!(?conn, %error, "connection broken");
                // A client may break off behind its last word.
                self.serve_now(conn);
                self.close(conn);
            }
            Event::Sent { conn } if self.proxies.has_conn(conn) => self.proxy_sent(conn),
            Event::Sent { conn } => self.handle_sent(conn),
            Event::Closed { conn } => self.forget(conn),
            Event::Detached { conn, socket } => self.hand_over(conn, socket),
            Event::Datagram { udp, from, span, segment } => self.handle_datagrams(udp, from, span, segment),
        }
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Media(Answer::Described(ticket, answer)) => self.described(ticket, answer),
            Message::Media(Answer::Segment(ticket, answer)) => self.segment_arrived(ticket, answer),
            Message::Media(Answer::Picture(ticket, answer)) => self.picture_rewritten(ticket, answer),
            Message::Stream(Notice::Subscribed { name, answer }) => {
                let (waiting, answer) =
                    self.live.subscribed(self.now, &name, answer, self.settings.live.cache);
                for asker in waiting {
                    match asker {
                        live::Asker::Connection(conn) => self.live_answered(conn, &name, &answer),
                        live::Asker::Groups => self.stream_found(&name, &answer),
                    }
                }
            }
            Message::Stream(Notice::Batch { stream, batch }) => {
                let viewers: smallvec::SmallVec<[SessionKey; 64]> =
                    self.live.push(self.now, stream, batch).collect();
                for key in viewers {
                    self.make_ready(key);
                }
            }
            Message::Stream(Notice::Ended { stream, reason }) => {
                for key in self.live.finish(self.now, stream, reason) {
                    self.make_ready(key);
                }
            }
            Message::Stream(Notice::Published { path, is_there }) => self.note_published(path, is_there),
            Message::Stream(Notice::Claimed { ticket, answer }) => self.claimed(ticket, answer),
            Message::Stream(Notice::Order { tenure, order }) => self.handle_order(tenure, order),
            Message::Stream(Notice::HandedOver { tenure, relay }) => self.take_over_stream(tenure, relay),
            Message::Addresses(ticket, answer) => {
                if let Some(Asker::Proxy(key)) = self.waiting.remove(&ticket) {
                    self.proxy_addresses(key, ticket, answer);
                }
            }
            Message::ToSink(tenure, what) => {
                if !self.order_loudspeaker(tenure, &what) {
                    self.order_talkback(tenure, what);
                }
            }
            Message::FromSink(sink, ticket, what) => self.hear_sink(sink, ticket, what),
            Message::ToHome(what) => self.hear_member(what),
            Message::FromHome(what) => self.hear_home(what),
            Message::Moved(moved) => self.arrived.push(moved),
            Message::Handshaken(conn, output, step) => self.handshaken(conn, &output, step),
            Message::LogInFailed(subject) => self.count_failure(subject),
            Message::Banned(subject, until) => self.obey_ban(subject, until),
            Message::ServiceAnswered(ticket, answer) => self.service_answered(ticket, answer),
            Message::Overtaken(address, holder) => self.give_way(address, holder),
            Message::RollCall(answer) => {
                // Nobody waits for it once the program ends.
                let _ = answer.send(self.index);
            }
            Message::Said(conn, said) => self.say(conn, said),
            Message::Asked(question) => self.answer_survey(question),
            Message::Settings(settings) => self.change_settings(settings),
            Message::Settled => self.leave_what_is_gone(),
            Message::Shutdown => self.shut_down(),
        }
    }

    fn heed_alarms(&mut self) {
        // Those that are set meanwhile come next turn, even if they are due: the driver must have its turn.
        let mut due: SmallVec<[(Time, Alarm); 16]> = SmallVec::new();
        while let Some(Reverse((at, alarm))) = self.alarms.peek().copied().filter(|due| due.0.0 <= self.now) {
            self.alarms.pop();
            due.push((at, alarm));
        }
        for (at, alarm) in due {
            let key = match alarm {
                Alarm::Session(key) => key,
                Alarm::Proxy(key) => {
                    self.wake_proxy(key, at);
                    continue;
                }
                Alarm::Pusher(key) => {
                    self.wake_pusher(key, at);
                    continue;
                }
                Alarm::Connection(conn) => {
                    self.answer_late(conn, at);
                    continue;
                }
            };
            if let Some(session) = self.sessions.get_mut(key) {
                // An entry that an earlier wake-up made stale.
                if session.wake_at == Some(at) {
                    session.wake_at = None;
                    self.make_ready(key);
                }
            }
        }
    }

    fn shut_down(&mut self) {
        self.stop = Some(self.now + self.settings.shutdown);
        for (listener, _) in self.listeners.drain(..) {
            self.ports.driver.submit(Op::CloseListener(listener));
        }
        let keys: Vec<_> = self.sessions.keys().collect();
        for key in keys {
            self.end_session(key, "the server stops");
        }
        self.stop_proxies();
        self.stop_pushers();
        let conns: Vec<_> = self.connections.iter().map(|connection| connection.conn).collect();
        for conn in conns {
            self.close_when_flushed(conn);
        }
    }

    fn is_finished(&self) -> bool {
        self.stop.is_some_and(|at| self.connections.count() == 0 || self.now >= at)
    }
}
