//! A door station as a test scripts it: it shows pictures and metadata, and takes sound from one talker.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::TAG;
use crate::client::rtp::Packet;
use crate::client::viewer::port_pair;
use crate::client::{Message, parse};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=door\r\nt=0 0\r\na=range:npt=now-\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==\r\n\
    a=control:track0\r\n\
    m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:track1\r\n";

const BACK: &str = "m=audio 0 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=control:back\r\na=sendonly\r\n";

/// The document that the camera sends; all are alike but for the number at their end.
pub(crate) const DOCUMENT: &str = "<tt:MetadataStream xmlns:tt=\"http://www.onvif.org/ver10/schema\"/>";

/// What a door does when it is asked for its backchannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ear {
    /// It takes sound in `$` frames.
    Tcp,
    /// It takes sound in datagrams only.
    Udp,
    /// It answers 551.
    Refuses,
    /// It knows no tag and has no such track.
    Deaf,
    /// It never answers.
    Hangs,
    /// Somebody else talks to it: SETUP is answered with 453.
    Busy,
    /// It takes sound in `$` frames, and closes the connection of the first who comes to set it up.
    Impatient,
    /// It takes sound in `$` frames, and a second for its answer to TEARDOWN.
    Lingers,
}

/// One request: the connection that it came by, its method, and whether it had the tag.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) is_tagged: bool,
}

/// A door that listens until the test lets go of it.
pub(crate) struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    ear: Ear,
    asked: Mutex<Vec<Asked>>,
    heard: Mutex<Vec<Packet>>,
    connections: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

