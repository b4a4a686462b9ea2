//! UDP: trains, order, and sockets that are full.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::io::{Op, Piece, UdpOptions};

use super::again;
use super::rig::{Make, Rig, batch, pattern, spliced};

pub fn a_datagram_goes_both_ways(make: Make<'_>) {
    both_ways(make, "127.0.0.1:0");
}

pub fn a_datagram_goes_both_ways_over_ipv6(make: Make<'_>) {
    match UdpSocket::bind("[::1]:0") {
        Ok(_) => both_ways(make, "[::1]:0"),
        Err(_) => eprintln!("skipped, for this system lacks IPv6"),
    }
}

fn both_ways(make: Make<'_>, address: &str) {
    let mut rig = Rig::new(make());
    let peer = peer(address);
    let ours = peer.local_addr().unwrap();
    for (ingest, sizes) in [(false, [1, 100, 1_472]), (true, [1, 1_472, 9_000])] {
        let options = UdpOptions { ingest, ..UdpOptions::default() };
        let (udp, address) = rig.driver.bind(address.parse().unwrap(), &options).unwrap();
        // What is larger than any RTCP packet may be dropped, but takes nothing else along.
        peer.send_to(&pattern(20_000, 1), address).unwrap();
        for size in sizes {
            peer.send_to(&pattern(size, 1), address).unwrap();
            rig.until(|rig| rig.datagrams(udp).iter().find(|d| **d == (ours, pattern(size, 1))).cloned());
            rig.send_to(udp, ours, pattern(size, 2), size);
            rig.turn(Duration::ZERO);
            assert_eq!(receive(&peer), (address, pattern(size, 2)));
        }
        let others = rig.datagrams(udp).iter().filter(|(_, bytes)| *bytes != pattern(20_000, 1)).count();
        assert_eq!(others, 3, "each once");
    }
    assert_eq!(rig.driver.stats().datagrams, 6);
}

pub fn a_train_arrives_as_single_datagrams(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    let (udp, from) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let trains = [(1_400, 11 * 1_400 + 1_210), (1_400, 2_800), (200, 64 * 200), (1_400, 46 * 1_400), (7, 8)];
    let mut count = 0;
    for (segment, size) in trains {
        let bytes = pattern(size, segment as u8);
        rig.send_to(udp, to, bytes.clone(), segment);
        rig.turn(Duration::ZERO);
        for packet in bytes.chunks(segment) {
            assert_eq!(receive(&peer), (from, packet.to_vec()));
            count += 1;
        }
    }
    assert_eq!(rig.driver.stats().datagrams, count);
    assert_eq!(rig.driver.stats().datagrams_failed, 0);
}

pub fn a_spliced_train_arrives_with_its_own_heads(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    let (udp, from) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let train = batch(&[1_400, 1_400, 1_400, 1_400, 600]);
    let single = batch(&[900]);
    for (batch, segment, head) in [(&train, 1_400, 12), (&single, 900, 12), (&train, 1_404, 16)] {
        let (piece, bytes) = spliced(batch, head);
        rig.driver.submit(Op::SendTo { udp, to, piece, segment });
        // A second one at once: they must not share what they are put together in.
        let (piece, _) = spliced(batch, head);
        rig.driver.submit(Op::SendTo { udp, to, piece, segment });
        rig.turn(Duration::ZERO);
        for packet in bytes.chunks(segment.into()).chain(bytes.chunks(segment.into())) {
            assert_eq!(receive(&peer), (from, packet.to_vec()));
        }
    }
    // Part of a batch: the third and fourth packet.
    let heads = Bytes::from(pattern(24, 9));
    let piece = Piece::Spliced { heads: heads.clone(), batch: train.clone(), first: 2, count: 2 };
    rig.driver.submit(Op::SendTo { udp, to, piece, segment: 1_400 });
    rig.turn(Duration::ZERO);
    for (packet, head) in train.packets()[2..4].iter().zip(heads.chunks(12)) {
        assert_eq!(receive(&peer).1, [head, &train.packet(packet)[12..]].concat());
    }
}

