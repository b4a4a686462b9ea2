//! Streams that are pushed to us (`<pusher>`): each has one home shard, and that one alone has the stream's ports.

mod arrive;
mod line;
mod reload;
mod reports;
mod run;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::io::{Conn, Driver, Listener, UdpOptions};
use proto::time::Time;
use proto::track::Track;
use slotmap::SlotMap;
use smallvec::SmallVec;

use super::datagrams::UdpPairs;
use super::inflow::Inflow;
use super::ingest::{Arriving, Sender};
use super::offer::Offer;
use super::session::Numbers;
use super::steering::{PublicationReport, StreamState};
use crate::stream::catalog::ShardIndex;
use crate::stream::relay::Relay;
use line::Line;
use reports::Reports;

/// What comes where; another one takes its place where the configuration changes it.
#[derive(Clone, Debug)]
pub struct PusherSpec {
    /// Under which path it is offered, without the leading slash.
    pub path: Arc<str>,
    /// By what name the catalog knows it.
    pub tenure: u64,
    /// The shard that it comes to.
    pub home: ShardIndex,
    /// How it comes.
    pub mode: Mode,
    /// What comes; empty when a publisher tells it.
    pub tracks: Vec<PushedTrack>,
}

/// How a stream is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// RTP on TCP connections, behind a head of 4 bytes.
    Tcp,
    /// RTP over UDP.
    Udp,
    /// A client publishes it by ANNOUNCE and RECORD, on whatever shard.
    Rtsp,
}

/// One track that is pushed to a port of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedTrack {
    /// What it carries.
    pub track: Track,
    /// Where it comes to: one port of one or several addresses.
    pub addresses: Vec<SocketAddr>,
    /// The port as the configuration names it, such as `vport 50001`.
    pub port: String,
}

slotmap::new_key_type! {
    /// Names a pusher on its home shard.
    pub struct PusherKey;
}

/// The pushers of one shard.
#[derive(Debug, Default)]
pub struct Pushers {
    slots: SlotMap<PusherKey, Pusher>,
    by_tenure: HashMap<u64, PusherKey>,
    doors: HashMap<Listener, (PusherKey, u8)>,
    lines: HashMap<Conn, Line>,
}

/// One of them.
#[derive(Debug)]
struct Pusher {
    spec: Arc<PusherSpec>,
    offer: Offer,
    inflow: Inflow,
    numbers: Numbers,
    /// For each track who sends it.
    sources: SmallVec<[Source; 2]>,
    reports: Reports,
    /// When a packet was last passed on; None since the stream's last end.
    heard: Option<Time>,
    /// Packets, and connections, of others than the sources.
    strangers: u64,
    /// When it is to be looked at; None when nothing is scheduled.
    wake_at: Option<Time>,
    /// Ports that are still to be opened, by their tracks: another pusher had them until a moment ago.
    closed: Vec<(u8, SocketAddr)>,
    /// Whether the log has it that some cannot be opened.
    is_said_closed: bool,
    /// When that is tried again, and since when it is; None while it is not.
    opens_at: Option<(Time, Time)>,
}

/// Who sends a track: the first, until it is silent.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    from: Option<Origin>,
    /// When a packet of it was last passed on.
    heard: Option<Time>,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Address(SocketAddr),
    Connection(Conn),
}

impl PusherSpec {
    /// The ports that it comes to, by their tracks.
    fn ports(&self) -> impl Iterator<Item = (u8, SocketAddr)> {
        let tracks = self.tracks.iter().zip(0..);
        tracks.flat_map(|(track, index)| track.addresses.iter().map(move |address| (index, *address)))
    }
}

impl Pushers {
    /// Those of a shard, with their ports. Errors are those of listening, with the address.
    pub fn open(
        home: ShardIndex,
        specs: &[Arc<PusherSpec>],
        driver: &mut dyn Driver,
        udp: &mut UdpPairs,
    ) -> Result<Pushers, (SocketAddr, io::Error)> {
        let mut pushers = Pushers::default();
        for spec in specs.iter().filter(|spec| spec.home == home) {
            let key = pushers.add(spec);
            for (track, address) in spec.ports() {
                let opened = pushers.open_port(key, track, address, driver, udp);
                opened.map_err(|error| (address, error))?;
            }
        }
        Ok(pushers)
    }

