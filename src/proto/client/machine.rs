//! The client's state, and what its driver calls.

use std::collections::VecDeque;

use bytes::Bytes;

use super::config::{Config, Transfer};
use super::credentials::{Authenticator, Trust};
use super::describe::Presentation;
use super::event::{Endpoint, Event, Failure, PacketKind, REDIRECTS_MAX};
use super::keep_alive::KeepAlive;
use super::request::{Pending, Step};
use super::url::Url;
use crate::rtsp::headers::transport::Pair;
use crate::rtsp::message::{Method, Request};
use crate::rtsp::parse::{Item, Limits, Parser};
use crate::sdp::SDP_BYTES_MAX;
use crate::time::Time;

/// One client of one presentation. See the module for how it is driven.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Config,
    /// What is asked for: the configuration's URL, or where a redirect has led.
    pub(super) url: Url,
    pub(super) transfer: Transfer,
    pub(super) authenticator: Authenticator,
    pub(super) state: State,
    /// When the driver called last.
    pub(super) now: Time,
    /// When anything came from the server.
    pub(super) heard: Time,
    parser: Parser,
    /// Whether the connection has ended behind what the parser holds.
    has_ended: bool,
    /// Whether a connection that ended behind a 401 was opened again.
    has_reopened: bool,
    redirects: u32,
    pub(super) cseq: u32,
    /// The request that waits for its response; there is never more than one.
    pub(super) pending: Option<Pending>,
    /// The identifier of the session; None before the first SETUP.
    pub(super) session: Option<String>,
    pub(super) presentation: Presentation,
    pub(super) keep_alive: KeepAlive,
    /// Whether the server is asked for a backchannel: wanted, and not refused before.
    pub(super) asks_backchannel: bool,
    events: VecDeque<Event>,
    transmits: VecDeque<Bytes>,
    transmit_bytes: usize,
}

/// What the client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A connection.
    Connecting {
        /// When it is too late.
        deadline: Time,
    },
    /// A response, before anything plays.
    Asking,
    /// To be told to go on behind the description.
    Held,
    /// Ports for the track of that index.
    AwaitingPorts(usize),
    /// Another way to carry packets.
    AwaitingTransfer,
    /// Packets.
    Playing,
    /// The response to TEARDOWN.
    TearingDown,
    /// Nothing any more.
    Over,
}

impl Client {
    /// A client that asks for its connection at once.
    pub fn new(now: Time, config: Config) -> Client {
        let credentials = config.credentials.clone().or_else(|| config.url.credentials.clone());
        let mut client = Client {
            url: config.url.clone(),
            transfer: config.transfer,
            authenticator: Authenticator::new(credentials, Trust::Full, config.seed),
            state: State::Over,
            now,
            heard: now,
            parser: parser(),
            has_ended: false,
            has_reopened: false,
            redirects: 0,
            cseq: 0,
            pending: None,
            session: None,
            presentation: Presentation::default(),
            keep_alive: KeepAlive::new(now),
            asks_backchannel: config.backchannel,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            transmit_bytes: 0,
            config,
        };
        client.connect();
        client
    }

    /// The connection that was asked for is there.
    pub fn handle_connected(&mut self, now: Time) {
        self.now = now;
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        self.transmits.clear();
        self.transmit_bytes = 0;
        self.state = State::Asking;
        self.ask(Step::Options, Request::new(Method::Options, self.url.request_uri()));
    }

    /// Bytes have come on the connection. What is held of them is bounded by their count until `poll_event` has given
    /// None, and by the largest message from then on.
    pub fn handle_bytes(&mut self, now: Time, bytes: &[u8]) {
        self.now = now;
        if self.is_listening() && !self.has_ended {
            self.heard = now;
            self.parser.handle_bytes(bytes);
        }
    }

    /// The connection has ended, or did not come about.
    pub fn handle_closed(&mut self, now: Time) {
        self.now = now;
        match self.state {
            State::Connecting { .. } => self.fail(Failure::Closed),
            _ => self.has_ended = true,
        }
    }

