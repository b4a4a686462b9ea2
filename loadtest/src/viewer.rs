//! One client from connect to TEARDOWN.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proto::rtsp::headers::session::Session;
use proto::rtsp::message::{Method, Request};
use tokio_uring::net::UdpSocket;

use crate::connection::{Connection, DialogueError};
use crate::interleaved::{Frame, Splitter};
use crate::meter::{Meter, Pulse, Sequence, Tally, record};
use crate::plan::{Conduct, Plan};
use crate::sdp::Description;
use crate::sockets::{self, Ports};
use crate::trains::Cutter;

/// What a viewer shares with the others of its thread.
#[derive(Clone)]
pub struct Shared {
    /// What to do.
    pub plan: Rc<Plan>,
    /// When the run began.
    pub began: Instant,
    /// Times of all viewers.
    pub meter: Rc<RefCell<Meter>>,
}

impl Shared {
    /// Whether all viewers are there: gaps are recorded from then on.
    fn is_steady(&self, now: Instant) -> bool {
        now >= self.began + self.plan.ramp + SETTLE
    }

    fn end(&self) -> Instant {
        self.began + self.plan.end()
    }
}

/// Plays until the end of the plan; what was counted.
pub async fn run(number: usize, server: SocketAddr, shared: Shared) -> Tally {
    let track = Rc::new(RefCell::new(Tally::default()));
    let conduct = shared.plan.conduct_of(number);
    let mut viewer = Viewer { number, conduct, shared, tally: track.clone() };
    let result = viewer.play(server).await;
    let mut tally = track.borrow().clone();
    tally.failure = result.err().map(|error| error.to_string());
    tally
}

struct Viewer {
    number: usize,
    conduct: Conduct,
    shared: Shared,
    tally: Rc<RefCell<Tally>>,
}

/// A track as it was granted.
struct Granted {
    is_video: bool,
    ports: Option<Ports>,
}

impl Viewer {
    async fn play(&mut self, server: SocketAddr) -> Result<(), DialogueError> {
        let began = Instant::now();
        let plan = self.shared.plan.clone();
        let is_udp = plan.transport.is_udp(self.number);
        let buffer = if is_udp || self.conduct != Conduct::Reads { 0 } else { plan.receive_buffer };
        let mut connection = Connection::open(server, buffer).await?;
        let description = describe(&mut connection, plan.url_of(self.number)).await?;
        let (tracks, timeout) = self.set_up(&mut connection, &description, is_udp).await?;
        let asked = Instant::now();
        let mut play = Request::new(Method::Play, description.control.clone());
        if let Some(step) = plan.spread_s {
            play = play.header("Range", format!("npt={:.3}-", step * self.number as f64));
        }
        connection.ask(play).await?;
        let set_up = began.elapsed();
        self.tally.borrow_mut().set_up = Some(set_up);
        record(&mut self.shared.meter.borrow_mut().set_ups, set_up);
        let media = self.receive(asked, is_udp, tracks, &mut connection, timeout, &description.control);
        media.await?;
        // Only a farewell: whether it is answered does not matter to the measurement.
        let _ = connection.tell(Request::new(Method::Teardown, description.control)).await;
        Ok(())
    }

