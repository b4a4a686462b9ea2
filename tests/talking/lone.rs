//! One shard in this process, beside a thread that looks at what it holds: its path `/door` is a stream without
//! pictures, whose source takes sound.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use proto::client::{Transfer, Url};
use proto::time::NtpTime;
use proto::track::{Codec, Law, Track};
use rand::SeedableRng;
use rand::rngs::StdRng;
use ringcaster::config::{BackendChoice, ZeroCopy};
use ringcaster::driver;
use ringcaster::media::memory::MemoryLibrary;
use ringcaster::shard::inbox::{Inbox, Message, Outside};
use ringcaster::shard::names::{AddressesReply, Names};
use ringcaster::shard::proxy::ProxySpec;
use ringcaster::shard::settings::{Listen, Settings};
use ringcaster::shard::tls::TlsConfig;
use ringcaster::shard::{ClientPorts, Ports, Shard, Tapped};
use ringcaster::stream::catalog::{
    Catalog, Claim, Description, Grant, Notice, ShardIndex, Snapshot, StreamId, StreamName, Subscriber, Want,
};

use super::door::Door;
use crate::server::{Backend, free_ports};

/// A shard that runs until the test lets go of it.
pub(crate) struct LoneShard {
    port: u16,
    outside: Outside,
    questions: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A catalog of one stream, of which no packet ever comes.
struct Silent;

struct NoNames;

impl LoneShard {
    pub(crate) fn start(backend: Backend, door: &Door) -> LoneShard {
        let (port, url) = (free_ports(), Url::parse(&door.url()).unwrap());
        let (introduce, introduced) = mpsc::channel();
        let questions = Arc::new(AtomicUsize::new(0));
        let counted = questions.clone();
        let thread = thread::spawn(move || {
            let (mut shard, outside) = shard(backend, port, url);
            introduce.send(outside).unwrap();
            while shard.turn().unwrap() {
                counted.store(shard.census().questions, Ordering::Relaxed);
            }
        });
        LoneShard { port, outside: introduced.recv().unwrap(), questions, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://{}/door", self.address())
    }

    /// How many questions of the shard had no answer behind its last turn.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}

impl Drop for LoneShard {
    fn drop(&mut self) {
        self.outside.send(Message::Shutdown);
        let has_panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!has_panicked || thread::panicking(), "the shard has failed");
    }
}

impl Catalog for Silent {
    fn attend(&self, _: Subscriber) {}

    fn claim(&self, _: Claim) {}

    fn release(&self, _: Grant) {}

    fn owns(&self, path: &str) -> bool {
        path == "door"
    }

    fn subscribe(&self, name: &StreamName, subscriber: Subscriber) {
        let codec = Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 };
        let description = Arc::new(Description {
            id: self.name_stream(),
            name: name.clone(),
            tracks: vec![Track::new(codec, 0)],
            ssrc: vec![1],
            timestamp_base: vec![0],
            origin: NtpTime::default(),
            audience: Arc::default(),
        });
        let answer = Ok(Snapshot { description, batches: Vec::new() });
        (subscriber.deliver)(Notice::Subscribed { name: name.clone(), answer });
    }

    fn unsubscribe(&self, _: &str, _: StreamId, _: ShardIndex) {}

    fn want(&self, _: &str, _: StreamId, _: Want) {}

    fn name_stream(&self) -> StreamId {
        1
    }
}

impl Names for NoNames {
    fn look_up(&self, host: &str, _: u16, reply: AddressesReply) {
        reply(Err(format!("{host} is not known here")));
    }
}

fn shard(backend: Backend, port: u16, url: Url) -> (Shard, Outside) {
    let choice = match backend {
        Backend::Uring => BackendChoice::Uring,
        Backend::Fallback | Backend::Windows(_) => BackendChoice::Fallback,
    };
    let driver = driver::Backend::choose(choice).unwrap().driver(ZeroCopy::Auto).unwrap();
    let (inbox, outside) = Inbox::new(0, driver.waker());
    let proxy = ProxySpec {
        path: "door".into(),
        tenure: 1,
        home: 0,
        url,
        credentials: None,
        transfer: Transfer::Tcp,
        is_on_demand: true,
        backchannel: true,
        tls: TlsConfig::new(false),
    };
    let settings = Settings {
        listen: vec![Listen::rtsp((Ipv4Addr::LOCALHOST, port).into())],
        proxies: vec![Arc::new(proxy)],
        ..Settings::default()
    };
    let ports = Ports {
        driver: Tapped::new(driver),
        library: Arc::new(MemoryLibrary::new(1_400)),
        catalog: Arc::new(Silent),
        names: Arc::new(NoNames),
        inbox,
        shards: vec![outside.clone()],
        client_ports: Arc::new(ClientPorts::default()),
        random: StdRng::seed_from_u64(1),
    };
    (Shard::new(0, Arc::new(settings), ports).unwrap(), outside)
}
