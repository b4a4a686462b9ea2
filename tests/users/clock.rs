//! What depends on time, under a clock of its own: two shards in one thread, and not a second to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::io::Driver;
use proto::rtsp::auth::{Account, Guard, NonceKey};
use proto::rtsp::digest::Algorithm;
use proto::time::Time;
use rand::SeedableRng;
use rand::rngs::StdRng;
use ringcaster::config::origin::Place;
use ringcaster::config::{Password, User};
use ringcaster::driver::sim::{Net, Status, Weather, Wire};
use ringcaster::media::memory::{MemoryLibrary, Presentation};
use ringcaster::shard::gate::Access;
use ringcaster::shard::inbox::Inbox;
use ringcaster::shard::names::{AddressesReply, Names};
use ringcaster::shard::settings::{Listen, Settings};
use ringcaster::shard::{ClientPorts, Ports, Shard, Tapped};
use ringcaster::stream::catalog::{
    Catalog, Claim, Grant, ShardIndex, StreamId, StreamName, Subscriber, Want,
};

use super::{PASSWORD, USER};
use crate::client::login::{Login, is_stale};
use crate::client::{Message, Response, parse};
use crate::upstream::digest::Lock;

const URL: &str = "rtsp://192.0.2.1/film";
const SERVER: &str = "192.0.2.1:554";

/// How long a ban lasts here.
const BAN: Duration = Duration::from_secs(100);

/// Two shards that ask everybody, and ban after six failures.
struct World {
    net: Net,
    shards: Vec<Shard>,
    ports: u16,
}

impl World {
    fn new() -> World {
        let net = Net::new(1, Weather::default());
        let drivers = [net.driver(), net.driver()];
        let (inboxes, outsides): (Vec<_>, Vec<_>) =
            drivers.iter().zip(0..).map(|(driver, index)| Inbox::new(index, driver.waker())).unzip();
        let library = MemoryLibrary::new(1_400);
        library.add("film", Presentation::default());
        let (library, client_ports) = (Arc::new(library), Arc::new(ClientPorts::default()));
        let settings = Arc::new(Settings {
            listen: vec![Listen::rtsp(SERVER.parse().unwrap())],
            access: Some(Arc::new(access())),
            ..Settings::default()
        });
        let shard = |((driver, inbox), index)| {
            let ports = Ports {
                driver: Tapped::new(Box::new(driver)),
                library: library.clone(),
                catalog: Arc::new(Nothing),
                names: Arc::new(Nothing),
                inbox,
                shards: outsides.clone(),
                client_ports: client_ports.clone(),
                random: StdRng::seed_from_u64(u64::from(index)),
            };
            Shard::new(index, settings.clone(), ports).expect("it listens")
        };
        let shards = drivers.into_iter().zip(inboxes).zip(0..).map(shard).collect();
        World { net, shards, ports: 1_000 }
    }

    fn connect(&mut self, ip: &str) -> Wire {
        self.ports += 1;
        self.net.connect(1, SocketAddr::new(ip.parse().unwrap(), self.ports), SERVER.parse().unwrap())
    }

    /// Lets everything happen up to a time, or until `done`.
    fn run(&mut self, end: Time, mut done: impl FnMut(&Net) -> bool) {
        loop {
            let mut is_busy = false;
            for (host, shard) in self.shards.iter_mut().enumerate() {
                if self.net.wants_turn(host) {
                    is_busy = true;
                    assert!(shard.turn().expect("the driver works"));
                }
            }
            if done(&self.net) {
                return;
            }
            if is_busy {
                continue;
            }
            let turns = (0..self.shards.len()).filter_map(|host| self.net.turn_due(host));
            let next = turns.chain(self.net.next_arrival()).min().unwrap_or(end);
            if next > end {
                return self.net.advance_to(end);
            }
            self.net.advance_to(next.max(self.net.now() + Duration::from_nanos(1)));
        }
    }

    fn wait(&mut self, time: Duration) {
        self.run(self.net.now() + time, |_| false);
    }

    /// The answer to DESCRIBE; None when the connection is closed instead.
    fn describe(&mut self, wire: Wire, login: Option<&mut Login>) -> Option<Response> {
        let login = login.map(|login| login.authorization("DESCRIBE", URL));
        let login = login.map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
        let request = format!("DESCRIBE {URL} RTSP/1.0\r\nCSeq: 1\r\n{login}\r\n");
        self.net.write(wire, Bytes::from(request));
        let (mut came, mut answer) = (Vec::new(), None);
        let end = self.net.now() + Duration::from_secs(10);
        self.run(end, |net| {
            while let Some(bytes) = net.read(wire, 65_536) {
                came.extend_from_slice(&bytes);
            }
            if let Some((Message::Response(response), _)) = parse(&came) {
                answer = Some(response);
            }
            answer.is_some() || net.status(wire) != Status::Open
        });
        answer
    }

    /// A login for what a connection of an address is asked.
    fn asked(&mut self, ip: &str, password: &str) -> (Wire, Login) {
        let wire = self.connect(ip);
        let answer = self.describe(wire, None).expect("it is asked").expect(401);
        (wire, Login::to(&answer, Lock::Md5, USER, password))
    }

