//! One client from connect to TEARDOWN.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proto::rtsp::message::{Method, Request};
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::connection::{Connection, DialogueError};
use crate::counter::{Counter, Shared};
use crate::group::Group;
use crate::interleaved::{Frame, Splitter};
use crate::meter::{Live, Tally, record};
use crate::plan::{Act, Conduct, Way};
use crate::sdp::{Description, Track};
use crate::sink::{Datagrams, Merged};
use crate::sockets::{self, Ending, Ports};

/// Plays, or only holds its session, until the end of the plan; what was counted.
pub async fn run(number: usize, server: SocketAddr, shared: Shared) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let conduct = shared.plan.conduct_of(number);
    let mut viewer = Viewer { number, conduct, shared, tally: tally.clone() };
    let result = viewer.play(server).await;
    let mut tally = tally.borrow().clone();
    tally.failure = result.err().map(|error| error.to_string());
    tally
}

struct Viewer {
    number: usize,
    conduct: Conduct,
    shared: Shared,
    tally: Rc<RefCell<Tally>>,
}

/// Sockets on which packets come, each with the index of its track.
type Granted = Vec<(usize, Ports)>;

impl Viewer {
    async fn play(&mut self, server: SocketAddr) -> Result<(), DialogueError> {
        let began = Instant::now();
        let plan = self.shared.plan.clone();
        let way = plan.transport.way_of(self.number);
        // Who does not read shall not have room for the whole run.
        let has_room = way == Way::Interleaved && plan.act == Act::Plays && self.reads();
        let buffer = if has_room { plan.receive_buffer } else { 0 };
        let mut connection = Connection::open(server, plan.transport, buffer, Ending::Orderly).await?;
        let description = connection.describe(plan.url_of(self.number)).await?;
        let ports = set_up(&mut connection, &description, &self.shared, way).await?;
        if plan.act == Act::Holds {
            self.is_ready(began);
            self.keep_alive(&mut connection, &description.control, &[]).await?;
            connection.leave(&description.control).await;
            return Ok(());
        }
        let asked = Instant::now();
        let mut play = Request::new(Method::Play, description.control.clone());
        if let Some(step) = plan.spread_s {
            play = play.header("Range", format!("npt={:.3}-", step * self.number as f64));
        }
        if way == Way::Interleaved {
            connection.ask(play).await?;
            self.is_ready(began);
            self.play_interleaved(&mut connection, &description, asked).await?;
        } else {
            self.play_datagrams(&mut connection, play, &description, ports, (began, asked)).await?;
        }
        connection.leave(&description.control).await;
        Ok(())
    }

    /// Whether it takes whatever comes.
    fn reads(&self) -> bool {
        matches!(self.conduct, Conduct::Reads | Conduct::Bursts)
    }

    fn is_ready(&self, began: Instant) {
        let mut tally = self.tally.borrow_mut();
        let set_up = began.elapsed();
        tally.set_up = Some(set_up);
        tally.ready = Some(self.shared.began.elapsed());
        if self.shared.plan.burst == 0 || self.conduct == Conduct::Bursts {
            record(&mut self.shared.meter.borrow_mut().set_ups, set_up);
        }
        Live::count(&self.shared.live.ready, 1);
    }

    /// Sends PLAY and receives; packets may come before the answer.
    async fn play_datagrams(
        &mut self,
        connection: &mut Connection,
        play: Request,
        description: &Description,
        ports: Granted,
        (began, asked): (Instant, Instant),
    ) -> Result<(), DialogueError> {
        let (mut rtcp, mut readers) = (Vec::new(), Vec::new());
        for (index, ports) in ports {
            let (rtp, leave) = (Datagrams::new(ports.rtp)?, self.shared.leave());
            let counter = self.counter(asked, description, index);
            readers.push(tokio_uring::spawn(timeout_at(leave.into(), receive(rtp, counter))));
            rtcp.push(Datagrams::new(ports.rtcp)?);
        }
        connection.ask(play).await?;
        self.is_ready(began);
        let result = self.keep_alive(connection, &description.control, &rtcp).await;
        for reader in readers {
            if result.is_err() {
                reader.abort();
            }
            let _ = reader.await;
        }
        result
    }

    /// Keeps the session alive until all leave, and throws reports of the server away.
    async fn keep_alive(
        &self,
        connection: &mut Connection,
        url: &str,
        reports: &[Datagrams],
    ) -> Result<(), DialogueError> {
        loop {
            let next = Instant::now() + connection.timeout / 2;
            if next >= self.shared.leave() {
                sleep_until(self.shared.leave().into()).await;
                return Ok(());
            }
            sleep_until(next.into()).await;
            reports.iter().for_each(Datagrams::discard);
            connection.ask(Request::new(Method::Options, url)).await?;
        }
    }

