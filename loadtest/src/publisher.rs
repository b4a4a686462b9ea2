//! One client from ANNOUNCE to TEARDOWN, or a sender of plain RTP; each of its pictures carries when it left.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use proto::rtp::batch::Batch;
use proto::rtsp::headers::transport::Transport as Grant;
use proto::rtsp::message::{Method, Request};
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::connection::{Connection, DialogueError};
use crate::meter::{Live, histogram, record};
use crate::plan::{Transport, Way};
use crate::sockets::{self, Ending, Ports};
use crate::source::{Content, Source};

/// Where a publisher's pictures go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Announced and recorded there.
    Rtsp(String),
    /// Plain RTP to that address, for servers that take nothing else.
    Rtp(SocketAddr),
}

/// What publishers of a run shall do.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// Where they publish: one each.
    pub to: Vec<To>,
    /// How their packets go.
    pub transport: Transport,
    /// What they send.
    pub content: Content,
    /// For how long they send.
    pub duration: Duration,
    /// How long they stay behind that, silent: viewers take what is on its way.
    pub linger: Duration,
}

/// One publisher's counts.
#[derive(Clone, Debug)]
pub struct Published {
    /// Pictures that were sent.
    pub pictures: u32,
    /// RTP packets.
    pub packets: u64,
    /// Bytes of RTP packets.
    pub bytes: u64,
    /// How late pictures left, in microseconds.
    pub lags: Histogram<u64>,
    /// Why it ended early; None when it sent to the end.
    pub failure: Option<String>,
}

/// What a publisher shares with others.
#[derive(Clone)]
pub struct Watched {
    /// Counts for those who watch.
    pub live: Arc<Live>,
    /// Pictures that the publisher of that number has sent: one more than the number of the last.
    pub sent: Arc<AtomicU32>,
}

/// Publishes to the end of the plan; what was counted.
pub async fn run(number: usize, server: SocketAddr, plan: Rc<Publishing>, watched: Watched) -> Published {
    let mut published = Published { pictures: 0, packets: 0, bytes: 0, lags: histogram(), failure: None };
    let result = publish(number, server, &plan, &watched, &mut published).await;
    published.failure = result.err().map(|error| error.to_string());
    if published.failure.is_some() {
        Live::count(&watched.live.failed, 1);
    }
    published
}

async fn publish(
    number: usize,
    server: SocketAddr,
    plan: &Publishing,
    watched: &Watched,
    published: &mut Published,
) -> Result<(), DialogueError> {
    let mut source = Source::new(&plan.content)?;
    let url = match &plan.to[number] {
        To::Rtp(address) => {
            let socket = UdpSocket::bind(SocketAddr::new(unspecified(address), 0))?;
            socket.connect(address)?;
            return send(&mut source, plan, watched, published, &Path::Datagrams(socket), None).await;
        }
        To::Rtsp(url) => url,
    };
    let mut connection = Connection::open(server, plan.transport, 0, Ending::Orderly).await?;
    let description = source.description(connection.local.ip());
    let announce = Request::new(Method::Announce, url.clone()).body("application/sdp", description);
    connection.ask(announce).await?;
    let is_udp = plan.transport.way_of(number) == Way::Datagrams;
    let ports = is_udp.then(|| sockets::ports(connection.local, 0)).transpose()?;
    let control = format!("{}/trackID=0", url.trim_end_matches('/'));
    let transport = match &ports {
        Some(Ports { number, .. }) => {
            format!("RTP/AVP;unicast;client_port={number}-{};mode=record", number + 1)
        }
        None => "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record".to_owned(),
    };
    let response = connection.set_up(&control, transport).await?;
    let path = match ports {
        None => Path::Connection,
        Some(ports) => {
            let grant = response.headers.get("Transport").and_then(Grant::parse);
            let port = grant.and_then(|grant| grant.server_port);
            let port = port.ok_or(DialogueError::Incomplete("SETUP: the answer names no server_port"))?;
            ports.rtp.connect(SocketAddr::new(server.ip(), port.rtp))?;
            Path::Datagrams(ports.rtp)
        }
    };
    connection.ask(Request::new(Method::Record, url.clone()).header("Range", "npt=0.000-")).await?;
    send(&mut source, plan, watched, published, &path, Some((&mut connection, url))).await?;
    let _ = connection.tell(Request::new(Method::Teardown, url.clone())).await;
    Ok(())
}

/// Where packets go.
enum Path {
    Connection,
    Datagrams(UdpSocket),
}

/// Sends every picture when it is due, then stays a while.
async fn send(
    source: &mut Source,
    plan: &Publishing,
    watched: &Watched,
    published: &mut Published,
    path: &Path,
    mut dialogue: Option<(&mut Connection, &String)>,
) -> Result<(), DialogueError> {
    Live::count(&watched.live.ready, 1);
    let began = Instant::now();
    let mut alive = began;
    // Who stops reading is not waited for without end.
    let patience = tokio::time::Instant::from(began + plan.duration + plan.linger + SEND_PATIENCE);
    while source.due(source.number()) < plan.duration {
        let due = began + source.due(source.number());
        sleep_until(due.into()).await;
        let batch = source.next_batch();
        record(&mut published.lags, due.elapsed());
        match (path, &mut dialogue) {
            (Path::Datagrams(socket), _) => send_trains(socket, &batch).await?,
            (Path::Connection, Some((connection, _))) => {
                let sent = timeout_at(patience, connection.send(batch.interleaved())).await;
                sent.map_err(|_| DialogueError::Incomplete("the server has stopped reading"))??;
            }
            (Path::Connection, None) => {}
        }
        published.pictures += 1;
        published.packets += batch.packets().len() as u64;
        published.bytes += batch.rtp().len() as u64;
        watched.sent.store(source.number(), Ordering::Relaxed);
        let Some((connection, url)) = &mut dialogue else { continue };
        if alive.elapsed() > connection.timeout / 2 {
            alive = Instant::now();
            connection.tell(Request::new(Method::Options, url.as_str())).await?;
        }
        // Answers and reports of the server would fill the connection otherwise.
        connection.discard();
    }
    sleep_until((Instant::now() + plan.linger).into()).await;
    Ok(())
}

/// A large picture leaves in trains a millisecond apart: receivers that are not ready for it lose none of it.
async fn send_trains(socket: &UdpSocket, batch: &Batch) -> io::Result<()> {
    for (index, train) in batch.trains().iter().enumerate() {
        if index > 0 && batch.is_paced() {
            sleep(Duration::from_millis(1)).await;
        }
        match sockets::send_train(socket, &batch.train_bytes(train), train.segment) {
            // A receiver that is not there yet is no failure of the sender.
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn unspecified(address: &SocketAddr) -> std::net::IpAddr {
    match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// How long behind its end a publisher waits for a server to take what it sends.
const SEND_PATIENCE: Duration = Duration::from_secs(5);