    /// What there is to say of them; of those that a client publishes, on whatever shard, nothing.
    pub fn reports(&mut self, is_asked: impl Fn(&str) -> bool) -> impl Iterator<Item = PublicationReport> {
        let pushed = self.slots.values_mut();
        let pushed =
            pushed.filter(move |pusher| pusher.spec.mode != Mode::Rtsp && is_asked(&pusher.spec.path));
        pushed.map(|pusher| {
            let state = if pusher.heard.is_some() { StreamState::Running } else { StreamState::Idle };
            let sender = pusher.sources.iter().find_map(|source| match source.from {
                Some(Origin::Address(address)) => Some(address),
                _ => None,
            });
            let tracks = pusher.spec.tracks.iter().map(|pushed| pushed.track.clone()).collect();
            let report = pusher.offer.report(state, sender, Some(pusher.numbers.missing));
            if report.tracks.is_empty() { PublicationReport { tracks, ..report } } else { report }
        })
    }

    /// Adds those of a shard that are not there yet. Their ports are opened later.
    pub fn add_new(&mut self, home: ShardIndex, specs: &[Arc<PusherSpec>]) {
        for spec in specs.iter().filter(|spec| spec.home == home) {
            if !self.by_tenure.contains_key(&spec.tenure) {
                let key = self.add(spec);
                self.slots[key].closed = spec.ports().collect();
            }
        }
    }

    fn add(&mut self, spec: &Arc<PusherSpec>) -> PusherKey {
        let key = self.slots.insert(Pusher::new(spec.clone()));
        self.by_tenure.insert(spec.tenure, key);
        key
    }

    /// The pusher that the catalog knows by this name.
    pub fn find(&self, tenure: u64) -> Option<PusherKey> {
        self.by_tenure.get(&tenure).copied()
    }

    /// Whether a connection is one of a sender.
    pub fn has_conn(&self, conn: Conn) -> bool {
        self.lines.contains_key(&conn)
    }

    /// Whether senders connect to a listener.
    pub fn has_door(&self, listener: Listener) -> bool {
        self.doors.contains_key(&listener)
    }

    fn open_port(
        &mut self,
        key: PusherKey,
        track: u8,
        address: SocketAddr,
        driver: &mut dyn Driver,
        udp: &mut UdpPairs,
    ) -> io::Result<()> {
        if self.slots[key].spec.mode == Mode::Tcp {
            let (listener, _) = driver.listen(address)?;
            self.doors.insert(listener, (key, track));
        } else {
            let options = UdpOptions { ingest: true, ..UdpOptions::default() };
            let (socket, _) = driver.bind(address, &options)?;
            // Reports come to the same port, or to that of another track.
            udp.register_socket(socket, Arriving { sender: Sender::Pusher(key), track, is_media: true });
        }
        Ok(())
    }

    /// The streams that have begun.
    pub fn relays(&mut self) -> impl Iterator<Item = &mut Relay> {
        self.slots.values_mut().filter_map(|pusher| pusher.offer.relay())
    }

    fn keys(&self) -> Vec<PusherKey> {
        self.slots.keys().collect()
    }

    fn get_mut(&mut self, key: PusherKey) -> Option<&mut Pusher> {
        self.slots.get_mut(key)
    }
}

impl Pusher {
    fn new(spec: Arc<PusherSpec>) -> Pusher {
        Pusher {
            offer: Offer::new(spec.path.clone(), None),
            inflow: Inflow::default(),
            numbers: Numbers::default(),
            sources: spec.tracks.iter().map(|_| Source::default()).collect(),
            reports: Reports::default(),
            heard: None,
            strangers: 0,
            wake_at: None,
            closed: Vec::new(),
            is_said_closed: false,
            opens_at: None,
            spec,
        }
    }
}
