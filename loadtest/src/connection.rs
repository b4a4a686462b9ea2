//! One RTSP connection on the ring: requests out, answers in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::client::{Authenticator, Credentials, Trust};
use proto::rtsp::headers::session::Session;
use proto::rtsp::message::{Method, Request, Response};
use proto::rtsp::parse::{Item, Limits, ParseError, Parser};
use proto::rtsp::status::Status;

use crate::clock;
use crate::door::Door;
use crate::line::Line;
use crate::plan::Transport;
use crate::sdp::Description;
use crate::sockets::Ending;

/// Why a dialogue went no further.
#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    /// The server cannot be reached.
    #[error("connect to {server}: {error}")]
    Connect {
        /// Its address.
        server: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server sent what is not RTSP.
    #[error("not RTSP: {0}")]
    Parse(#[from] ParseError),
    /// The server has closed the connection.
    #[error("{0}: connection closed")]
    Closed(Method),
    /// No answer in time.
    #[error("{0}: no answer within {seconds} s", seconds = ANSWER_PATIENCE.as_secs())]
    Silent(Method),
    /// The server refuses.
    #[error("{method}: answered {status}")]
    Refused {
        /// What was asked for.
        method: Method,
        /// Status of the answer.
        status: u16,
    },
    /// The answer lacks what the next step needs.
    #[error("{0}")]
    Incomplete(&'static str),
}

/// A connection with its dialogue.
pub struct Connection {
    line: Line,
    door: Door,
    parser: Parser,
    sequence: u32,
    /// The session's identifier, sent once it is known.
    session: Option<String>,
    /// Answers for the user and password of the URLs, once there were any.
    authenticator: Option<Authenticator>,
    /// How long the session lives without a sign of life.
    pub timeout: Duration,
    /// Address of this side.
    pub local: SocketAddr,
}

impl Connection {
    /// Connects by the door of a transport; a `receive_buffer` of 0 keeps the system's.
    pub async fn open(
        server: SocketAddr,
        transport: Transport,
        receive_buffer: usize,
        ending: Ending,
    ) -> Result<Connection, DialogueError> {
        let connecting = Line::open(server, transport.security(), receive_buffer, ending);
        let connected = tokio::time::timeout(ANSWER_PATIENCE, connecting);
        let connected = connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut line = connected.map_err(|error| DialogueError::Connect { server, error })?;
        let (local, mut parser) = (line.local, Parser::new(Limits::default()));
        let opened = tokio::time::timeout(ANSWER_PATIENCE, Door::open(transport, server, &mut line));
        let (mut door, behind) =
            opened.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
        door.read(&behind, |bytes| parser.handle_bytes(bytes));
        let timeout = TIMEOUT_DEFAULT;
        Ok(Connection { line, door, parser, sequence: 0, session: None, authenticator: None, timeout, local })
    }

    /// Sends a request and waits for its answer, which must be a success. Who has a user and a password in its URL answers
    /// the server's challenge with them.
    pub async fn ask(&mut self, request: Request) -> Result<Response, DialogueError> {
        let method = request.method.clone();
        let mut retries = 0;
        loop {
            self.tell(request.clone()).await?;
            let answer = tokio::time::timeout(ANSWER_PATIENCE, self.answer(&method));
            let response = answer.await.map_err(|_| DialogueError::Silent(method.clone()))??;
            if response.status.is_success() {
                return Ok(response);
            }
            let is_answered = response.status == Status::UNAUTHORIZED
                && self.authenticator.as_mut().is_some_and(|authenticator| {
                    authenticator.handle_challenge(&response.headers, retries).is_ok()
                });
            if !is_answered {
                return Err(DialogueError::Refused { method, status: response.status.0 });
            }
            retries += 1;
        }
    }

    /// Sends a request without waiting.
    pub async fn tell(&mut self, mut request: Request) -> Result<(), DialogueError> {
        self.sequence += 1;
        request.headers.push("CSeq", self.sequence.to_string());
        if let Some((url, credentials)) = split_userinfo(&request.uri) {
            request.uri = url;
            self.authenticator.get_or_insert_with(|| {
                Authenticator::new(Some(credentials), Trust::Full, u64::from(clock::identity()))
            });
        }
        if let Some(authenticator) = &mut self.authenticator
            && let Some(authorization) = authenticator.authorization(&request.method, &request.uri)
        {
            request.headers.push("Authorization", authorization);
        }
        if let Some(session) = &self.session {
            request.headers.push("Session", session.clone());
        }
        self.send(request.to_bytes()).await
    }

    /// Sends bytes, all of them.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), DialogueError> {
        Ok(self.door.send(&mut self.line, bytes).await?)
    }

    /// Asks for the description of what is behind a URL.
    pub async fn describe(&mut self, url: &str) -> Result<Description, DialogueError> {
        let request = Request::new(Method::Describe, url).header("Accept", "application/sdp");
        let response = self.ask(request).await?;
        let base = response.headers.get("Content-Base").unwrap_or(url);
        let description = Description::parse(&String::from_utf8_lossy(&response.body), base);
        if description.tracks.is_empty() {
            return Err(DialogueError::Incomplete("DESCRIBE: the description has no tracks"));
        }
        Ok(description)
    }

    /// Sets up a track; the session is that of the answer.
    pub async fn set_up(&mut self, url: &str, transport: String) -> Result<Response, DialogueError> {
        let request = Request::new(Method::Setup, url).header("Transport", transport);
        let response = self.ask(request).await?;
        let session = response.headers.get("Session").and_then(Session::parse);
        let session = session.ok_or(DialogueError::Incomplete("SETUP: the answer has no Session"))?;
        self.timeout = session.timeout.unwrap_or(self.timeout).max(TIMEOUT_MIN);
        self.session = Some(session.id);
        Ok(response)
    }

    /// Waits for the next packet of a track on this connection.
    pub async fn packet(&mut self) -> Result<Bytes, DialogueError> {
        loop {
            match self.parser.poll()? {
                Some(Item::Interleaved { channel, payload }) if channel % 2 == 0 => return Ok(payload),
                Some(_) => {}
                None => self.receive(&Method::Play).await?,
            }
        }
    }

    /// What has come behind the last answer.
    pub fn take_unread(&mut self) -> BytesMut {
        self.parser.take_buffered()
    }

    /// Waits for bytes and hands them on, at most about `most`, as they come: packets, and answers among them. False at
    /// the end of the connection.
    pub async fn drain(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        self.line.drain(most, |bytes| self.door.read(bytes, &mut take)).await
    }

    /// Throws away what has come. In TLS nothing can be read behind that.
    pub fn discard(&self) {
        self.line.discard();
    }

    /// Ends the session, which the server need not confirm, and the connection: a read that still waits comes to its end.
    pub async fn leave(mut self, url: &str) {
        let _ = self.tell(Request::new(Method::Teardown, url)).await;
        self.line.shut_down();
    }

    async fn answer(&mut self, method: &Method) -> Result<Response, DialogueError> {
        loop {
            match self.parser.poll()? {
                Some(Item::Response(response)) => return Ok(response),
                Some(_) => {}
                None => self.receive(method).await?,
            }
        }
    }

    async fn receive(&mut self, method: &Method) -> Result<(), DialogueError> {
        let (door, parser) = (&mut self.door, &mut self.parser);
        let is_open = self.line.receive(|bytes| door.read(bytes, |bytes| parser.handle_bytes(bytes))).await?;
        if is_open { Ok(()) } else { Err(DialogueError::Closed(method.clone())) }
    }
}

/// The URL without user and password, and these; None where it has none. No request line holds them.
fn split_userinfo(url: &str) -> Option<(String, Credentials)> {
    let start = url.find("://")? + 3;
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    let (userinfo, _) = url[start..end].rsplit_once('@')?;
    let rest = &url[start + userinfo.len() + 1..];
    Some((format!("{}{rest}", &url[..start]), Credentials::from_userinfo(userinfo)))
}

/// How long a server may take to answer before the client gives up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A session that lives shorter by what the server says is kept alive as often as this needs: a server that says 0 is not
/// asked without a pause.
const TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// RFC 2326 section 12.37.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