pub fn merged_datagrams_can_be_told_apart(make: Make<'_>) {
    // A train over loopback reaches a socket that takes merged datagrams as it left.
    let (mut sender, mut receiver) = (Rig::new(make()), Rig::new(make()));
    let options = UdpOptions { ingest: true, ..UdpOptions::default() };
    let any = "127.0.0.1:0".parse().unwrap();
    let (udp, to) = receiver.driver.bind(any, &options).unwrap();
    let (from_udp, from) = sender.driver.bind(any, &UdpOptions::default()).unwrap();
    let bytes = pattern(20 * 1_300 + 77, 6);
    sender.send_to(from_udp, to, bytes.clone(), 1_300);
    sender.send_to(from_udp, to, pattern(50, 7), 50);
    sender.turn(Duration::ZERO);
    receiver.until(|rig| (rig.datagrams(udp).len() >= 22).then_some(()));
    let mut expected: Vec<_> = bytes.chunks(1_300).map(|packet| (from, packet.to_vec())).collect();
    expected.push((from, pattern(50, 7)));
    assert!(receiver.datagrams(udp) == expected, "every datagram is there, in order");
}

pub fn a_burst_is_received_whole(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let (udp, to) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    for round in 0..10_usize {
        rig.seen.clear();
        for index in 0..64 {
            peer.send_to(&pattern(100 + index, round as u8), to).unwrap();
        }
        rig.until(|rig| (rig.datagrams(udp).len() == 64).then_some(()));
        for (index, (_, bytes)) in rig.datagrams(udp).iter().enumerate() {
            assert_eq!(*bytes, pattern(100 + index, round as u8));
        }
    }
}

pub fn multicast_leaves_by_the_interface_of_the_bound_address(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let group = Ipv4Addr::new(239, 255, 81, 7);
    let peer = UdpSocket::bind("0.0.0.0:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    let to = SocketAddr::from((group, peer.local_addr().unwrap().port()));
    let (udp, from) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let bytes = pattern(5_000, 3);
    rig.send_to(udp, to, bytes.clone(), 1_400);
    rig.turn(Duration::ZERO);
    for packet in bytes.chunks(1_400) {
        assert_eq!(receive(&peer), (from, packet.to_vec()));
    }
}

pub fn a_group_is_shared_and_any_other_address_has_one_socket(make: Make<'_>) {
    let mut rig = Rig::new(make());
    for ingest in [false, true] {
        let options = UdpOptions { ingest, ..UdpOptions::default() };
        let (_, address) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let refused = rig.driver.bind(address, &options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        if cfg!(unix) {
            let (_, group) = rig.driver.bind("239.255.81.8:0".parse().unwrap(), &options).unwrap();
            rig.driver.bind(group, &options).unwrap();
        }
    }
}

pub fn unreachable_ports_harm_nobody(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    // A port that nobody has, for it was free a moment ago.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let no_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let wrong_family: SocketAddr = "[::1]:9".parse().unwrap();
    let (udp, from) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    for round in 0..20 {
        for bad in [nobody, no_port, wrong_family] {
            rig.send_to(udp, bad, pattern(3_000, 1), 1_000);
        }
        rig.send_to(udp, to, pattern(2_800, round), 1_400);
        rig.turn(Duration::from_millis(1));
        assert_eq!(receive(&peer), (from, pattern(2_800, round)[..1_400].to_vec()));
        assert_eq!(receive(&peer), (from, pattern(2_800, round)[1_400..].to_vec()));
    }
    rig.until(|rig| {
        let stats = rig.driver.stats();
        (stats.datagrams_failed >= 2 * 20 * 3).then_some(())
    });
    peer.send_to(b"and back", from).unwrap();
    rig.until(|rig| rig.datagrams(udp).iter().find(|d| d.1 == b"and back").cloned());
}

pub fn a_closed_socket_sends_its_queue_first(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    let (udp, from) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    for round in 0..10 {
        rig.send_to(udp, to, pattern(4_000, round), 1_000);
    }
    rig.driver.submit(Op::CloseUdp(udp));
    rig.idle();
    for round in 0..10 {
        for packet in pattern(4_000, round).chunks(1_000) {
            assert_eq!(receive(&peer), (from, packet.to_vec()));
        }
    }
    // Its port is free again.
    rig.until(|_| UdpSocket::bind(from).ok());
}

pub fn a_full_socket_keeps_the_order(make: Make<'_>) {
    if !with_slow_loopback("400mbit") {
        return;
    }
    const TRAINS: u32 = 2_000;
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    let options = UdpOptions { patience: Duration::from_secs(60), ..UdpOptions::default() };
    let (udp, _) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let over = over.clone();
        move || numbers(&peer, &over)
    });
    for train in 0..TRAINS {
        let packets = (0..12).map(|packet| (train * 12 + packet).to_be_bytes());
        let bytes: Vec<u8> = packets.flat_map(|number| [&number[..], &[0; 1_396]].concat()).collect();
        rig.send_to(udp, to, bytes, 1_400);
    }
    rig.turn(Duration::ZERO);
    let all = u64::from(TRAINS * 12);
    assert!(rig.driver.stats().datagrams < all, "the device is so slow that the socket was full");
    rig.until(|rig| (rig.driver.stats().datagrams == all).then_some(()));
    let stats = rig.driver.stats();
    assert_eq!((stats.datagrams_failed, stats.datagrams_shed), (0, 0));
    over.store(true, Ordering::Relaxed);
    let numbers = reader.join().unwrap();
    assert!(numbers.len() > 1_000, "{} arrived", numbers.len());
    assert!(numbers.is_sorted(), "they arrived in the order of sending");
}