    async fn set_up(
        &self,
        connection: &mut Connection,
        description: &Description,
        is_udp: bool,
    ) -> Result<(Vec<Granted>, Duration), DialogueError> {
        let mut tracks = Vec::new();
        let mut timeout = Duration::from_secs(60);
        for (index, track) in description.tracks.iter().enumerate() {
            let ports = is_udp
                .then(|| sockets::ports(connection.local, self.shared.plan.receive_buffer))
                .transpose()?;
            let transport = match &ports {
                Some(ports) => format!("RTP/AVP;unicast;client_port={}-{}", ports.number, ports.number + 1),
                None => format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * index, 2 * index + 1),
            };
            let request = Request::new(Method::Setup, track.control.clone()).header("Transport", transport);
            let response = connection.ask(request).await?;
            let session = response.headers.get("Session").and_then(Session::parse);
            let session = session.ok_or(DialogueError::Incomplete("SETUP: the answer has no Session"))?;
            timeout = session.timeout.unwrap_or(timeout);
            connection.session = Some(session.id);
            tracks.push(Granted { is_video: track.is_video, ports });
        }
        if tracks.is_empty() {
            return Err(DialogueError::Incomplete("DESCRIBE: the description has no tracks"));
        }
        Ok((tracks, timeout))
    }

    /// Receives until the end of the plan and keeps the session alive.
    async fn receive(
        &mut self,
        asked: Instant,
        is_udp: bool,
        tracks: Vec<Granted>,
        connection: &mut Connection,
        timeout: Duration,
        url: &str,
    ) -> Result<(), DialogueError> {
        // Pictures give the pulse; where there are none, the first track does.
        let pulse = tracks.iter().position(|track| track.is_video).unwrap_or(0);
        if !is_udp {
            return self.receive_interleaved(asked, pulse, tracks.len(), connection, timeout, url).await;
        }
        let mut rtcp = Vec::new();
        let mut readers = Vec::new();
        for (index, track) in tracks.into_iter().enumerate() {
            let ports = track.ports.expect("a viewer over UDP has bound ports for every track");
            rtcp.push(ports.rtcp);
            let counter = self.counter(asked, index == pulse);
            readers.push(tokio_uring::spawn(receive_datagrams(UdpSocket::from_std(ports.rtp), counter)));
        }
        while let Some(left) = self.left() {
            tokio::time::sleep(left.min(timeout / 2)).await;
            if self.left().is_some() {
                connection.ask(Request::new(Method::Options, url)).await?;
            }
        }
        for reader in readers {
            reader.abort();
        }
        drop(rtcp);
        Ok(())
    }

    async fn receive_interleaved(
        &mut self,
        asked: Instant,
        pulse: usize,
        tracks: usize,
        connection: &mut Connection,
        timeout: Duration,
        url: &str,
    ) -> Result<(), DialogueError> {
        let mut counters: Vec<_> = (0..tracks).map(|index| self.counter(asked, index == pulse)).collect();
        let mut splitter = Splitter::default();
        let mut take = |bytes: &[u8]| {
            let now = Instant::now();
            splitter.read(bytes, |Frame { channel, size, head }| {
                if let (0, Some(counter)) = (channel % 2, counters.get_mut(usize::from(channel / 2))) {
                    counter.take(&head, usize::from(size), now);
                }
            });
        };
        take(&connection.take_unread());
        let mut alive = Instant::now();
        let mut trickle = None;
        while let Some(left) = self.left() {
            if self.shared.is_steady(Instant::now()) {
                match self.conduct {
                    Conduct::Reads => {}
                    Conduct::Stops => {
                        tokio::time::sleep(left).await;
                        break;
                    }
                    Conduct::Trickles => {
                        let bytes = self.tally.borrow().bytes;
                        let trickle = trickle.get_or_insert_with(|| Trickle::new(bytes, asked.elapsed()));
                        tokio::time::sleep(trickle.pause(bytes).min(left)).await;
                    }
                }
            }
            let Ok(read) = tokio::time::timeout(left, connection.read()).await else { break };
            let bytes = read?;
            if bytes.is_empty() {
                return Err(DialogueError::Incomplete("the server closed the connection while playing"));
            }
            take(bytes);
            if alive.elapsed() > timeout / 2 {
                alive = Instant::now();
                connection.tell(Request::new(Method::Options, url)).await?;
            }
        }
        Ok(())
    }

    fn left(&self) -> Option<Duration> {
        self.shared.end().checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn counter(&self, asked: Instant, has_pulse: bool) -> Counter {
        Counter {
            shared: self.shared.clone(),
            tally: self.tally.clone(),
            asked,
            sequence: Sequence::default(),
            pulse: has_pulse.then(Pulse::default),
            conduct: self.conduct,
        }
    }
}

/// Reading at a tenth of the rate at which a viewer has read so far.
struct Trickle {
    since: Instant,
    bytes: u64,
    bytes_per_s: f64,
}

impl Trickle {
    fn new(bytes: u64, time: Duration) -> Trickle {
        let bytes_per_s = bytes.max(1) as f64 / time.as_secs_f64().max(1e-3) / 10.0;
        Trickle { since: Instant::now(), bytes, bytes_per_s }
    }

    /// How long to wait before more than `bytes` in all are read.
    fn pause(&self, bytes: u64) -> Duration {
        let due = Duration::try_from_secs_f64((bytes - self.bytes) as f64 / self.bytes_per_s);
        due.unwrap_or(Duration::MAX).saturating_sub(self.since.elapsed())
    }
}

/// Counts the packets of one track.
struct Counter {
    shared: Shared,
    tally: Rc<RefCell<Tally>>,
    asked: Instant,
    sequence: Sequence,
    /// None for tracks whose rhythm is not measured.
    pulse: Option<Pulse>,
    conduct: Conduct,
}

impl Counter {
    fn take(&mut self, head: &[u8; 12], size: usize, now: Instant) {
        let mut tally = self.tally.borrow_mut();
        if tally.first_packet.is_none() {
            let time = now.saturating_duration_since(self.asked);
            tally.first_packet = Some(time);
            record(&mut self.shared.meter.borrow_mut().first_packets, time);
        }
        tally.packets += 1;
        tally.bytes += size as u64;
        let begins = self.sequence.take(head, &mut tally);
        let Some(pulse) = self.pulse.as_mut().filter(|_| begins) else { return };
        if let Some(gap) = pulse.beat(now)
            && self.conduct == Conduct::Reads
            && self.shared.is_steady(now)
        {
            record(&mut self.shared.meter.borrow_mut().gaps, gap);
        }
    }
}

async fn describe(connection: &mut Connection, url: &str) -> Result<Description, DialogueError> {
    let request = Request::new(Method::Describe, url).header("Accept", "application/sdp");
    let response = connection.ask(request).await?;
    let base = response.headers.get("Content-Base").unwrap_or(url);
    Ok(Description::parse(&String::from_utf8_lossy(&response.body), base))
}

async fn receive_datagrams(socket: UdpSocket, mut counter: Counter) {
    let mut buffer = Vec::with_capacity(MERGED_BYTES_MAX);
    let mut cutter = Cutter::default();
    loop {
        buffer.clear();
        let (result, returned) = socket.read(buffer).await;
        buffer = returned;
        let Ok(size) = result else { return };
        let now = Instant::now();
        cutter.cut(&buffer[..size], |packet| {
            let mut head = [0; 12];
            let known = packet.len().min(12);
            head[..known].copy_from_slice(&packet[..known]);
            counter.take(&head, packet.len(), now);
        });
    }
}

/// The kernel merges datagrams up to the largest datagram that there can be.
const MERGED_BYTES_MAX: usize = 65_536;

/// Time behind the ramp that is not measured.
const SETTLE: Duration = Duration::from_millis(500);
