//! A camera that a test scripts: it sends numbered pictures, answers as it is told and remembers what it was asked.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::sending::{Kind, Track, Way, packets};
use crate::client::publisher::SDP;
use crate::client::viewer::port_pair_at;
use crate::client::{Message, parse};

/// What a camera does.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) sdp: String,
    /// The tracks of the description, in its order, with their payload types.
    pub(crate) tracks: Vec<(Kind, u8)>,
    /// The value of `Content-Base`; None leaves the header out.
    pub(crate) base: Option<String>,
    /// The value of `Public`.
    pub(crate) public: &'static str,
    /// The session's timeout in seconds; None = it is not said.
    pub(crate) timeout: Option<u32>,
    /// Number of the first picture, which is a keyframe as every tenth is.
    pub(crate) first_picture: u32,
    /// What is added to every timestamp.
    pub(crate) clock: u32,
    /// Whether parameter sets precede a keyframe.
    pub(crate) sends_parameter_sets: bool,
    /// Whether packets precede the answer to PLAY.
    pub(crate) is_early: bool,
    /// Whether it sends anything at all.
    pub(crate) sends: bool,
    /// Pictures of a session behind which it closes the connection; None = it goes on.
    pub(crate) pictures_max: Option<u32>,
    /// What it answers in place of the usual.
    pub(crate) answer: Arc<dyn Fn(&Request) -> Reply + Send + Sync>,
}

/// What a camera answers.
pub(crate) enum Reply {
    /// What any server would.
    Usual,
    /// Nothing.
    Silence,
    /// Nothing, and the connection is closed.
    Close,
    /// A status with header lines, each with its line break.
    With(u16, String),
}

/// What a camera was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Counts connections from 0.
    pub(crate) connection: usize,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn read(head: &str, connection: usize) -> Request {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (method, url) = (word(), word());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Request { method, url, headers, connection, at: Instant::now() }
    }
}

impl Default for Script {
    fn default() -> Script {
        Script {
            sdp: SDP.into(),
            tracks: vec![(Kind::Pictures, 96), (Kind::Sound, 8)],
            base: None,
            public: "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER",
            timeout: None,
            first_picture: 0,
            clock: 0,
            sends_parameter_sets: false,
            is_early: false,
            sends: true,
            pictures_max: None,
            answer: Arc::new(|_| Reply::Usual),
        }
    }
}

impl Script {
    /// The usual camera, but for some answers.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Script {
        Script { answer: Arc::new(answer), ..Script::default() }
    }
}

/// A camera that listens; it is gone with all its connections when the test lets go of it.
pub(crate) struct Camera {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    script: Script,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
    next_picture: AtomicU32,
    is_paused: AtomicBool,
    stop: AtomicBool,
}

