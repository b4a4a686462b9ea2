//! Many clients, and too many.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use proto::io::{Conn, Op, UdpOptions};

use super::again;
use super::rig::{Make, Rig, Seen, pattern};

pub fn two_thousand_clients_come_and_go(make: Make<'_>) {
    const AT_ONCE: usize = 100;
    let mut rig = Rig::new(make());
    let (_, address) = rig.listen("127.0.0.1:0");
    for round in 0..20 {
        rig.seen.clear();
        let clients: Vec<_> = (0..AT_ONCE).map(|_| TcpStream::connect(address).unwrap()).collect();
        rig.until(|rig| (names(rig).len() == AT_ONCE).then_some(()));
        let names = names(&rig);
        assert!(names.iter().all(|conn| (conn.index as usize) < 2 * AT_ONCE), "places are used again");
        if round % 2 == 0 {
            // They leave first.
            drop(clients);
            rig.until(|rig| names.iter().all(|conn| !rig.ends(*conn).is_empty()).then_some(()));
        }
        names.iter().for_each(|conn| rig.driver.submit(Op::Close(*conn)));
        rig.until(|rig| names.iter().all(|conn| rig.count_closed(*conn) == 1).then_some(()));
    }
}

pub fn two_hundred_clients_are_served_at_once(make: Make<'_>) {
    const CLIENTS: usize = 200;
    let mut rig = Rig::new(make());
    let (_, address) = rig.listen("127.0.0.1:0");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (client, index) in clients.iter_mut().zip(0_u32..) {
        client.write_all(&index.to_be_bytes()).unwrap();
    }
    let mut requests = HashMap::new();
    rig.until(|rig| {
        for conn in names(rig) {
            requests.insert(conn, rig.received(conn));
        }
        (requests.values().filter(|bytes| bytes.len() == 4).count() == CLIENTS).then_some(())
    });
    for (conn, request) in &requests {
        rig.send(*conn, [&request[..], &pattern(200_000, request[3])].concat());
    }
    let readers: Vec<_> = clients
        .into_iter()
        .zip(0_u32..)
        .map(|(mut client, index)| {
            thread::spawn(move || {
                let mut answer = vec![0; 200_004];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(answer[..4], index.to_be_bytes());
                assert!(answer[4..] == pattern(200_000, index as u8)[..], "client {index}");
            })
        })
        .collect();
    rig.until(|rig| requests.keys().all(|conn| rig.count_sent(*conn) == 1).then_some(()));
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

pub fn more_input_at_once_than_a_turn_takes_is_all_heard(make: Make<'_>) {
    const CLIENTS: usize = 60;
    let mut rig = Rig::new(make());
    let (_, address) = rig.listen("127.0.0.1:0");
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    rig.until(|rig| (names(rig).len() == CLIENTS).then_some(()));
    let by_peer: HashMap<_, _> = rig.seen.iter().filter_map(accepted).collect();
    // All of it is there before the driver looks: 100 kB each, 6 MB in all.
    let writers: Vec<_> = clients
        .iter_mut()
        .zip(0_u8..)
        .map(|(client, seed)| {
            let mut client = client.try_clone().unwrap();
            thread::spawn(move || client.write_all(&pattern(100_000, seed)).unwrap())
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    let mut left = CLIENTS;
    let mut got: HashMap<Conn, Vec<u8>> = HashMap::new();
    rig.until(|rig| {
        for seen in rig.seen.drain(..) {
            if let Seen::Received(conn, bytes) = seen {
                let all = got.entry(conn).or_default();
                all.extend_from_slice(&bytes);
                left -= usize::from(all.len() == 100_000);
            }
        }
        (left == 0).then_some(())
    });
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    for (client, seed) in clients.iter().zip(0_u8..) {
        let conn = by_peer[&client.local_addr().unwrap()];
        assert!(got[&conn] == pattern(100_000, seed), "client {seed}");
    }
}

pub fn a_flood_on_many_udp_sockets_is_heard(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for ingest in [false, true] {
        let options = UdpOptions { ingest, ..UdpOptions::default() };
        let any = "127.0.0.1:0".parse().unwrap();
        let sockets: Vec<_> = (0..40).map(|_| rig.driver.bind(any, &options).unwrap()).collect();
        for round in 0..20 {
            for (_, to) in &sockets {
                peer.send_to(&pattern(900, round), to).unwrap();
            }
        }
        for (udp, _) in &sockets {
            rig.until(|rig| (rig.datagrams(*udp).len() == 20).then_some(()));
            for ((_, bytes), round) in rig.datagrams(*udp).iter().zip(0..) {
                assert_eq!(*bytes, pattern(900, round));
            }
        }
        for (udp, _) in sockets {
            rig.driver.submit(Op::CloseUdp(udp));
        }
        rig.idle();
        rig.seen.clear();
    }
}

pub fn out_of_descriptors_is_survived(make: Make<'_>) {
    if !cfg!(unix) || !again::with_descriptors(64) {
        return;
    }
    let mut rig = Rig::new(make());
    let (listener, address) = rig.listen("127.0.0.1:0");
    let (first, mut known) = rig.connect_to(address);
    let mut fillers = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    fillers.pop();
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"let me in").unwrap();
    rig.until(|rig| rig.seen.iter().any(|s| matches!(s, Seen::Refused(on) if *on == listener)).then_some(()));
    rig.idle();
    assert_eq!(names(&rig), [first]);
    known.write_all(b"still heard").unwrap();
    rig.until_received(first, b"still heard");
    // A descriptor that others free is found, and one of a connection that closes.
    fillers.truncate(fillers.len() - 2);
    let second = rig.until(|rig| names(rig).get(1).copied());
    rig.until_received(second, b"let me in");
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    fillers.pop();
    let _third = TcpStream::connect(address).unwrap();
    rig.idle();
    rig.close(first);
    rig.until(|rig| (names(rig).len() == 3).then_some(()));
}

/// The address and the name of a client.
fn accepted(seen: &Seen) -> Option<(SocketAddr, Conn)> {
    match seen {
        Seen::Accepted { peer, conn, .. } => Some((*peer, *conn)),
        _ => None,
    }
}

/// The connections accepted so far, in order.
fn names(rig: &Rig) -> Vec<Conn> {
    let names = rig.seen.iter().filter_map(|seen| match seen {
        Seen::Accepted { conn, .. } => Some(*conn),
        _ => None,
    });
    names.collect()
}
