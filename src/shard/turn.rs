//! The shard itself, and one turn of it: let the driver work, act on what it reports, send what is ready.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::{Conn, Event, Listener, Op, Span};
use proto::rtsp::message::Response;
use proto::rtsp::parse::Item;
use proto::rtsp::status::Status;
use proto::time::Time;
use slotmap::SlotMap;

use super::connection::{Connection, Connections, Fate, PENDING_BYTES_MAX};
use super::datagrams::UdpPairs;
use super::inbox::{Message, Moved};
use super::live::LiveStreams;
use super::ports::Ports;
use super::proxy::{Proxies, ProxyKey};
use super::publications::Publications;
use super::pusher::{PusherKey, Pushers};
use super::request::Outcome;
use super::session::{Carrier, Session, SessionId, SessionKey, Source};
use super::settings::Settings;
use crate::egress::heads::Heads;
use crate::media::library::{Answer, ReplyTo, Ticket};
use crate::stream::catalog::{Notice, ShardIndex};

/// How often time-outs are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Sessions served before completions and requests are looked at again: 1,000 viewers of one keyframe would
/// otherwise hold the shard for 30 ms.
const PUMPS_A_TURN: usize = 256;

/// A connection without a session is closed when it has not asked anything in full for this long: slow or half-sent
/// requests cannot pile up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A publisher without its connection, whose datagrams do not come either, is lost after this long.
const PUBLISHER_SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long a client may take to read the last words of a connection.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

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
    pub(super) udp: UdpPairs,
    pub(super) heads: Heads,
    pub(super) waiting: HashMap<Ticket, Asker>,
    pub(super) stop: Option<Time>,
    listeners: Vec<Listener>,
    last_ticket: Ticket,
    ready: VecDeque<SessionKey>,
    alarms: BinaryHeap<Reverse<(Time, Alarm)>>,
    housekeeping_at: Time,
    events: Vec<Event>,
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
        for address in &settings.listen {
            let (listener, _) = ports.driver.listen(*address).map_err(|error| (*address, error))?;
            listeners.push(listener);
        }
        let mut udp = UdpPairs::default();
        let pushers = Pushers::open(index, &settings.pushers, &mut *ports.driver, &mut udp)?;
        let now = ports.driver.now();
        let proxies = Proxies::new(index, &settings.proxies);
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
            udp,
            heads: Heads::default(),
            waiting: HashMap::new(),
            stop: None,
            listeners,
            last_ticket: 0,
            ready: VecDeque::new(),
            alarms: BinaryHeap::new(),
            housekeeping_at: now + HOUSEKEEPING,
            events: Vec::new(),
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
        // Before requests: what a client was told by another shard is known here when it asks.
        while let Some(message) = self.ports.inbox.next() {
            self.handle_message(message);
        }
        for event in events.drain(..) {
            self.handle_event(event);
        }
        self.events = events;
        self.heed_alarms();
        if self.now >= self.housekeeping_at {
            self.housekeeping_at = self.now + HOUSEKEEPING;
            self.keep_house();
        }
        for _ in 0..PUMPS_A_TURN {
            let Some(key) = self.ready.pop_front() else { break };
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
        if let Some(session) = self.sessions.get_mut(key)
            && !session.is_ready
        {
            session.is_ready = true;
            self.ready.push_back(key);
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

    /// Works off what a connection has sent, up to the first request whose answer must be awaited.
    pub(super) fn advance(&mut self, conn: Conn) {
        loop {
            let Some(connection) = self.connections.get_mut(conn) else { return };
            if connection.pending.is_some() || connection.fate != Fate::Open || connection.is_clogged() {
                break;
            }
            match connection.parser.poll() {
                Ok(None) => break,
                Ok(Some(Item::Request(request))) => {
                    connection.served = self.now;
                    self.serve(conn, request);
                }
                Ok(Some(Item::Interleaved { channel, payload })) => {
                    self.handle_interleaved(conn, channel, &payload)
                }
                Ok(Some(Item::Response(_))) => {}
                Ok(Some(Item::BadRequest { cseq, reason, .. })) => {
                    tracing::debug!(peer = %connection.peer, %reason, "bad request");
                    let mut response = Response::new(Status::BAD_REQUEST);
                    if let Some(cseq) = cseq {
                        response.headers.push("CSeq", cseq);
                    }
                    self.reply(conn, response);
                }
                Ok(Some(Item::Http(_))) => {
                    self.reply(conn, Response::new(Status::BAD_REQUEST));
                    self.close_when_flushed(conn);
                }
                Err(error) => {
                    tracing::debug!(peer = %connection.peer, %error, "not RTSP");
                    self.reply(conn, Response::new(error.status()));
                    self.close_when_flushed(conn);
                }
            }
        }
        match self.connections.get_mut(conn) {
            Some(connection)
                if connection.is_ended && connection.pending.is_none() && !connection.is_clogged() =>
            {
                self.close_when_flushed(conn)
            }
            _ => self.throttle(conn),
        }
    }

    /// Closes a connection once what waits has left.
    pub(super) fn close_when_flushed(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.fate != Fate::Gone
        {
            connection.fate = Fate::Closing;
            connection.served = self.now;
        }
        self.flush(conn);
    }

    /// Serves the pending request again: what it waited for has come.
    pub(super) fn retry(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(request) = connection.pending.take() {
            connection.is_retrying = true;
            self.serve(conn, *request);
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.is_retrying = false;
            }
            self.advance(conn);
        }
    }

    /// Sends what waits on a connection that carries no media at the moment, and carries out its fate.
    pub(super) fn flush(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.is_sending || connection.fate == Fate::Gone {
            return;
        }
        let mut pieces = Default::default();
        connection.take_out(&mut pieces);
        if !pieces.is_empty() {
            connection.is_sending = true;
            self.ports.driver.submit(Op::Send { conn, pieces });
            return;
        }
        match connection.fate {
            Fate::Closing => self.close(conn),
            Fate::Moving(_) => self.ports.driver.submit(Op::Detach(conn)),
            Fate::Open | Fate::Gone => {}
        }
    }

    fn serve(&mut self, conn: Conn, request: proto::rtsp::message::Request) {
        match self.answer(conn, &request) {
            Outcome::Reply(response) => self.reply_to_request(conn, &request, response),
            Outcome::Wait => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.pending = Some(Box::new(request));
                }
            }
            Outcome::Move(shard) => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.pending = Some(Box::new(request));
                    connection.fate = Fate::Moving(shard);
                }
                self.flush(conn);
            }
        }
    }

    fn deadline(&self) -> Time {
        if !self.ready.is_empty() {
            return self.now;
        }
        let wake = self.alarms.peek().map(|Reverse((at, _))| *at);
        [wake, self.stop].into_iter().flatten().fold(self.housekeeping_at, Time::min)
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Accepted { listener, conn, peer, .. } if self.pushers.has_door(listener) => {
                self.pusher_connected(listener, conn, peer);
            }
            Event::Accepted { conn, peer, local, .. } => {
                self.connections.insert(Connection::new(conn, peer, local, self.now));
                tracing::debug!(%peer, "connection");
            }
            Event::Connected { conn, local } => self.proxy_connected(conn, local),
            Event::AcceptRefused { error, .. } => {
                tracing::warn!(%error, "connections wait: raise the limit of open files (ulimit -n)");
            }
            Event::Received { conn, span } if self.proxies.has_conn(conn) => self.proxy_received(conn, span),
            Event::Received { conn, span } if self.pushers.has_conn(conn) => self.pusher_received(conn, span),
            Event::Received { conn, span } => self.handle_received(conn, span),
            Event::Ended { conn, error } if self.proxies.has_conn(conn) => self.proxy_ended(conn, error),
            Event::Ended { conn, error } if self.pushers.has_conn(conn) => self.pusher_ended(conn, error),
            Event::Ended { conn, error: None } => self.handle_end(conn),
            Event::Ended { conn, error: Some(error) } => {
                tracing::debug!(?conn, %error, "connection broken");
                self.close(conn);
            }
            Event::Sent { conn } if self.proxies.has_conn(conn) => self.proxy_sent(conn),
            Event::Sent { conn } => self.handle_sent(conn),
            Event::Closed { conn } => self.forget(conn),
            Event::Detached { conn, socket } => self.hand_over(conn, socket),
            Event::Datagram { udp, from, span, segment } => self.handle_datagrams(udp, from, span, segment),
        }
    }

    fn handle_received(&mut self, conn: Conn, span: Span) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if matches!(connection.fate, Fate::Closing | Fate::Gone) {
            return;
        }
        connection.parser.handle_bytes(self.ports.driver.bytes(span));
        self.advance(conn);
    }

    /// The client has closed its side. Where media flows that means that it is gone; else it may still read replies.
    fn handle_end(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_ended = true;
        let carries_media = connection.sessions.iter().any(|key| {
            self.sessions.get(*key).is_some_and(|session| session.carrier == Carrier::Interleaved)
        });
        if carries_media { self.close(conn) } else { self.advance(conn) }
    }

    fn handle_sent(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_sending = false;
        let sessions =
            if connection.fate == Fate::Open { connection.sessions.clone() } else { Default::default() };
        for key in &sessions {
            // A viewer that takes its media is alive, even if it never sends a word; of a publisher that proves nothing.
            if let Some(session) = self.sessions.get_mut(*key)
                && !matches!(session.source, Source::Ingest(_))
            {
                session.seen = self.now;
            }
            self.make_ready(*key);
        }
        if sessions.is_empty() {
            self.flush(conn);
        } else {
            self.flush_between_media(conn);
        }
        // Requests that replies had to make room for are served now.
        if self.connections.get(conn).is_some_and(Connection::has_unserved) {
            self.advance(conn);
        }
    }

    /// Stops or resumes receiving, by what is still to be worked off.
    fn throttle(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_full = connection.parser.buffered() > PENDING_BYTES_MAX
            && (connection.pending.is_some() || connection.is_clogged());
        if is_full && !connection.is_stopped {
            connection.is_stopped = true;
            self.ports.driver.submit(Op::Stop(conn));
        } else if !is_full && connection.is_stopped {
            connection.is_stopped = false;
            self.ports.driver.submit(Op::Resume(conn));
        }
    }

    /// Closes a connection at once: sessions whose media it carried end with it.
    pub(super) fn close(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.fate == Fate::Gone {
            return;
        }
        connection.fate = Fate::Gone;
        let sessions = std::mem::take(&mut connection.sessions);
        self.ports.driver.submit(Op::Close(conn));
        for key in sessions {
            self.connection_lost(key, conn);
        }
        self.forget_announcement(conn);
    }

    fn forget(&mut self, conn: Conn) {
        self.connections.remove(conn);
    }

    fn hand_over(&mut self, conn: Conn, socket: proto::io::Detached) {
        let Some(mut connection) = self.connections.remove(conn) else { return };
        let Fate::Moving(shard) = connection.fate else { return };
        let mut unread = bytes::BytesMut::new();
        if let Some(request) = connection.pending.take() {
            request.write(&mut unread);
        }
        unread.extend_from_slice(&connection.parser.take_buffered());
        let moved = Moved { socket, peer: connection.peer, local: connection.local, unread: unread.freeze() };
        match self.ports.shards.get(usize::from(shard)) {
            Some(outside) if outside.send(Message::Moved(moved)) => {}
            _ => tracing::warn!(peer = %connection.peer, shard, "a connection could not be moved"),
        }
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Media(Answer::Described(ticket, answer)) => self.described(ticket, answer),
            Message::Media(Answer::Segment(ticket, answer)) => self.segment_arrived(ticket, answer),
            Message::Stream(Notice::Subscribed { path, answer }) => {
                let (waiting, answer) =
                    self.live.subscribed(self.now, &path, answer, self.settings.live.cache);
                for conn in waiting {
                    self.live_answered(conn, &path, &answer);
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
            Message::ToSink(tenure, what) => self.order_talkback(tenure, what),
            Message::FromSink(sink, ticket, what) => self.hear_sink(sink, ticket, what),
            Message::Moved(moved) => self.take_over(moved),
            Message::Overtaken(address, holder) => self.give_way(address, holder),
            Message::Shutdown => self.shut_down(),
        }
    }

    fn take_over(&mut self, moved: Moved) {
        match self.ports.driver.attach(moved.socket) {
            Ok(conn) => {
                let mut connection = Connection::new(conn, moved.peer, moved.local, self.now);
                connection.parser.handle_bytes(&moved.unread);
                self.connections.insert(connection);
                self.advance(conn);
            }
            Err(error) => tracing::warn!(peer = %moved.peer, %error, "a moved connection was lost"),
        }
    }

    fn heed_alarms(&mut self) {
        while let Some(Reverse((at, alarm))) = self.alarms.peek().copied() {
            if at > self.now {
                return;
            }
            self.alarms.pop();
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

    fn keep_house(&mut self) {
        let timeout = self.settings.session_timeout;
        if !timeout.is_zero() {
            let silent: Vec<_> = (self.sessions.iter())
                .filter(|(_, session)| self.now.since(session.seen) > timeout)
                .map(|(key, _)| key)
                .collect();
            for key in silent {
                self.end_session(key, "no sign of life");
            }
        }
        let abandoned: Vec<_> = (self.sessions.iter())
            .filter(|(_, session)| {
                let is_silent = self.now.since(session.seen) > PUBLISHER_SILENCE_MAX;
                is_silent && session.conn.is_none() && matches!(session.source, Source::Ingest(_))
            })
            .map(|(key, _)| key)
            .collect();
        for key in abandoned {
            self.end_session(key, "connection closed and nothing came since");
        }
        let idle: Vec<_> = (self.connections.iter())
            .filter(|connection| {
                let silence = self.now.since(connection.served);
                let is_leaving = connection.fate == Fate::Closing && silence > FAREWELL_MAX;
                is_leaving || (connection.sessions.is_empty() && silence > SILENCE_MAX)
            })
            .map(|connection| connection.conn)
            .collect();
        for conn in idle {
            self.close(conn);
        }
        self.keep_publications();
        self.keep_proxies();
        self.keep_pushers();
        for stream in self.live.take_idle(self.now, self.settings.linger) {
            self.ports.catalog.unsubscribe(&stream.path, stream.id, self.index);
        }
    }

    fn shut_down(&mut self) {
        self.stop = Some(self.now + self.settings.shutdown);
        for listener in self.listeners.drain(..) {
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
