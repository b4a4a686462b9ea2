//! The shards' threads: started together, told to stop together.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::threads;
use crate::driver::Backend;
use crate::media::library::Library;
use crate::shard::inbox::{Inbox, Message, Outside};
use crate::shard::settings::Settings;
use crate::shard::{ClientPorts, Ports, Shard};
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
}

/// What every shard is given.
#[derive(Clone)]
pub struct Common {
    /// Which driver.
    pub backend: Backend,
    /// What to obey.
    pub settings: Arc<Settings>,
    /// Files.
    pub library: Arc<dyn Library>,
    /// Live streams.
    pub catalog: Arc<dyn Catalog>,
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
                let _ = ended.send(start.run());
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

    /// Reports the shards that end; the first to do so without being told is a failure.
    pub fn ended(&self) -> &Receiver<Result<(), ShardError>> {
        &self.ended
    }

    /// Tells every shard to say goodbye, and waits until all are gone.
    pub fn stop(self) {
        for outside in &self.outsides {
            outside.send(Message::Shutdown);
        }
        for thread in self.threads {
            // A shard that panicked has said so already.
            let _ = thread.join();
        }
    }
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
        let driver = self.common.backend.driver().map_err(|error| ShardError::Driver(name, error))?;
        let (inbox, outside) = Inbox::new(self.index, driver.waker());
        let _ = self.introduce.send(outside);
        drop(self.introduce);
        let Ok(shards) = self.told.recv() else { return Ok(()) };
        let ports = Ports {
            driver,
            library: self.common.library,
            catalog: self.common.catalog,
            inbox,
            shards,
            client_ports: self.client_ports,
            random: SmallRng::from_rng(&mut rand::rng()),
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