impl Camera {
    /// A camera on a free port of loopback.
    pub(crate) fn start(script: Script) -> Camera {
        Camera::start_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// A camera at an address, which another one may have had before.
    #[track_caller]
    pub(crate) fn start_at(address: SocketAddr, script: Script) -> Camera {
        let listener = TcpListener::bind(address).expect("the camera's address is free");
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            next_picture: AtomicU32::new(script.first_picture),
            script,
            requests: Mutex::default(),
            connections: Mutex::default(),
            is_paused: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let listening = shared.clone();
        let listener = Some(thread::spawn(move || listen(&listener, &listening)));
        Camera { address, shared, listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of its stream.
    pub(crate) fn url(&self) -> String {
        format!("rtsp://{}/stream", self.address)
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The requests of one method.
    pub(crate) fn asked(&self, method: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.method == method);
        requests
    }

    /// Waits until it was asked that so often.
    #[track_caller]
    pub(crate) fn wait_for(&self, method: &str, count: usize, patience: Duration) {
        let end = Instant::now() + patience;
        while self.asked(method).len() < count {
            let methods: Vec<_> = self.requests().into_iter().map(|request| request.method).collect();
            assert!(Instant::now() < end, "not {count} times {method} after {patience:?}: {methods:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Number of the picture that is sent next.
    pub(crate) fn next_picture(&self) -> u32 {
        self.shared.next_picture.load(Ordering::Relaxed)
    }

    /// Sends nothing, or goes on.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.shared.is_paused.store(is_paused, Ordering::Relaxed);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for connection in self.shared.connections.lock().unwrap().iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let mut connections = shared.connections.lock().unwrap();
        let number = connections.len();
        connections.push(stream.try_clone().unwrap());
        let shared = shared.clone();
        thread::spawn(move || {
            let mut connection =
                Connection { stream, number, tracks: Vec::new(), plays_since: None, sent: 0, shared };
            // An error is the end of the connection.
            let _ = connection.run();
            let _ = connection.stream.shutdown(Shutdown::Both);
        });
    }
}

struct Connection {
    stream: TcpStream,
    number: usize,
    /// Those that are set up, in the description's order.
    tracks: Vec<Track>,
    plays_since: Option<Instant>,
    /// Pictures that were sent since.
    sent: u32,
    shared: Arc<Shared>,
}

/// Time between two pictures.
const PICTURE: Duration = Duration::from_millis(40);

impl Connection {
    fn run(&mut self) -> std::io::Result<()> {
        let mut pending = Vec::new();
        let mut buffer = [0; 4096];
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(size) => pending.extend_from_slice(&buffer[..size]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            while let Some((message, size)) = parse(&pending) {
                pending.drain(..size);
                if let Message::Request(head) = message {
                    self.handle(&head)?;
                }
            }
            self.send_due()?;
        }
        Ok(())
    }

    fn handle(&mut self, head: &str) -> std::io::Result<()> {
        let request = Request::read(head, self.number);
        self.shared.requests.lock().unwrap().push(request.clone());
        let cseq = request.header("CSeq").unwrap_or("0");
        let start = |status: u16| format!("RTSP/1.0 {status} Of its own\r\nCSeq: {cseq}\r\n");
        match (self.shared.script.answer)(&request) {
            Reply::Silence => Ok(()),
            Reply::Close => self.stream.shutdown(Shutdown::Both),
            Reply::With(status, lines) => self.say(&format!("{}{lines}\r\n", start(status))),
            Reply::Usual => {
                let lines = self.usual(&request)?;
                self.say(&(start(200) + &lines))
            }
        }
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Header lines and body of the usual answer.
    fn usual(&mut self, request: &Request) -> std::io::Result<String> {
        let script = self.shared.script.clone();
        let timeout = script.timeout.map_or(String::new(), |seconds| format!(";timeout={seconds}"));
        let session = format!("Session: {}{timeout}\r\n", self.number + 100);
        Ok(match request.method.as_str() {
            "OPTIONS" => format!("Public: {}\r\n\r\n", script.public),
            "DESCRIBE" => {
                let base = script.base.map_or(String::new(), |base| format!("Content-Base: {base}\r\n"));
                let length = script.sdp.len();
                let head = format!("{base}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n");
                head + &script.sdp
            }
            "SETUP" => {
                let transport = self.set_up(request.header("Transport").unwrap_or_default());
                format!("{session}Transport: {transport}\r\n\r\n")
            }
            "PLAY" => {
                self.plays_since = Some(Instant::now());
                if script.is_early {
                    self.send_due()?;
                }
                session + "\r\n"
            }
            "TEARDOWN" => {
                self.plays_since = None;
                session + "\r\n"
            }
            _ => session + "\r\n",
        })
    }

    /// Sets up the next track; the grant.
    fn set_up(&mut self, transport: &str) -> String {
        let parameter = |name: &str| {
            let start = transport.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            start.and_then(|pair| pair.split('-').next()?.parse::<u16>().ok())
        };
        if let Some(port) = parameter("client_port") {
            let (rtp, rtcp) = port_pair_at(self.local());
            let server = rtp.local_addr().unwrap().port();
            let to = SocketAddr::new(self.peer(), port);
            self.tracks.push(Track::new(Way::Datagrams { rtp, _rtcp: rtcp, to }));
            return format!("{transport};server_port={server}-{}", server + 1);
        }
        let channel = parameter("interleaved").unwrap_or(2 * self.tracks.len() as u16) as u8;
        self.tracks.push(Track::new(Way::Interleaved { channel }));
        transport.to_owned()
    }

    fn peer(&self) -> IpAddr {
        self.stream.peer_addr().map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.ip())
    }

    fn local(&self) -> IpAddr {
        self.stream.local_addr().map_or(Ipv4Addr::LOCALHOST.into(), |local| local.ip())
    }

    /// Sends the pictures whose time has come.
    fn send_due(&mut self) -> std::io::Result<()> {
        let shared = self.shared.clone();
        let Some(since) = self.plays_since.filter(|_| shared.script.sends) else { return Ok(()) };
        while since + PICTURE * self.sent <= Instant::now() {
            let index = self.sent;
            if shared.script.pictures_max == Some(index) {
                return self.stream.shutdown(Shutdown::Both);
            }
            self.sent += 1;
            if shared.is_paused.load(Ordering::Relaxed) {
                continue;
            }
            let number = shared.next_picture.fetch_add(1, Ordering::Relaxed);
            for (track, packet) in packets(&shared.script, number, index.is_multiple_of(10)) {
                // A source of its own in each session.
                let ssrc = 0x2000 + 16 * self.number as u32 + track as u32;
                if let Some(track) = self.tracks.get_mut(track) {
                    track.send(&mut self.stream, ssrc, packet)?;
                }
            }
        }
        Ok(())
    }
}
