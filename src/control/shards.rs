//! The shards' threads: started together, told to stop together.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::threads;
use crate::config::ZeroCopy;
use crate::driver::Backend;
use crate::media::library::Library;
use crate::shard::inbox::{Inbox, Message, Outside};
use crate::shard::names::Names;
use crate::shard::settings::Settings;
use crate::shard::{ClientPorts, Ports, Shard, Tapped};
use crate::stream::catalog::{Catalog, ShardIndex};

/// Why a shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// No driver, or it is broken.
    #[error("the {0} driver failed: {1}")]
    Driver(&'static str, io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// No thread.
    #[error("no thread for a shard: {0}")]
    Thread(io::Error),
    /// Our bug.
    #[error("shard {0} has failed, which is a bug: {1}")]
    Panicked(ShardIndex, String),
}

/// What every shard is given.
#[derive(Clone)]
pub struct Common {
    /// Which driver.
    pub backend: Backend,
    /// When its sends lend their bytes.
    pub zero_copy: ZeroCopy,
    /// What to obey.
    pub settings: Arc<Settings>,
    /// Files.
    pub library: Arc<dyn Library>,
    /// Live streams.
    pub catalog: Arc<dyn Catalog>,
    /// Addresses of other servers.
    pub names: Arc<dyn Names>,
}

/// All shards.
pub struct Shards {
    outsides: Vec<Outside>,
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<Result<(), ShardError>>,
}

impl Shards {
    /// Starts `count` shards; returns when all of them listen.
    pub fn start(count: u16, common: &Common) -> Result<Shards, ShardError> {
        let client_ports = Arc::new(ClientPorts::default());
        let (ended_sender, ended) = unbounded();
        let mut threads = Vec::new();
        let mut seeds = Vec::new();
        let (introduce, introduced) = unbounded();
        let (report, reported) = unbounded();
        for index in 0..count {
            let (everyone, told) = bounded(1);
            seeds.push(everyone);
            let start = Start {
                index,
                common: common.clone(),
                client_ports: client_ports.clone(),
                introduce: introduce.clone(),
                told,
                report: report.clone(),
            };
            let ended = ended_sender.clone();
            let thread = thread::Builder::new().name(format!("shard {index}")).spawn(move || {
                threads::pin(index);
                // Nobody listens any more only when the program is over.
                let _ = ended.send(supervise(index, || start.run()));
            });
            threads.push(thread.map_err(ShardError::Thread)?);
        }
        drop((introduce, report));
        let mut outsides: Vec<Outside> = introduced.iter().take(usize::from(count)).collect();
        outsides.sort_by_key(|outside| outside.shard);
        for everyone in seeds {
            let _ = everyone.send(outsides.clone());
        }
        for result in reported.iter().take(usize::from(count)) {
            result?;
        }
        if outsides.len() < usize::from(count)
            && let Ok(Err(error)) = ended.recv()
        {
            return Err(error);
        }
        Ok(Shards { outsides, threads, ended })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.outsides.len()
    }

    /// Has every shard that turns answer with its number.
    pub fn call_roll(&self, answer: &Sender<ShardIndex>) {
        for outside in &self.outsides {
            outside.send(Message::RollCall(answer.clone()));
        }
    }

    /// The ways into them, by index.
    pub fn outsides(&self) -> &[Outside] {
        &self.outsides
    }

    /// Reports the shards that end; the first to do so without being told is a failure.
    pub fn ended(&self) -> &Receiver<Result<(), ShardError>> {
        &self.ended
    }

    /// Tells every shard something.
    pub fn tell(&self, message: impl Fn() -> Message) {
        for outside in &self.outsides {
            outside.send(message());
        }
    }

    /// Tells every shard to say goodbye, and waits until all are gone.
    pub fn stop(self) {
        self.tell(|| Message::Shutdown);
        for thread in self.threads {
            // What it ended with was reported.
            let _ = thread.join();
        }
    }
}

/// Runs a shard to its end. A panic, whose place is in the log by then, is a failure like any other: half a server
/// would go on refusing the clients that the kernel gives to the shard that is gone.
fn supervise(index: ShardIndex, run: impl FnOnce() -> Result<(), ShardError>) -> Result<(), ShardError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(ShardError::Panicked(index, text.unwrap_or("no reason given").to_owned()))
    })
}

/// One shard on its way into life.
struct Start {
    index: ShardIndex,
    common: Common,
    client_ports: Arc<ClientPorts>,
    introduce: Sender<Outside>,
    told: Receiver<Vec<Outside>>,
    report: Sender<Result<(), ShardError>>,
}

