//! One RTSP connection on the ring: requests out, answers in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::rtsp::message::{Method, Request, Response};
use proto::rtsp::parse::{Item, Limits, ParseError, Parser};
use tokio_uring::net::TcpStream;

use crate::sockets;

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
    stream: TcpStream,
    parser: Parser,
    buffer: Vec<u8>,
    sequence: u32,
    /// The session's identifier, sent once it is known.
    pub session: Option<String>,
    /// Address of this side.
    pub local: SocketAddr,
}

impl Connection {
    /// Connects; a `receive_buffer` of 0 keeps the system's.
    pub async fn open(server: SocketAddr, receive_buffer: usize) -> Result<Connection, DialogueError> {
        let stream = sockets::connect(server, receive_buffer)
            .map_err(|error| DialogueError::Connect { server, error })?;
        let local = stream.local_addr()?;
        let (stream, parser) = (TcpStream::from_std(stream), Parser::new(Limits::default()));
        let buffer = Vec::with_capacity(READ_BYTES);
        Ok(Connection { stream, parser, buffer, sequence: 0, session: None, local })
    }

    /// Sends a request and waits for its answer, which must be a success.
    pub async fn ask(&mut self, request: Request) -> Result<Response, DialogueError> {
        let method = request.method.clone();
        self.tell(request).await?;
        let answer = tokio::time::timeout(ANSWER_PATIENCE, self.answer(&method));
        let response = answer.await.map_err(|_| DialogueError::Silent(method.clone()))??;
        if response.status.is_success() {
            Ok(response)
        } else {
            Err(DialogueError::Refused { method, status: response.status.0 })
        }
    }

    /// Sends a request without waiting.
    pub async fn tell(&mut self, mut request: Request) -> Result<(), DialogueError> {
        self.sequence += 1;
        request.headers.push("CSeq", self.sequence.to_string());
        if let Some(session) = &self.session {
            request.headers.push("Session", session.clone());
        }
        let (result, _) = self.stream.write_all(Vec::from(request.to_bytes())).await;
        Ok(result?)
    }

    /// Reads more bytes; they lie in the slice that is returned. Empty at the end of the connection.
    pub async fn read(&mut self) -> io::Result<&[u8]> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let (result, buffer) = self.stream.read(buffer).await;
        self.buffer = buffer;
        let size = result?;
        Ok(&self.buffer[..size])
    }

    /// What has come behind the last answer.
    pub fn take_unread(&mut self) -> BytesMut {
        self.parser.take_buffered()
    }

    async fn answer(&mut self, method: &Method) -> Result<Response, DialogueError> {
        loop {
            match self.parser.poll()? {
                Some(Item::Response(response)) => return Ok(response),
                Some(_) => continue,
                None => {}
            }
            let bytes = Bytes::copy_from_slice(self.read().await?);
            if bytes.is_empty() {
                return Err(DialogueError::Closed(method.clone()));
            }
            self.parser.handle_bytes(&bytes);
        }
    }
}

/// How long a server may take to answer before the viewer gives up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Large enough for what a server sends in one go for a picture of 4 Mbit/s, keyframes excepted.
const READ_BYTES: usize = 64 * 1024;
