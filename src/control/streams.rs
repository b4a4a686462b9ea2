//! The live streams of this program: started by the first shard that wants one, stopped after the last.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, unbounded};
use proto::time::NtpTime;

use crate::media::source::Source;
use crate::stream::catalog::{Catalog, Notice, ShardIndex, StreamError, StreamId, Subscriber};
use crate::stream::publish::Publisher;

/// How long a source runs on with nobody watching.
const LINGER: Duration = Duration::from_secs(5);

/// Makes a source; called each time its stream starts.
pub type MakeSource = Box<dyn Fn() -> Box<dyn Source> + Send>;

/// The catalog's front, shared by all shards. A thread of its own owns what is behind it.
#[derive(Debug)]
pub struct Streams {
    paths: Vec<String>,
    orders: Sender<Order>,
}

enum Order {
    Subscribe { path: Arc<str>, subscriber: Subscriber },
    Unsubscribe { stream: StreamId, shard: ShardIndex },
    Ended { stream: StreamId, unserved: Vec<Command> },
}

enum Command {
    Subscribe { path: Arc<str>, subscriber: Subscriber },
    Unsubscribe(ShardIndex),
}

impl Streams {
    /// Starts the owner of these streams.
    pub fn start(sources: HashMap<String, MakeSource>, mtu_bytes: usize) -> std::io::Result<Streams> {
        let (orders, received) = unbounded();
        let owner = Owner { sources, running: HashMap::new(), orders: orders.clone(), mtu_bytes };
        let paths = owner.sources.keys().cloned().collect();
        thread::Builder::new().name("streams".into()).spawn(move || owner.run(&received))?;
        Ok(Streams { paths, orders })
    }
}

impl Catalog for Streams {
    fn owns(&self, path: &str) -> bool {
        self.paths.iter().any(|own| own == path)
    }

    fn subscribe(&self, path: &Arc<str>, subscriber: Subscriber) {
        // The owner lives as long as the program.
        let _ = self.orders.send(Order::Subscribe { path: path.clone(), subscriber });
    }

    fn unsubscribe(&self, stream: StreamId, shard: ShardIndex) {
        let _ = self.orders.send(Order::Unsubscribe { stream, shard });
    }
}

struct Owner {
    sources: HashMap<String, MakeSource>,
    running: HashMap<Arc<str>, Running>,
    orders: Sender<Order>,
    mtu_bytes: usize,
}

struct Running {
    id: StreamId,
    commands: Sender<Command>,
}

impl Owner {
    fn run(mut self, received: &Receiver<Order>) {
        for order in received {
            match order {
                Order::Subscribe { path, subscriber } => self.subscribe(path, subscriber),
                Order::Unsubscribe { stream, shard } => {
                    if let Some(running) = self.running.values().find(|running| running.id == stream) {
                        let _ = running.commands.send(Command::Unsubscribe(shard));
                    }
                }
                Order::Ended { stream, unserved } => {
                    self.running.retain(|_, running| running.id != stream);
                    for command in unserved {
                        if let Command::Subscribe { path, subscriber } = command {
                            self.subscribe(path, subscriber);
                        }
                    }
                }
            }
        }
    }

    fn subscribe(&mut self, path: Arc<str>, subscriber: Subscriber) {
        if !self.running.contains_key(&path) && !self.start(&path) {
            (subscriber.deliver)(Notice::Subscribed { path, answer: Err(StreamError::NotFound) });
            return;
        }
        let _ = self.running[&path].commands.send(Command::Subscribe { path: path.clone(), subscriber });
    }

    fn start(&mut self, path: &Arc<str>) -> bool {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        let Some(make) = self.sources.get(&**path) else { return false };
        let (commands, received) = unbounded();
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
        let live = Live { id, path: path.clone(), received, mtu_bytes: self.mtu_bytes };
        let (source, orders) = (make(), self.orders.clone());
        let spawned = thread::Builder::new().name(format!("source {path}")).spawn(move || {
            let unserved = live.run(source);
            let _ = orders.send(Order::Ended { stream: id, unserved });
        });
        if let Err(error) = spawned {
            tracing::error!(%path, %error, "no thread for a source");
            return false;
        }
        self.running.insert(path.clone(), Running { id, commands });
        true
    }
}

/// One run of one stream, on a thread of its own.
struct Live {
    id: StreamId,
    path: Arc<str>,
    received: Receiver<Command>,
    mtu_bytes: usize,
}

impl Live {
    /// Runs the source until nobody watches; returns the commands that came too late.
    fn run(self, mut source: Box<dyn Source>) -> Vec<Command> {
        let tracks = match source.tracks() {
            Ok(tracks) => tracks,
            Err(error) => {
                tracing::error!(path = %self.path, %error, "source does not start");
                self.refuse(&StreamError::Unavailable(error.to_string()));
                return Vec::new();
            }
        };
        let origin = NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let mut publisher =
            Publisher::new(self.id, &self.path, tracks, origin, self.mtu_bytes, &mut rand::rng());
        tracing::info!(path = %self.path, "source started");
        let mut idle_since = Instant::now();
        let result = source.run(&mut |frame| {
            self.obey(&mut publisher);
            if !publisher.is_idle() {
                idle_since = Instant::now();
            } else if idle_since.elapsed() > LINGER {
                return ControlFlow::Break(());
            }
            publisher.publish(&frame);
            ControlFlow::Continue(())
        });
        match &result {
            Ok(()) => tracing::info!(path = %self.path, "source stopped: nobody watches"),
            Err(error) => tracing::error!(path = %self.path, %error, "source failed"),
        }
        publisher
            .end(&result.err().map_or_else(|| "the source stopped".to_owned(), |error| error.to_string()));
        self.received.try_iter().collect()
    }

    fn obey(&self, publisher: &mut Publisher) {
        for command in self.received.try_iter() {
            match command {
                Command::Subscribe { path, subscriber } => publisher.subscribe(&path, subscriber),
                Command::Unsubscribe(shard) => publisher.unsubscribe(shard),
            }
        }
    }

    fn refuse(&self, error: &StreamError) {
        for command in self.received.try_iter() {
            if let Command::Subscribe { path, subscriber } = command {
                (subscriber.deliver)(Notice::Subscribed { path, answer: Err(error.clone()) });
            }
        }
    }
}