impl Start {
    fn run(self) -> Result<(), ShardError> {
        let name = self.common.backend.name();
        let driver = self
            .common
            .backend
            .driver(self.common.zero_copy)
            .map_err(|error| ShardError::Driver(name, error))?;
        let (inbox, outside) = Inbox::new(self.index, driver.waker());
        let _ = self.introduce.send(outside);
        drop(self.introduce);
        let Ok(shards) = self.told.recv() else { return Ok(()) };
        let ports = Ports {
            driver: Tapped::new(driver),
            library: self.common.library,
            catalog: self.common.catalog,
            names: self.common.names,
            inbox,
            shards,
            client_ports: self.client_ports,
            random: StdRng::from_rng(&mut rand::rng()),
        };
        let mut shard = match Shard::new(self.index, self.common.settings, ports) {
            Ok(shard) => {
                let _ = self.report.send(Ok(()));
                drop(self.report);
                shard
            }
            Err((address, error)) => {
                let _ = self.report.send(Err(ShardError::Listen(address, error)));
                return Ok(());
            }
        };
        loop {
            match shard.turn() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(ShardError::Driver(name, error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::config::BackendChoice;
    use crate::control::names::SystemNames;
    use crate::media::library::{FileInfo, ReplyTo, Ticket, Wanted};
    use crate::media::memory::{MemoryLibrary, Presentation};
    use crate::shard::SessionId;
    use crate::shard::settings::Listen;
    use crate::stream::catalog::{Claim, Grant, StreamId, StreamName, Subscriber, Want};

    /// A library that has a fault, which strikes the shard that asks for it.
    struct Faulty(MemoryLibrary);

    impl Library for Faulty {
        fn describe(&self, path: &str, _: &[(String, String)], ticket: Ticket, reply: &ReplyTo) {
            assert!(!path.contains("fault"), "a fault on purpose");
            self.0.describe(path, &[], ticket, reply);
        }

        fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) {
            self.0.segment(file, wanted, ticket, reply);
        }
    }

    struct NoStreams;

    impl Catalog for NoStreams {
        fn attend(&self, _: Subscriber) {}

        fn claim(&self, _: Claim) {}

        fn release(&self, _: Grant) {}

        fn owns(&self, _: &str) -> bool {
            false
        }

        fn subscribe(&self, _: &StreamName, _: Subscriber) {}

        fn unsubscribe(&self, _: &str, _: StreamId, _: ShardIndex) {}

        fn want(&self, _: &str, _: StreamId, _: Want) {}

        fn name_stream(&self) -> StreamId {
            1
        }
    }

    /// A viewer that is set up, and the shard it is on.
    fn viewer(server: SocketAddr) -> (TcpStream, String, ShardIndex) {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
            .write_all(b"SETUP /film/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0].into());
        }
        let (_, id) = answer.split_once("Session: ").unwrap();
        let id = id[..16].to_owned();
        let shard = SessionId::parse(&id).unwrap().shard();
        (stream, id, shard)
    }

    #[test]
    fn a_panic_is_a_failure_that_says_why() {
        assert!(supervise(3, || Ok(())).is_ok());
        let plain = supervise(3, || panic!("a fault on purpose"));
        assert!(matches!(plain, Err(ShardError::Panicked(3, why)) if why == "a fault on purpose"));
        let composed = supervise(3, || panic!("fault {}", 7));
        assert!(matches!(composed, Err(ShardError::Panicked(3, why)) if why == "fault 7"));
    }

    #[test]
    fn a_shard_that_panics_ends_the_program_and_viewers_of_the_others_get_bye() {
        let library = MemoryLibrary::new(1_400);
        library.add("film", Presentation::default());
        let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let common = Common {
            zero_copy: ZeroCopy::Auto,
            backend: Backend::choose(BackendChoice::Fallback).unwrap(),
            settings: Arc::new(Settings { listen: vec![Listen::rtsp(place)], ..Settings::default() }),
            library: Arc::new(Faulty(library)),
            catalog: Arc::new(NoStreams),
            names: Arc::new(SystemNames::default()),
        };
        let shards = Shards::start(2, &common).unwrap();
        let (mut watching, session, shard) = viewer(place);
        write!(watching, "PLAY /film RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n").unwrap();
        let mut came = vec![0; 2_000];
        // The answer and the first packets: there is something to end.
        watching.read_exact(&mut came).unwrap();
        let mut other = (0..100).map(|_| viewer(place)).find(|other| other.2 != shard).unwrap();
        other.0.write_all(b"DESCRIBE /fault RTSP/1.0\r\nCSeq: 2\r\n\r\n").unwrap();
        let ended = shards.ended().recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(matches!(ended, Err(ShardError::Panicked(index, _)) if index == other.2), "{ended:?}");
        shards.stop();
        watching.read_to_end(&mut came).unwrap();
        // A compound of a report, a name and BYE (RFC 3550 section 6.6) on the channel of reports, as the last word.
        let last = came.windows(2).rposition(|pair| pair == b"$\x01").unwrap();
        assert!(came[last..].windows(2).any(|pair| pair == [0x81, 203]), "{:x?}", &came[last..]);
    }
}