impl Door {
    pub(crate) fn start(ear: Ear) -> Door {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            ear,
            asked: Mutex::default(),
            heard: Mutex::default(),
            connections: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let listening = shared.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if listening.stop.load(Ordering::Relaxed) {
                    return;
                }
                stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                stream.set_nodelay(true).unwrap();
                listening.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = listening.clone();
                let mut visit = Visit { stream, number, shared, shown: None, count: 0, back: None };
                thread::spawn(move || {
                    // An error is the end of the connection.
                    let _ = visit.run();
                    let _ = visit.stream.shutdown(Shutdown::Both);
                });
            }
        });
        Door { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://{}/door", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Closes all connections; it can be called again at once.
    pub(crate) fn hang_up(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// How often it was asked that with the tag.
    pub(crate) fn tagged(&self, method: &str) -> usize {
        self.asked().iter().filter(|asked| asked.method == method && asked.is_tagged).count()
    }

    /// All sound that has come.
    pub(crate) fn heard(&self) -> Vec<Packet> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Waits until so many packets of sound have come.
    #[track_caller]
    pub(crate) fn wait_for_sound(&self, count: usize) -> Vec<Packet> {
        self.wait("packets of sound", || (self.heard().len() >= count).then(|| self.heard()))
    }

    /// Waits until a method was asked that often by those who talk.
    #[track_caller]
    pub(crate) fn wait_for_asked(&self, method: &str, url_end: &str, count: usize) {
        self.wait(method, || {
            let asked = self.asked();
            let such = asked.iter().filter(|asked| asked.method == method && asked.url.ends_with(url_end));
            (such.count() >= count).then_some(())
        });
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < end, "no {what} at the door; asked: {:?}", self.asked());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.hang_up();
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection.
struct Visit {
    stream: TcpStream,
    number: usize,
    shared: Arc<Shared>,
    /// Since when pictures are shown, on channel 0, and documents on channel 2.
    shown: Option<Instant>,
    count: u32,
    /// How sound comes, if it does.
    back: Option<Back>,
}

enum Back {
    Channel(u8),
    /// Of media, and the one beside it.
    Sockets(UdpSocket, UdpSocket),
}

impl Visit {
    fn run(&mut self) -> std::io::Result<()> {
        let mut pending = Vec::new();
        let mut buffer = [0; 65_536];
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(size) => pending.extend_from_slice(&buffer[..size]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            while let Some((message, size)) = parse(&pending) {
                pending.drain(..size);
                match message {
                    Message::Request(head) => self.answer(&head)?,
                    Message::Frame { channel, data } => {
                        if matches!(self.back, Some(Back::Channel(back)) if back == channel) {
                            self.hear(&data);
                        }
                    }
                    _ => {}
                }
            }
            while let Some(Back::Sockets(rtp, _)) = &self.back {
                let Ok(size) = rtp.recv(&mut buffer) else { break };
                self.hear(&buffer[..size]);
            }
            self.show()?;
        }
        Ok(())
    }

    fn hear(&self, packet: &[u8]) {
        self.shared.heard.lock().unwrap().push(Packet::parse(packet, Instant::now()));
    }

    fn answer(&mut self, head: &str) -> std::io::Result<()> {
        let mut words = head.split(' ').map(str::to_owned);
        let (method, url) = (words.next().unwrap(), words.next().unwrap());
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        let is_tagged = header("Require") == TAG;
        let (connection, ear) = (self.number, self.shared.ear);
        let asked = Asked { connection, method: method.clone(), url: url.clone(), is_tagged };
        self.shared.asked.lock().unwrap().push(asked);
        let mut lines = format!("Session: {}\r\n", 100 + self.number);
        let mut body = String::new();
        let status = match (method.as_str(), ear) {
            ("DESCRIBE", Ear::Hangs) if is_tagged => return Ok(()),
            ("DESCRIBE", Ear::Refuses) if is_tagged => 551,
            ("DESCRIBE", _) => {
                let back = if is_tagged && ear != Ear::Deaf { BACK } else { "" };
                body = format!("{SDP}{back}");
                lines = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n", body.len());
                200
            }
            ("SETUP", Ear::Busy) if url.ends_with("back") => 453,
            ("SETUP", Ear::Impatient) if url.ends_with("back") && self.is_first_to_talk() => {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            ("SETUP", _) => {
                let transport = header("Transport");
                match self.set_up(&url, &transport) {
                    Some(grant) => {
                        lines += &format!("Transport: {grant}\r\n");
                        200
                    }
                    None => 461,
                }
            }
            ("PLAY", _) => {
                // Whoever only talks is shown nothing.
                self.shown = self.back.is_none().then(Instant::now);
                200
            }
            ("TEARDOWN", _) => {
                (self.shown, self.back) = (None, None);
                if ear == Ear::Lingers {
                    thread::sleep(Duration::from_secs(1));
                }
                200
            }
            _ => 200,
        };
        let cseq = header("CSeq");
        self.stream.write_all(format!("RTSP/1.0 {status} So\r\nCSeq: {cseq}\r\n{lines}\r\n{body}").as_bytes())
    }

    fn is_first_to_talk(&self) -> bool {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.method == "SETUP" && asked.url.ends_with("back")).count() == 1
    }

    /// The grant; None when the track does not come so.
    fn set_up(&mut self, url: &str, transport: &str) -> Option<String> {
        let parameter = |name: &str| {
            let value = transport.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.split('-').next()?.parse::<u16>().ok())
        };
        let (channel, is_back) = (parameter("interleaved"), url.ends_with("back"));
        match (channel, is_back, self.shared.ear) {
            (Some(_), true, Ear::Udp) => return None,
            (Some(channel), true, _) => self.back = Some(Back::Channel(channel as u8)),
            (Some(_), false, _) => {}
            (None, true, Ear::Udp) => {
                let (rtp, rtcp) = port_pair();
                rtp.set_nonblocking(true).unwrap();
                let port = rtp.local_addr().unwrap().port();
                self.back = Some(Back::Sockets(rtp, rtcp));
                return Some(format!("{transport};server_port={port}-{}", port + 1));
            }
            (None, ..) => return None,
        }
        Some(transport.to_owned())
    }

    /// Sends what is due: 25 pictures a second, each a keyframe, and a document beside every fifth.
    fn show(&mut self) -> std::io::Result<()> {
        let Some(since) = self.shown else { return Ok(()) };
        while since + Duration::from_millis(40) * self.count <= Instant::now() {
            let count = self.count;
            self.count += 1;
            let picture = [&[0x65][..], &count.to_be_bytes(), &[7; 300]].concat();
            self.send(0, 96, count, &picture)?;
            if count.is_multiple_of(5) {
                self.send(2, 107, count, format!("{DOCUMENT}<!--{count}-->").as_bytes())?;
            }
        }
        Ok(())
    }

    fn send(&mut self, channel: u8, payload_type: u8, count: u32, payload: &[u8]) -> std::io::Result<()> {
        let sequence = if payload_type == 96 { count } else { count / 5 } as u16;
        let mut packet = vec![0x80, 0x80 | payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend((3_600 * count).to_be_bytes());
        packet.extend((0x4000 + u32::from(channel)).to_be_bytes());
        packet.extend(payload);
        let [high, low] = (packet.len() as u16).to_be_bytes();
        self.stream.write_all(&[&[b'$', channel, high, low], &packet[..]].concat())
    }
}
