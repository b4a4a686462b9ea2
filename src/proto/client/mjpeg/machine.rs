//! The client's state, and what its driver calls.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::super::credentials::{Authenticator, Trust};
use super::super::event::{Endpoint, Failure, REDIRECTS_MAX};
use super::super::request::is_redirect;
use super::super::url::Url;
use super::body::Body;
use super::config::MjpegConfig;
use super::content::Content;
use super::error::MjpegError;
use super::event::MjpegEvent;
use super::head::{Head, HeadReader};
use super::pictures::Pictures;
use super::request;
use crate::rtsp::message::Method;
use crate::rtsp::status::Status;
use crate::time::Time;

/// One client of one stream. See the module for how it is driven.
#[derive(Debug)]
pub struct MjpegClient {
    config: MjpegConfig,
    /// What is asked for: the configuration's URL, or where a redirect has led.
    url: Url,
    authenticator: Authenticator,
    state: State,
    /// When the driver called last.
    now: Time,
    /// When the last request was made.
    asked: Time,
    /// When anything came from the server.
    heard: Time,
    /// When the last picture was whole; before the first, when it began to play.
    pictured: Time,
    head: HeadReader,
    pictures: Pictures,
    connection: Connection,
    has_played: bool,
    redirects: u32,
    /// How often the request was sent again for a 401.
    retries: u32,
    /// How many responses in a row held no picture.
    fruitless: u32,
    events: VecDeque<MjpegEvent>,
    transmits: VecDeque<Bytes>,
}

/// What the client waits for.
#[derive(Debug)]
enum State {
    /// A connection.
    Connecting {
        /// When it is too late.
        deadline: Time,
    },
    /// The head of a response.
    Asking {
        /// When it is too late.
        deadline: Time,
    },
    /// The end of a response that is of no use, before the next request.
    Draining { body: Body, left: usize, deadline: Time },
    /// Pictures without end.
    Streaming(Body),
    /// One picture.
    Fetching(Body),
    /// The time for the next one.
    Resting { due: Time },
    /// Nothing any more.
    Over,
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// Nothing was answered on it.
    Fresh,
    /// It has served a response, and may serve another.
    Used,
    /// It serves no further request.
    Spent,
}

impl MjpegClient {
    /// A client that asks for its connection at once.
    pub fn new(now: Time, config: MjpegConfig) -> MjpegClient {
        let credentials = config.credentials.clone().or_else(|| config.url.credentials.clone());
        let mut client = MjpegClient {
            url: config.url.clone(),
            authenticator: Authenticator::new(credentials, Trust::Full, config.seed),
            state: State::Resting { due: now },
            now,
            asked: now,
            heard: now,
            pictured: now,
            head: HeadReader::default(),
            pictures: Pictures::new(),
            connection: Connection::Fresh,
            has_played: false,
            redirects: 0,
            retries: 0,
            fruitless: 0,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            config,
        };
        client.connect();
        client
    }

    /// The connection that was asked for is there.
    pub fn handle_connected(&mut self, now: Time) {
        self.now = now;
        if let State::Connecting { .. } = self.state {
            self.transmits.clear();
            self.ask();
        }
    }

