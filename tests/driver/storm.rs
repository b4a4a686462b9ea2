//! Everything at once, by a seeded order: what each client got is a prefix of what was meant for it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use proto::io::{Conn, Op, Piece, Pieces};

use super::rig::{Make, Rig, Seen, pattern};

/// Connections over the whole storm.
const CLIENTS: u32 = 60;

/// Connections at one time.
const AT_ONCE: usize = 12;

/// A connection as the storm sees it.
struct Client {
    thread: JoinHandle<Vec<u8>>,
    /// What was given to the driver for it.
    sent: Vec<u8>,
    /// Whether it is being closed or moved.
    leaves: bool,
    sends: usize,
}

pub fn a_storm_mixes_nothing_up(make: Make<'_>) {
    for seed in 1..=2 {
        storm(make, seed);
    }
}

fn storm(make: Make<'_>, seed: u64) {
    let mut rig = Rig::new(make());
    let (_, address) = rig.listen("127.0.0.1:0");
    let mut random = Random(seed);
    let mut threads = HashMap::new();
    let mut clients: HashMap<Conn, Client> = HashMap::new();
    let mut done = 0;
    let mut opened = 0;
    let mut idle_turns = 0;
    while done < CLIENTS {
        while opened < CLIENTS && threads.len() + clients.len() < AT_ONCE {
            let (local, thread) = client(address, opened, &mut random);
            threads.insert(local, thread);
            opened += 1;
        }
        rig.turn(Duration::from_millis(5));
        idle_turns = if rig.seen.is_empty() { idle_turns + 1 } else { 0 };
        assert!(idle_turns < 4_000, "seed {seed}: stuck with {done} done");
        for seen in rig.seen.drain(..) {
            match seen {
                Seen::Accepted { conn, peer, .. } => {
                    let thread = threads.remove(&peer).expect("only our clients connect");
                    let client = Client { thread, sent: Vec::new(), leaves: false, sends: 0 };
                    assert!(clients.insert(conn, client).is_none(), "a name is free before it is given");
                }
                Seen::Sent(conn) => clients.get_mut(&conn).expect("a name that is in use").sends -= 1,
                Seen::Received(conn, bytes) => {
                    assert!(clients.contains_key(&conn));
                    assert!(bytes.iter().all(|byte| *byte == b'?'));
                }
                Seen::Ended(conn, _) => assert!(clients.contains_key(&conn)),
                Seen::Closed(conn) => {
                    let client = clients.remove(&conn).expect("closed once");
                    assert!(client.leaves);
                    let got = client.thread.join().unwrap();
                    assert!(client.sent.starts_with(&got), "seed {seed}: {} bytes for {conn:?}", got.len());
                    done += 1;
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        for (conn, client) in clients.iter_mut().filter(|(_, client)| !client.leaves) {
            act(&mut rig, *conn, client, &mut random);
        }
    }
    rig.idle();
    assert!(rig.seen.is_empty(), "seed {seed}: {:?}", rig.seen);
}

/// One thing, or nothing, happens to a connection.
fn act(rig: &mut Rig, conn: Conn, client: &mut Client, random: &mut Random) {
    match random.below(20) {
        0..8 if client.sends == 0 => {
            let count = 1 + random.below(4);
            let pieces = (0..count).map(|_| {
                let size_max = if random.below(10) == 0 { 600_000 } else { 20_000 };
                let size = 1 + random.below(size_max);
                let bytes = pattern(size as usize, random.below(256) as u8);
                client.sent.extend_from_slice(&bytes);
                Piece::Shared(Bytes::from(bytes))
            });
            let pieces = Pieces::from_iter(pieces);
            rig.driver.submit(Op::Send { conn, pieces });
            client.sends = 1;
        }
        8 => rig.driver.submit(Op::Stop(conn)),
        9..12 => rig.driver.submit(Op::Resume(conn)),
        12 => {
            rig.driver.submit(Op::Close(conn));
            client.leaves = true;
        }
        _ => {}
    }
}

/// A client that asks, reads, and sometimes leaves early.
fn client(address: SocketAddr, number: u32, random: &mut Random) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let local = stream.local_addr().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let asks = random.below(40_000) as usize;
    let leaves_after = if number.is_multiple_of(5) { random.below(100_000) as usize } else { usize::MAX };
    let thread = thread::spawn(move || {
        // Whoever is closed in the middle of it has said enough.
        let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
        let _ = stream.write_all(&vec![b'?'; asks]);
        let mut got = Vec::new();
        let mut buffer = vec![0; 30_000];
        while got.len() < leaves_after {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(size) => got.extend_from_slice(&buffer[..size]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("client {number}: {error}"),
            }
        }
        got
    });
    (local, thread)
}

/// Numbers that one seed decides (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