    /// Goes on behind the description: from the next one on without a stop, where it has not come yet.
    pub fn set_up(&mut self, now: Time) {
        self.now = now;
        self.config.holds = false;
        if self.state == State::Held {
            self.state = State::Asking;
            self.setup_next();
        }
    }

    /// The ports for the track that [`Event::PortsWanted`] named; packets may come from the TrackReady event on.
    pub fn handle_ports(&mut self, now: Time, media: usize, ports: Pair<u16>) {
        self.now = now;
        if let State::AwaitingPorts(index) = self.state
            && self.presentation.tracks.get(index).is_some_and(|track| track.media == media)
        {
            self.state = State::Asking;
            self.setup_with_ports(index, ports);
        }
    }

    /// A datagram of the session has come: a server that does not answer is alive then.
    pub fn handle_media(&mut self, now: Time) {
        self.heard = now;
    }

    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if let State::Connecting { deadline } = self.state {
            if now >= deadline {
                self.fail(Failure::ConnectTimeout);
            }
        } else if let Some(pending) = self.pending.take_if(|pending| now >= pending.deadline) {
            self.handle_silence(pending);
        } else if self.state == State::Playing && self.pending.is_none() && now >= self.keep_alive.due() {
            self.send_keep_alive();
        }
    }

    /// Carries the packets another way: in the same connection after [`Event::TransferRefused`], else on a new one.
    pub fn set_transfer(&mut self, now: Time, transfer: Transfer) {
        self.now = now;
        self.transfer = transfer;
        match self.state {
            State::Over | State::TearingDown => {}
            // Nothing was set up yet.
            _ if self.presentation.tracks.is_empty() => {}
            State::Held => {}
            State::AwaitingTransfer => {
                self.state = State::Asking;
                self.setup_next();
            }
            _ => self.reconnect(),
        }
    }

    /// Ends the session; [`Event::Ended`] follows when the server has answered, or in any case after its time.
    pub fn teardown(&mut self, now: Time) {
        self.now = now;
        match self.state {
            State::Over | State::TearingDown => {}
            _ if self.session.is_some() => {
                self.state = State::TearingDown;
                let request = Request::new(Method::Teardown, self.presentation.aggregate.clone());
                self.ask(Step::Teardown, request);
            }
            _ => self.finish(Event::Ended),
        }
    }

    /// What happened next; None when nothing more has.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.is_listening() {
                return None;
            }
            match self.parser.poll() {
                Ok(Some(Item::Interleaved { channel, payload })) => {
                    if let Some(event) = self.packet(channel, payload) {
                        return Some(event);
                    }
                }
                Ok(Some(Item::Response(response))) => self.handle_response(response),
                Ok(Some(Item::Request(request))) => self.handle_request(&request),
                Ok(Some(Item::BadRequest { cseq, .. })) => self.refuse(cseq.as_deref()),
                Ok(Some(Item::Http { .. })) => self.fail(Failure::Http),
                Ok(None) if self.has_ended => self.handle_end(),
                Ok(None) => return None,
                Err(error) => self.fail(error.into()),
            }
        }
    }

    /// What is to be sent next on the connection, whole messages; None when nothing is.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        let bytes = self.transmits.pop_front()?;
        self.transmit_bytes -= bytes.len();
        Some(bytes)
    }

    /// When [`Client::handle_timeout`] is to be called; None when at no time.
    pub fn poll_timeout(&self) -> Option<Time> {
        match (self.state, &self.pending) {
            (State::Over, _) => None,
            (State::Connecting { deadline }, _) => Some(deadline),
            (_, Some(pending)) => Some(pending.deadline),
            (State::Playing, None) => Some(self.keep_alive.due()),
            _ => None,
        }
    }

    /// What is fetched, fit for a log: where a redirect has led, without password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Bytes of memory held beside the client itself, by estimate.
    pub fn memory_bytes(&self) -> usize {
        self.parser.memory_bytes() + self.transmit_bytes + self.presentation.memory_bytes()
    }

    /// Follows a redirect.
    pub(super) fn redirect(&mut self, location: Option<&str>) {
        let Some(Ok(url)) = location.map(|location| self.url.resolve(location)) else {
            return self.fail(Failure::Redirect);
        };
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            return self.fail(Failure::TooManyRedirects);
        }
        self.authenticator.handle_redirect(&self.url, &url);
        self.leave();
        self.url = url;
        self.connect();
    }

    /// Begins again on a new connection.
    fn reconnect(&mut self) {
        self.leave();
        self.connect();
    }

    /// Asks for a connection and forgets what belonged to the one before.
    fn connect(&mut self) {
        self.state = State::Connecting { deadline: self.now + self.config.response_timeout };
        self.parser = parser();
        self.has_ended = false;
        self.pending = None;
        self.session = None;
        self.presentation = Presentation::default();
        self.keep_alive = KeepAlive::new(self.now);
        self.emit(Event::Connect(Endpoint::of(&self.url)));
    }

    /// Tears the session down without waiting for the answer, so that a device does not keep it until its timeout.
    pub(super) fn leave(&mut self) {
        if self.session.is_some() && self.state != State::TearingDown && !self.has_ended {
            let request = Request::new(Method::Teardown, self.presentation.aggregate.clone());
            self.ask(Step::Teardown, request);
        }
    }

    /// Some servers close the connection behind a 401; the answer to it is given on another one then.
    fn handle_end(&mut self) {
        let is_answered = self.pending.as_ref().is_some_and(|pending| pending.retries > 0);
        match self.state {
            State::TearingDown => self.finish(Event::Ended),
            _ if is_answered && self.session.is_none() && !self.has_reopened => {
                self.has_reopened = true;
                self.connect();
            }
            _ => self.fail(Failure::Closed),
        }
    }

    /// The event for a packet; None when its channel is no track's.
    fn packet(&mut self, channel: u8, payload: Bytes) -> Option<Event> {
        let (media, kind) = self.presentation.channel(channel)?;
        Some(Event::Packet { media, kind, payload })
    }

    fn is_listening(&self) -> bool {
        !matches!(self.state, State::Connecting { .. } | State::Over)
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Ends with a failure, unless it is over already.
    pub(super) fn fail(&mut self, failure: Failure) {
        if !matches!(failure, Failure::Closed | Failure::SessionLost) {
            self.leave();
        }
        self.finish(Event::Failed(failure));
    }

    /// Ends with that event, unless it is over already.
    pub(super) fn finish(&mut self, event: Event) {
        if self.state != State::Over {
            self.state = State::Over;
            self.pending = None;
            self.session = None;
            self.parser = parser();
            self.emit(event);
        }
    }

    /// Queues a message for the connection. A server whose requests we answer could make the queue grow.
    pub(super) fn transmit(&mut self, bytes: Bytes) {
        self.transmit_bytes += bytes.len();
        self.transmits.push_back(bytes);
    }

    /// Whether more waits for the connection than a server that reads leaves there.
    pub(super) fn is_flooded(&self) -> bool {
        self.transmit_bytes > TRANSMIT_BYTES_MAX
    }
}

impl PacketKind {
    /// Which of a pair of channels it is; None when neither.
    pub(super) fn of(channels: Pair<u8>, channel: u8) -> Option<PacketKind> {
        match channel {
            rtp if rtp == channels.rtp => Some(PacketKind::Rtp),
            rtcp if Some(rtcp) == channels.rtcp => Some(PacketKind::Rtcp),
            _ => None,
        }
    }
}

fn parser() -> Parser {
    Parser::new(Limits { body_bytes_max: SDP_BYTES_MAX, ..Limits::DEFAULT })
}

/// Some hundred answers to requests of the server.
const TRANSMIT_BYTES_MAX: usize = 64 * 1024;