    /// Bytes have come on the connection. The pictures in them are held until `poll_event` has given them.
    pub fn handle_bytes(&mut self, now: Time, bytes: &[u8]) {
        self.now = now;
        self.heard = now;
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = match &mut self.state {
                State::Connecting { .. } | State::Over => return,
                // What comes unasked would be taken for the answer to the next request.
                State::Resting { .. } => return self.connection = Connection::Spent,
                State::Asking { .. } => self.read_head(&mut rest),
                State::Draining { .. } => self.drain(&mut rest),
                State::Streaming(_) | State::Fetching(_) => self.read_content(&mut rest),
            };
            if let Err(error) = read {
                self.fail(error.into());
            }
        }
    }

    /// The connection has ended, or did not come about.
    pub fn handle_closed(&mut self, now: Time) {
        self.now = now;
        let is_used = self.connection == Connection::Used;
        self.connection = Connection::Spent;
        match self.state {
            // The server has closed an idle connection before it saw the request.
            State::Asking { .. } if is_used && self.head.is_blank() => self.connect(),
            State::Draining { .. } => self.connect(),
            State::Fetching(_) => self.end_snapshot(),
            State::Resting { .. } | State::Over => {}
            State::Connecting { .. } | State::Asking { .. } | State::Streaming(_) => {
                self.fail(Failure::Closed);
            }
        }
    }

    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.state {
            State::Connecting { .. } => self.fail(Failure::ConnectTimeout),
            State::Asking { .. } | State::Draining { .. } => {
                self.fail(Failure::ResponseTimeout(Method::from("GET")));
            }
            State::Streaming(_) | State::Fetching(_) => self.fail(Failure::Silent),
            State::Resting { .. } => self.ask_again(),
            State::Over => {}
        }
    }

    /// What happened next; None when nothing more has.
    pub fn poll_event(&mut self) -> Option<MjpegEvent> {
        self.events.pop_front()
    }

    /// What is to be sent next on the connection; None when nothing is.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// When [`MjpegClient::handle_timeout`] is to be called; None when at no time.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.state {
            State::Over => None,
            State::Connecting { deadline }
            | State::Asking { deadline }
            | State::Draining { deadline, .. } => Some(deadline),
            State::Streaming(_) | State::Fetching(_) => {
                let silence = self.config.silence_timeout;
                Some((self.heard + silence).min(self.pictured + silence * PICTURE_SILENCES))
            }
            State::Resting { due } => Some(due),
        }
    }

    /// What is fetched, fit for a log: where a redirect has led, without password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Bytes of memory held beside the client itself and the pictures that `poll_event` has yet to give, by estimate.
    pub fn memory_bytes(&self) -> usize {
        self.head.memory_bytes() + self.pictures.memory_bytes()
    }

    /// Asks for a connection and forgets what belonged to the one before.
    fn connect(&mut self) {
        self.state = State::Connecting { deadline: self.now + self.config.response_timeout };
        self.connection = Connection::Fresh;
        self.events.push_back(MjpegEvent::Connect(Endpoint::of(&self.url)));
    }

    fn ask(&mut self) {
        let method = Method::from("GET");
        let authorization = self.authenticator.authorization(&method, request::target(&self.url));
        self.transmits.push_back(request::get(&self.url, authorization, &self.config.user_agent));
        self.head = HeadReader::default();
        self.asked = self.now;
        self.state = State::Asking { deadline: self.now + self.config.response_timeout };
    }

    /// Asks on the connection that is there, or on another one.
    fn ask_again(&mut self) {
        if self.connection == Connection::Spent { self.connect() } else { self.ask() }
    }

    fn read_head(&mut self, bytes: &mut &[u8]) -> Result<(), MjpegError> {
        let Some(head) = self.head.read(bytes)? else { return Ok(()) };
        // An interim response precedes the one that counts (RFC 9110 section 15.2).
        if !(100..200).contains(&head.status.0) {
            self.handle_head(&head);
        }
        Ok(())
    }

    fn handle_head(&mut self, head: &Head) {
        let body = head.body();
        let is_reusable = head.is_persistent && body.is_delimited();
        self.connection = if is_reusable { Connection::Used } else { Connection::Spent };
        if head.status == Status::UNAUTHORIZED {
            return self.handle_challenge(head, body);
        }
        if is_redirect(head.status) {
            return self.redirect(head.headers.get("Location"));
        }
        if !head.status.is_success() {
            return self.fail(Failure::Refused { method: Method::from("GET"), status: head.status });
        }
        match Content::of(&head.headers) {
            Ok(Content::Parts { boundary }) => {
                self.play(boundary);
                self.state = State::Streaming(head.stream_body());
            }
            Ok(Content::Snapshot) => {
                self.play(String::new());
                self.fruitless += 1;
                self.state = State::Fetching(body);
            }
            Err(value) => return self.fail(MjpegError::ContentType(value).into()),
        }
        self.end_if_over();
    }

    fn handle_challenge(&mut self, head: &Head, body: Body) {
        if let Err(error) = self.authenticator.handle_challenge(&head.headers, self.retries) {
            return self.fail(error.into());
        }
        self.retries += 1;
        if self.connection == Connection::Spent {
            return self.connect();
        }
        let deadline = self.asked + self.config.response_timeout;
        self.state = State::Draining { body, left: DRAINED_BYTES_MAX, deadline };
        self.end_if_over();
    }

    fn redirect(&mut self, location: Option<&str>) {
        let Some(Ok(url)) = location.map(|location| self.url.resolve(location)) else {
            return self.fail(Failure::Redirect);
        };
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            return self.fail(Failure::TooManyRedirects);
        }
        self.authenticator.handle_redirect(&self.url, &url);
        self.url = url;
        self.connect();
    }

    /// A response with pictures begins.
    fn play(&mut self, boundary: String) {
        self.retries = 0;
        self.redirects = 0;
        self.pictures.begin(boundary);
        if !self.has_played {
            self.has_played = true;
            self.pictured = self.now;
            self.events.push_back(MjpegEvent::Playing);
        }
    }

    fn drain(&mut self, bytes: &mut &[u8]) -> Result<(), MjpegError> {
        let State::Draining { body, left, .. } = &mut self.state else { return Ok(()) };
        let count = body.read(bytes)?.len();
        if count > *left {
            // A new connection is cheaper.
            self.connect();
        } else {
            *left -= count;
            self.end_if_over();
        }
        Ok(())
    }

    fn read_content(&mut self, bytes: &mut &[u8]) -> Result<(), MjpegError> {
        let (State::Streaming(body) | State::Fetching(body)) = &mut self.state else { return Ok(()) };
        let mut content = body.read(bytes)?;
        while let Some(picture) = self.pictures.read(&mut content)? {
            self.handle_picture(picture);
        }
        self.end_if_over();
        Ok(())
    }

    fn handle_picture(&mut self, picture: Bytes) {
        self.pictured = self.now;
        self.fruitless = 0;
        self.events.push_back(MjpegEvent::Picture(picture));
    }

    /// What follows the end of a body, when that has come.
    fn end_if_over(&mut self) {
        match &self.state {
            State::Draining { body, .. } if body.is_over() => self.ask(),
            State::Streaming(body) if body.is_over() => self.fail(Failure::Closed),
            State::Fetching(body) if body.is_over() => {
                if let Some(picture) = self.pictures.finish() {
                    self.handle_picture(picture);
                }
                self.end_snapshot();
            }
            _ => {}
        }
    }

    /// The response with a snapshot has ended: the next one is asked for in good time.
    fn end_snapshot(&mut self) {
        if self.fruitless >= FRUITLESS_MAX {
            return self.fail(MjpegError::EmptySnapshots.into());
        }
        let due = self.asked + SNAPSHOT_INTERVAL;
        if due > self.now {
            self.state = State::Resting { due };
        } else {
            self.ask_again();
        }
    }

    /// Ends with a failure, unless it is over already.
    fn fail(&mut self, failure: Failure) {
        if !matches!(self.state, State::Over) {
            self.state = State::Over;
            self.head = HeadReader::default();
            self.pictures = Pictures::new();
            self.events.push_back(MjpegEvent::Failed(failure));
        }
    }
}

/// How often one picture is asked for by the server that has no stream: five a second, where it answers as quickly.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(200);

/// A picture must be whole within so many of the times that nothing may come.
const PICTURE_SILENCES: u32 = 4;

/// Snapshots in a row that hold no picture until the client gives up.
pub(super) const FRUITLESS_MAX: u32 = 3;

/// Of the page that comes with a 401.
const DRAINED_BYTES_MAX: usize = 64 * 1024;
