//! Requests as a player asks them, and the reading of what a server writes on a connection.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::time::Time;
use ringcaster::driver::sim::Wire;

use super::flow::Fault;
use super::session::Over;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    Options,
    Describe(String),
    /// A track of a name.
    Setup(String, u8, Over),
    Play(Playing),
    /// One track, or all.
    Pause(Option<u8>),
    /// One track, or all.
    Teardown(Option<u8>),
    /// Whether a parameter is asked for, and whether there is one of that name.
    Parameter(Option<bool>),
    /// Something that must be answered with this status.
    Wrong(u16),
}

/// What a PLAY asks for. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Playing {
    pub from: Option<i64>,
    pub until: Option<i64>,
    pub scale: Option<f64>,
    pub speed: Option<f64>,
    pub track: Option<u8>,
}

/// A request that waits for its reply.
#[derive(Clone, Debug)]
pub struct Asked {
    pub cseq: u32,
    pub ask: Ask,
    /// The session that it names, by its place in the player's list.
    pub session: Option<usize>,
    pub at: Time,
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    pub wire: Wire,
    pub asked: VecDeque<Asked>,
    buffer: Vec<u8>,
    /// Bytes that the server has sent so far.
    pub sent: u64,
    /// Bytes that the player has read.
    pub read: u64,
    /// Ends of replies that the player has not read yet.
    pub replies: VecDeque<u64>,
    /// The player has done something after which the server may close it.
    pub is_faulty: bool,
    /// The player has nothing to do with it any more.
    pub is_left: bool,
    pub closed: Option<Time>,
    /// When it was opened or last asked something.
    pub served: Time,
}

/// Something whole on a connection.
#[derive(Clone, Debug)]
pub enum Item {
    Response(Response),
    Frame(u8, Bytes),
    /// TLS gives up (RFC 8446 section 6).
    Alert,
}

/// A reply.
#[derive(Clone, Debug)]
pub struct Response {
    pub is_http: bool,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Line {
    pub fn new(wire: Wire, now: Time) -> Line {
        Line {
            wire,
            asked: VecDeque::new(),
            buffer: Vec::new(),
            sent: 0,
            read: 0,
            replies: VecDeque::new(),
            is_faulty: false,
            is_left: false,
            closed: None,
            served: now,
        }
    }

    /// Takes what the server has sent and finds what is whole in it.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Item>, Fault> {
        self.buffer.extend_from_slice(bytes);
        let mut items = Vec::new();
        let mut start = 0;
        while let Some((item, size)) = item(&self.buffer[start..])? {
            start += size;
            if matches!(item, Item::Response(_)) {
                self.replies.push_back(self.sent + bytes.len() as u64 - (self.buffer.len() - start) as u64);
            }
            items.push(item);
        }
        self.buffer.drain(..start);
        self.sent += bytes.len() as u64;
        Ok(items)
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

fn item(bytes: &[u8]) -> Result<Option<(Item, usize)>, Fault> {
    match bytes {
        [] => Ok(None),
        [b'$', channel, high, low, rest @ ..] => {
            let size = usize::from(u16::from_be_bytes([*high, *low]));
            let whole = rest.get(..size);
            Ok(whole.map(|packet| (Item::Frame(*channel, Bytes::copy_from_slice(packet)), 4 + size)))
        }
        [b'$', ..] => Ok(None),
        [b'R', ..] => response(bytes, "RTSP/1.0 "),
        // What is asked in HTTP is answered in HTTP.
        [b'H', ..] => response(bytes, "HTTP/1.1 "),
        // So is what looks like TLS on a port without it.
        [0x15, 3, 3, 0, 2, 2, 40, ..] => Ok(Some((Item::Alert, 7))),
        [0x15, ..] if bytes.len() < 7 => Ok(None),
        [other, ..] => Err(format!("byte {other:#04x} where a reply or a frame begins")),
    }
}

fn response(bytes: &[u8], version: &str) -> Result<Option<(Item, usize)>, Fault> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a reply is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix(version));
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or("no status line")?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("not a header: {line:?}"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let is_http = version.starts_with("HTTP");
    let mut response = Response { is_http, status, headers, body: Vec::new() };
    let size = response.header("Content-Length").map_or(Ok(0), str::parse::<usize>);
    let size = size.map_err(|_| "Content-Length is no number")?;
    let Some(body) = bytes.get(end + 4..end + 4 + size) else { return Ok(None) };
    response.body = body.to_vec();
    Ok(Some((Item::Response(response), end + 4 + size)))
}
