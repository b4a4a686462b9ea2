//! Streams that are pulled from other servers (`<proxy>`): each has one home shard, which fetches it once for all.

mod arrive;
mod back_off;
mod events;
mod line;
mod pictures;
mod puller;
mod run;
mod talk;

use std::collections::HashMap;
use std::sync::Arc;

use proto::client::{Credentials, Transfer, Url};
use proto::io::Conn;
use proto::sdp::Session;
use proto::time::Time;
use proto::track::Track;
use slotmap::SlotMap;

use super::datagrams::UdpPair;
use super::inflow::Inflow;
use super::offer::Offer;
use super::session::Numbers;
use super::steering::{ProxyReport, PublicationReport, StreamState};
use super::tls::TlsConfig;
use crate::stream::catalog::ShardIndex;
use crate::stream::relay::Relay;
use back_off::BackOff;
use line::{Leaving, Line};
use puller::{Pictures, Puller};
use talk::Talkback;

/// What is pulled from where; another one takes its place where the configuration changes it.
#[derive(Clone, Debug)]
pub struct ProxySpec {
    /// Under which path it is offered, without the leading slash.
    pub path: Arc<str>,
    /// By what name the catalog knows it.
    pub tenure: u64,
    /// The shard that pulls it.
    pub home: ShardIndex,
    /// Where it is.
    pub url: Url,
    /// Who asks for it; None = whom the URL names.
    pub credentials: Option<Credentials>,
    /// How its packets come.
    pub transfer: Transfer,
    /// Whether it is pulled only while somebody watches.
    pub is_on_demand: bool,
    /// Whether its source is asked for a backchannel when a viewer wants to talk.
    pub backchannel: bool,
    /// How a server is trusted that is asked over TLS.
    pub tls: TlsConfig,
}

slotmap::new_key_type! {
    /// Names a proxy on its home shard.
    pub struct ProxyKey;
}

/// The proxies of one shard.
#[derive(Debug, Default)]
pub struct Proxies {
    /// Empty where one is being worked on.
    slots: SlotMap<ProxyKey, Option<Box<Proxy>>>,
    by_tenure: HashMap<u64, ProxyKey>,
    /// What viewers say goes to a source on a connection of its own: a device that hangs when it is asked for that, or
    /// has one talker only, does no harm to the stream that is pulled.
    talkbacks: HashMap<u64, ProxyKey>,
    by_conn: HashMap<Conn, ProxyKey>,
    /// Connections that are closed when their last words are said.
    leaving: HashMap<Conn, Leaving>,
}

/// One of them.
#[derive(Debug)]
struct Proxy {
    spec: Arc<ProxySpec>,
    offer: Offer,
    phase: Phase,
    back_off: BackOff,
    /// How packets come: what is configured, or what it fell back to.
    transfer: Transfer,
    /// Since when the stream's source is away.
    lost_at: Option<Time>,
    /// Why it is away.
    failure: Option<String>,
    /// How it stood when that changed last: it is there, or why it is not.
    told: Option<Result<(), String>>,
    /// When it is to be looked at; None when nothing is scheduled.
    wake_at: Option<Time>,
    /// Of a connection that only takes what viewers say; None where a stream is pulled.
    talkback: Option<Box<Talkback>>,
}

#[derive(Debug)]
enum Phase {
    /// Nobody wants it.
    Idle,
    /// Until it is tried again.
    Waiting(Time),
    /// It is pulled, or about to be.
    Running(Box<Run>),
}

/// One attempt, from the first connection to its end.
#[derive(Debug)]
struct Run {
    client: Puller,
    /// Makes packets of an HTTP server's pictures; None with RTSP.
    pictures: Option<Pictures>,
    line: Line,
    /// What the server has described; None before.
    described: Option<Box<Session>>,
    /// The tracks that are set up, in the stream's order, each with its media's index.
    tracks: Vec<(usize, Track)>,
    inflow: Inflow,
    numbers: Numbers,
    /// The ports that were made for a media, until it is known how its track comes.
    ports: Option<(usize, UdpPair)>,
    /// Whether the stream goes on with this attempt's packets.
    has_begun: bool,
    /// Since when the server plays.
    plays_since: Option<Time>,
    /// When media came last.
    heard: Option<Time>,
    /// What the connection's last error was.
    error: Option<String>,
    /// Whether the same would happen again at once: nobody needs to wait for another attempt.
    is_hopeless: bool,
    /// Whether it is to end: nobody wants it.
    is_leaving: bool,
}

impl Proxies {
    /// Those of a shard.
    pub fn new(home: ShardIndex, specs: &[Arc<ProxySpec>]) -> Proxies {
        let mut proxies = Proxies::default();
        proxies.add_new(home, specs);
        proxies
    }