    async fn play_interleaved(
        &mut self,
        connection: &mut Connection,
        description: &Description,
        asked: Instant,
    ) -> Result<(), DialogueError> {
        let tracks = description.tracks.len();
        let mut counters: Vec<_> = (0..tracks).map(|index| self.counter(asked, description, index)).collect();
        let mut splitter = Splitter::default();
        let mut take = |bytes: &[u8]| {
            let now = Instant::now();
            splitter.read(bytes, |Frame { channel, size, head }| {
                if let (0, Some(counter)) = (channel % 2, counters.get_mut(usize::from(channel / 2))) {
                    counter.take(head, usize::from(size), now);
                }
            });
        };
        take(&connection.take_unread());
        let mut alive = Instant::now();
        let mut trickle = None;
        loop {
            let most = self.pace(&mut trickle, asked).await;
            let Ok(read) = timeout_at(self.shared.leave().into(), connection.drain(most, &mut take)).await
            else {
                return Ok(());
            };
            if !read? {
                return Err(DialogueError::Incomplete("the server closed the connection while playing"));
            }
            if alive.elapsed() > connection.timeout / 2 {
                alive = Instant::now();
                connection.tell(Request::new(Method::Options, description.control.clone())).await?;
            }
        }
    }

    /// Waits as long as this viewer does not read; returns how much it then reads at once.
    async fn pace(&self, trickle: &mut Option<Trickle>, asked: Instant) -> usize {
        let now = Instant::now();
        let begins = self.shared.began + self.shared.plan.steady();
        let left = self.shared.leave().saturating_duration_since(now);
        if self.reads() || now < begins || left.is_zero() {
            return usize::MAX;
        }
        if self.conduct == Conduct::Stops {
            sleep(left).await;
            return usize::MAX;
        }
        let bytes = self.tally.borrow().bytes;
        let trickle = trickle.get_or_insert_with(|| Trickle::new(bytes, asked.elapsed()));
        sleep(trickle.pause(bytes).min(left)).await;
        TRICKLE_BYTES
    }

    /// Pictures give the pulse; where there are none, the first track does.
    fn counter(&self, asked: Instant, description: &Description, index: usize) -> Counter {
        let tracks = &description.tracks;
        let pulse = tracks.iter().position(|track| track.is_video).unwrap_or(0);
        let coding = (index == pulse).then_some(tracks[index].coding);
        Counter::new(self.shared.clone(), self.tally.clone(), self.conduct, asked, coding)
    }
}

/// Sets all tracks up; the sockets on which their packets come. A group that another viewer listens to needs none.
async fn set_up(
    connection: &mut Connection,
    description: &Description,
    shared: &Shared,
    way: Way,
) -> Result<Granted, DialogueError> {
    let mut granted = Vec::new();
    for (index, track) in description.tracks.iter().enumerate() {
        let is_new = |group: &Group| shared.groups.claim(group);
        let ports = set_up_track(connection, track, index, way, shared.plan.receive_buffer, is_new).await?;
        granted.extend(ports.map(|ports| (index, ports)));
    }
    Ok(granted)
}

/// Sets a track up: over ports of its own, a group that is to be listened to if `is_heard` says so, or channels.
pub async fn set_up_track(
    connection: &mut Connection,
    Track { control, .. }: &Track,
    index: usize,
    way: Way,
    receive_buffer: usize,
    is_heard: impl FnOnce(&Group) -> bool,
) -> Result<Option<Ports>, DialogueError> {
    match way {
        Way::Datagrams => {
            let ports = sockets::ports(connection.local, receive_buffer)?;
            let (rtp, rtcp) = (ports.number, ports.number + 1);
            connection.set_up(control, format!("RTP/AVP;unicast;client_port={rtp}-{rtcp}")).await?;
            Ok(Some(ports))
        }
        Way::Group => {
            let group = Group::granted(&connection.set_up(control, Group::OFFER.to_owned()).await?)?;
            let local = connection.local.ip();
            let ports = is_heard(&group).then(|| sockets::group_ports(&group, local, receive_buffer));
            Ok(ports.transpose()?)
        }
        Way::Interleaved => {
            let (rtp, rtcp) = (2 * index, 2 * index + 1);
            connection.set_up(control, format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}")).await?;
            Ok(None)
        }
    }
}

async fn receive(rtp: Datagrams, counter: Counter) {
    let counter = RefCell::new(counter);
    let depth = || counter.borrow().depth();
    let take = |merged: Merged<'_>| counter.borrow_mut().take_merged(merged, Instant::now());
    while rtp.receive(depth, take).await.is_ok() {}
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

/// What a viewer that reads too slowly reads at once.
const TRICKLE_BYTES: usize = 16 * 1024;
