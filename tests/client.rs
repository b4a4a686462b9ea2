//! A raw RTSP client that shares no code with the server: exact bytes out, everything that comes in kept in order.

pub(crate) mod login;
pub(crate) mod pictures;
pub(crate) mod publisher;
pub(crate) mod pusher;
pub(crate) mod rtp;
pub(crate) mod sdp;
pub(crate) mod viewer;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use login::Login;

/// How long an answer may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What can come from a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// The answer to a request.
    Response(Response),
    /// A request of the server's own.
    Request(String),
    /// A packet between the messages (RFC 2326 section 10.12).
    Frame { channel: u8, data: Vec<u8> },
    /// The server has closed the connection.
    Closed,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of the first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The session's identifier, without its parameters.
    pub(crate) fn session(&self) -> Option<&str> {
        self.header("Session").map(|value| value.split(';').next().unwrap_or(value).trim())
    }

    /// The value of a parameter of the Transport header, such as `server_port`.
    pub(crate) fn transport(&self, name: &str) -> Option<&str> {
        let parameters = self.header("Transport")?.split(';');
        parameters.filter_map(|part| part.trim().split_once('=')).find(|(key, _)| *key == name).map(|p| p.1)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// This answer, which must have that status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "unexpected answer: {self:?}");
        self
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    pending: Vec<u8>,
    /// Packets that came while an answer was awaited.
    pub(crate) frames: VecDeque<(u8, Vec<u8>)>,
    cseq: u32,
    /// Bytes that are taken from the system at once, at most 64 KiB.
    pub(crate) read_bytes_max: usize,
    /// How long an answer may take.
    pub(crate) patience: Duration,
    /// Sent with every request once it is set.
    pub(crate) session: Option<String>,
    /// The value of `Require` of every request.
    pub(crate) require: Option<&'static str>,
    /// Who makes every request; None makes them without a name.
    pub(crate) login: Option<Login>,
}

impl Client {
    pub(crate) fn connect(server: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the server accepts connections");
        Client::on(stream)
    }

    /// A client on a connection that is there.
    pub(crate) fn on(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            pending: Vec::new(),
            frames: VecDeque::new(),
            cseq: 0,
            read_bytes_max: 65_536,
            patience: PATIENCE,
            session: None,
            require: None,
            login: None,
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends bytes as they are; false when the server has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a request with CSeq and, once known, Session; does not wait.
    pub(crate) fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> u32 {
        self.ask_with_body(method, url, headers, "")
    }

    fn ask_with_body(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> u32 {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.cseq);
        if let Some(session) = &self.session {
            text += &format!("Session: {session}\r\n");
        }
        if let Some(tag) = self.require {
            text += &format!("Require: {tag}\r\n");
        }
        if let Some(login) = &mut self.login {
            text += &format!("Authorization: {}\r\n", login.authorization(method, url));
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        self.send(text + "\r\n" + body);
        self.cseq
    }

    /// The same with a body, whose length the headers must tell.
    #[track_caller]
    pub(crate) fn request_with_body(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let cseq = self.ask_with_body(method, url, headers, body);
        let response = self.response();
        assert_eq!(response.header("CSeq"), Some(cseq.to_string().as_str()), "CSeq of {response:?}");
        response
    }

    /// Sends a request and waits for its answer, which must carry its CSeq.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Response {
        let cseq = self.ask(method, url, headers);
        let response = self.response();
        assert_eq!(response.header("CSeq"), Some(cseq.to_string().as_str()), "CSeq of {response:?}");
        response
    }

    /// The next answer; packets before it are kept in `frames`.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let end = Instant::now() + self.patience;
        loop {
            match self.next(end.saturating_duration_since(Instant::now())) {
                Some(Message::Response(response)) => return response,
                Some(Message::Frame { channel, data }) => self.frames.push_back((channel, data)),
                Some(Message::Request(_)) => {}
                Some(Message::Closed) => panic!("the server has closed instead of answering"),
                None => panic!("no answer after {:?}", self.patience),
            }
        }
    }

    /// The next message of any kind; None when none has come within `patience`.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<Message> {
        let end = Instant::now() + patience;
        loop {
            if let Some((message, size)) = parse(&self.pending) {
                self.pending.drain(..size);
                return Some(message);
            }
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer[..self.read_bytes_max]) {
                Ok(0) => return Some(Message::Closed),
                Ok(size) => self.pending.extend_from_slice(&buffer[..size]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Message::Closed),
            }
        }
    }

    /// Whether the server closes the connection within `patience`; what else comes is dropped.
    pub(crate) fn is_closed_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while let Some(message) = self.next(end.saturating_duration_since(Instant::now())) {
            if message == Message::Closed {
                return true;
            }
        }
        false
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.stream.peer_addr().unwrap()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The socket itself, for tests that stop reading or close one side.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }
}

/// The first whole message in `bytes` with its size.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Message, usize)> {
    if bytes.first() == Some(&b'$') {
        let head: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let size = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
        return Some((Message::Frame { channel: head[1], data: bytes.get(4..size)?.to_vec() }, size));
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length is a number"));
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    let size = end + 4 + length;
    let Some(status) = first.strip_prefix("RTSP/1.0 ") else {
        return Some((Message::Request(head), size));
    };
    let (status, reason) = status.split_once(' ').unwrap_or((status, ""));
    let status = status.parse().unwrap_or_else(|_| panic!("not a status line: {first:?}"));
    Some((Message::Response(Response { status, reason: reason.to_owned(), headers, body }), size))
}