    /// Adds those of a shard that are not there yet.
    pub fn add_new(&mut self, home: ShardIndex, specs: &[Arc<ProxySpec>]) {
        for spec in specs.iter().filter(|spec| spec.home == home) {
            if self.by_tenure.contains_key(&spec.tenure) {
                continue;
            }
            let key = self.slots.insert(Some(Box::new(Proxy::new(spec.clone()))));
            self.by_tenure.insert(spec.tenure, key);
            if spec.backchannel {
                let proxy = Proxy { talkback: Some(Box::default()), ..Proxy::new(spec.clone()) };
                self.talkbacks.insert(spec.tenure, self.slots.insert(Some(Box::new(proxy))));
            }
        }
    }

    /// Takes out all but these.
    fn take_others(&mut self, specs: &[Arc<ProxySpec>]) -> Vec<Proxy> {
        let is_gone = |tenure: &u64| !specs.iter().any(|spec| spec.tenure == *tenure);
        let streams = self.by_tenure.extract_if(|tenure, _| is_gone(tenure));
        let talkbacks = self.talkbacks.extract_if(|tenure, _| is_gone(tenure));
        let mut keys: Vec<_> = streams.chain(talkbacks).map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.into_iter().filter_map(|key| self.slots.remove(key).flatten()).map(|proxy| *proxy).collect()
    }

    /// The proxy that the catalog knows by this name.
    pub fn find(&self, tenure: u64) -> Option<ProxyKey> {
        self.by_tenure.get(&tenure).copied()
    }

    /// Whether a connection is one to another server.
    pub fn has_conn(&self, conn: Conn) -> bool {
        self.by_conn.contains_key(&conn) || self.leaving.contains_key(&conn)
    }

    /// The streams that have begun.
    pub fn relays(&mut self) -> impl Iterator<Item = &mut Relay> {
        self.slots.values_mut().flatten().filter_map(|proxy| proxy.offer.relay())
    }

    /// What there is to say of the streams that are asked for.
    pub fn reports(&mut self, is_asked: impl Fn(&str) -> bool) -> impl Iterator<Item = PublicationReport> {
        self.pulled().filter(move |proxy| is_asked(&proxy.spec.path)).map(|proxy| {
            let state = proxy.state();
            let missing = proxy.run().filter(|run| run.pictures.is_none()).map(|run| run.numbers.missing);
            proxy.offer.report(state, None, missing)
        })
    }

    /// What there is to say of how they are pulled: all, or the one of this path.
    pub fn accounts(&mut self, path: Option<&str>) -> impl Iterator<Item = ProxyReport> {
        let asked = self.pulled().filter(move |proxy| path.is_none_or(|path| *proxy.spec.path == *path));
        asked.map(|proxy| ProxyReport {
            path: proxy.spec.path.clone(),
            state: proxy.state(),
            is_connected: proxy.run().is_some_and(|run| matches!(run.line.state, line::State::Open(_))),
            transfer: (!proxy.spec.url.scheme.is_http()).then_some(proxy.transfer),
            failure: proxy.failure.clone(),
        })
    }

    fn pulled(&mut self) -> impl Iterator<Item = &mut Box<Proxy>> {
        self.slots.values_mut().flatten().filter(|proxy| proxy.talkback.is_none())
    }

    fn keys(&self) -> Vec<ProxyKey> {
        self.slots.keys().collect()
    }

    fn slot(&mut self, key: ProxyKey) -> Option<&mut Option<Box<Proxy>>> {
        self.slots.get_mut(key)
    }
}

impl Run {
    /// Before its first connection.
    fn new(client: Puller) -> Run {
        Run {
            client,
            pictures: None,
            line: Line::default(),
            described: None,
            tracks: Vec::new(),
            inflow: Inflow::default(),
            numbers: Numbers::default(),
            ports: None,
            has_begun: false,
            plays_since: None,
            heard: None,
            error: None,
            is_hopeless: false,
            is_leaving: false,
        }
    }
}

impl Proxy {
    fn new(spec: Arc<ProxySpec>) -> Proxy {
        Proxy {
            offer: Offer::new(spec.path.clone(), None),
            phase: Phase::Idle,
            back_off: BackOff::default(),
            transfer: spec.transfer,
            lost_at: None,
            failure: None,
            told: None,
            wake_at: None,
            talkback: None,
            spec,
        }
    }

    fn state(&self) -> StreamState {
        match (&self.phase, self.lost_at) {
            (_, Some(_)) | (Phase::Waiting(_), None) => StreamState::Lost,
            (Phase::Idle, None) => StreamState::Idle,
            (Phase::Running(_), None) => StreamState::Running,
        }
    }

    /// Whether anybody wants it.
    fn is_wanted(&mut self) -> bool {
        !self.spec.is_on_demand || !self.offer.is_idle()
    }

    fn run(&mut self) -> Option<&mut Run> {
        match &mut self.phase {
            Phase::Running(run) => Some(run),
            Phase::Idle | Phase::Waiting(_) => None,
        }
    }
}