/// What arrives, as far as the receiver is quick enough, until one second after `over`.
fn numbers(peer: &UdpSocket, over: &AtomicBool) -> Vec<u32> {
    peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut numbers = Vec::new();
    let mut buffer = [0; 2_000];
    loop {
        match peer.recv(&mut buffer) {
            Ok(size) => {
                assert_eq!(size, 1_400);
                numbers.push(u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]));
            }
            Err(_) if over.load(Ordering::Relaxed) => return numbers,
            Err(_) => {}
        }
    }
}

pub fn a_full_socket_sheds_what_waited_too_long(make: Make<'_>) {
    if !with_slow_loopback("1mbit") {
        return;
    }
    const TRAINS: u64 = 3_000;
    let mut rig = Rig::new(make());
    let peer = peer("127.0.0.1:0");
    let to = peer.local_addr().unwrap();
    let options = UdpOptions { patience: Duration::from_millis(100), ..UdpOptions::default() };
    let (udp, from) = rig.driver.bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    for _ in 0..TRAINS {
        rig.send_to(udp, to, pattern(16_800, 1), 1_400);
    }
    rig.turn(Duration::ZERO);
    let stats = rig.driver.stats();
    assert!(stats.datagrams < TRAINS * 12, "the device is so slow that the socket was full");
    // Entries go by age although the socket never calls, and no turn has an end of its own.
    let waker = rig.driver.waker();
    let over = Arc::new(AtomicBool::new(false));
    let caller = thread::spawn({
        let over = over.clone();
        move || {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
                waker.wake_by_ref();
            }
        }
    });
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = rig.driver.stats();
        if stats.datagrams + stats.datagrams_shed == TRAINS * 12 {
            break;
        }
        assert!(Instant::now() < end, "nothing was shed: {stats:?}");
        rig.driver.turn(None, &mut Vec::new()).unwrap();
    }
    over.store(true, Ordering::Relaxed);
    caller.join().unwrap();
    assert!(rig.driver.stats().datagrams_shed > 0);
    assert_eq!(rig.driver.stats().datagrams_failed, 0);
    // Nothing waits any more, so that the socket closes although it is full.
    rig.driver.submit(Op::CloseUdp(udp));
    rig.until(|_| UdpSocket::bind(from).ok());
}

/// Whether the loopback device lets only `rate` pass: see [`again::in_own_network`].
fn with_slow_loopback(rate: &str) -> bool {
    again::in_own_network(&format!(
        "ip link set lo up && tc qdisc add dev lo root tbf rate {rate} burst 128kb limit 256mb"
    ))
}

/// A socket of the standard library that waits for what it expects, but not forever.
fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

#[track_caller]
fn receive(peer: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = vec![0; 65_536];
    let (size, from) = peer.recv_from(&mut buffer).expect("a datagram comes");
    buffer.truncate(size);
    (from, buffer)
}