    /// How long the answer to a wrong password takes on a connection of its own, behind which it is closed.
    fn guess(&mut self, ip: &str) -> Duration {
        let (wire, mut login) = self.asked(ip, "guess");
        let began = self.net.now();
        self.describe(wire, Some(&mut login)).expect("it is told").expect(401);
        let took = self.net.now().since(began);
        self.wait(Duration::from_millis(50));
        assert_eq!(self.net.status(wire), Status::Ended);
        took
    }
}

fn access() -> Access {
    let secrets = vec![(Algorithm::MD5, Algorithm::MD5.secret(USER, "rtspserver", PASSWORD))];
    let accounts = vec![Account { name: USER.into(), secrets }];
    Access {
        guard: Guard::new("rtspserver", vec![Algorithm::MD5], false, NonceKey::new([9; 64]), accounts),
        users: vec![User {
            name: USER.into(),
            password: Password::Plain(PASSWORD.into()),
            permissions: Vec::new(),
            place: Place { file: std::path::Path::new("a.xml").into(), line: 1, column: 1 },
        }],
        asks_viewers: true,
        ban_after: Some(6),
        ban: BAN,
    }
}

/// No streams and no names.
struct Nothing;

impl Catalog for Nothing {
    fn owns(&self, _: &str) -> bool {
        false
    }

    fn subscribe(&self, _: &StreamName, _: Subscriber) {}

    fn unsubscribe(&self, _: &str, _: StreamId, _: ShardIndex) {}

    fn want(&self, _: &str, _: StreamId, _: Want) {}

    fn attend(&self, _: Subscriber) {}

    fn claim(&self, _: Claim) {}

    fn release(&self, _: Grant) {}

    fn name_stream(&self) -> StreamId {
        1
    }
}

impl Names for Nothing {
    fn look_up(&self, _: &str, _: u16, _: AddressesReply) {}
}

#[test]
fn a_nonce_is_stale_after_five_minutes_and_the_next_one_is_taken() {
    let mut world = World::new();
    let (wire, mut login) = world.asked("192.0.2.9", PASSWORD);
    world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
    world.wait(Duration::from_secs(298));
    // Connections that ask nothing are closed meanwhile.
    let wire = world.connect("192.0.2.9");
    world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
    world.wait(Duration::from_secs(3));
    let answer = world.describe(wire, Some(&mut login)).expect("an answer");
    assert!(is_stale(&answer), "{answer:?}");
    let mut login = Login::to(&answer, Lock::Md5, USER, PASSWORD);
    world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
}

#[test]
fn a_viewer_who_counts_is_let_in_again_and_again() {
    let mut world = World::new();
    let (wire, login) = world.asked("192.0.2.9", PASSWORD);
    let mut login = login.counted();
    for minute in 0..12 {
        let answer = world.describe(wire, Some(&mut login)).expect("an answer");
        if is_stale(&answer) {
            assert!(minute >= 5, "{minute}");
            login = Login::to(&answer, Lock::Md5, USER, PASSWORD).counted();
            world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
        }
        world.wait(Duration::from_secs(59));
    }
}

#[test]
fn guesses_wait_longer_and_longer_until_their_address_is_banned_for_its_time() {
    let mut world = World::new();
    // Whichever shard a connection comes to has seen some of them.
    let waits: Vec<_> = (0..5).map(|_| world.guess("192.0.2.9")).collect();
    assert!(waits.iter().all(|wait| (200..4_000).contains(&wait.as_millis())), "{waits:?}");
    assert!(waits.iter().max() >= Some(&Duration::from_millis(800)), "{waits:?}");
    // Others do not wait, right answers neither.
    for ip in ["192.0.2.8", "192.0.2.9"] {
        let (wire, mut login) = world.asked(ip, PASSWORD);
        let began = world.net.now();
        world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
        assert!(world.net.now().since(began) < Duration::from_millis(100));
    }
    world.guess("192.0.2.9");
    let banned = world.net.now();
    for _ in 0..4 {
        let wire = world.connect("192.0.2.9");
        assert_eq!(world.describe(wire, None), None, "whatever shard it comes to");
    }
    let (wire, mut login) = world.asked("192.0.2.8", PASSWORD);
    world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
    world.run(banned + BAN - Duration::from_secs(5), |_| false);
    let wire = world.connect("192.0.2.9");
    assert_eq!(world.describe(wire, None), None);
    world.run(banned + BAN + Duration::from_millis(1), |_| false);
    let (wire, mut login) = world.asked("192.0.2.9", PASSWORD);
    world.describe(wire, Some(&mut login)).expect("an answer").expect(200);
    // It begins anew.
    world.guess("192.0.2.9");
    let wire = world.connect("192.0.2.9");
    world.describe(wire, None).expect("it is asked").expect(401);
}

#[test]
fn failures_that_are_long_ago_do_not_count() {
    let mut world = World::new();
    for _ in 0..20 {
        let wait = world.guess("2001:db8::1");
        assert!(wait < Duration::from_millis(300), "{wait:?}");
        world.wait(BAN + Duration::from_secs(1));
    }
}
