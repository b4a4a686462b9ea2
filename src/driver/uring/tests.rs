//! What the driver promises, over real sockets of the loopback device.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::io::{Conn, Driver, Event, Op, Piece, Udp, UdpOptions};
use proto::rtp::batch::{Batch, BatchWriter, Meta, Numbering};
use proto::time::MediaTime;
use smallvec::smallvec;

use super::{UringDriver, UringOptions, probe, socket};

/// A driver with all that it has reported.
struct Rig {
    driver: UringDriver,
    events: Vec<Event>,
    received: Vec<u8>,
    datagrams: Vec<(SocketAddr, Vec<u8>, u16)>,
}

impl Rig {
    /// None where the kernel has no ring: such tests are skipped.
    fn new() -> Option<Rig> {
        Rig::with(UringOptions::default())
    }

    fn with(options: UringOptions) -> Option<Rig> {
        if let Err(refusal) = probe() {
            println!("skipped: {refusal}");
            return None;
        }
        let driver = UringDriver::new(options).unwrap();
        Some(Rig { driver, events: Vec::new(), received: Vec::new(), datagrams: Vec::new() })
    }

    fn turn(&mut self, wait: Duration) {
        let mut events = Vec::new();
        let until = self.driver.now() + wait;
        self.driver.turn(Some(until), &mut events).unwrap();
        for event in &events {
            match event {
                Event::Received { span, .. } => self.received.extend(self.driver.bytes(*span)),
                Event::Datagram { from, span, segment, .. } => {
                    self.datagrams.push((*from, self.driver.bytes(*span).to_vec(), *segment));
                }
                _ => {}
            }
        }
        self.events.extend(events);
    }

    /// Turns until `wanted` finds what it looks for.
    fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&mut Rig) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = wanted(self) {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", self.events);
            self.turn(Duration::from_millis(20));
        }
    }

    fn listen(&mut self) -> SocketAddr {
        self.driver.listen("127.0.0.1:0".parse().unwrap()).unwrap().1
    }

    fn connect(&mut self) -> (TcpStream, Conn) {
        let address = self.listen();
        let client = TcpStream::connect(address).unwrap();
        (client, self.accepted())
    }

    fn accepted(&mut self) -> Conn {
        self.until("accepted", |rig| {
            let position = rig.events.iter().position(|event| matches!(event, Event::Accepted { .. }))?;
            match rig.events.remove(position) {
                Event::Accepted { conn, .. } => Some(conn),
                _ => None,
            }
        })
    }

    fn has(&self, wanted: impl Fn(&Event) -> bool) -> Option<()> {
        self.events.iter().any(wanted).then_some(())
    }

    fn sent(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Sent { .. })).count()
    }

    fn bind(&mut self, options: &UdpOptions) -> (Udp, SocketAddr) {
        self.driver.bind("127.0.0.1:0".parse().unwrap(), options).unwrap()
    }

    fn send_to(&mut self, udp: Udp, to: SocketAddr, bytes: &[u8], segment: u16) {
        let piece = Piece::Shared(Bytes::copy_from_slice(bytes));
        self.driver.submit(Op::SendTo { udp, to, piece, segment });
    }

    fn send(&mut self, conn: Conn, bytes: impl Into<Bytes>) {
        self.driver.submit(Op::Send { conn, pieces: smallvec![Piece::Shared(bytes.into())] });
    }
}

fn sink() -> (UdpSocket, SocketAddr) {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    sink.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket::set(sink.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20).unwrap();
    let address = sink.local_addr().unwrap();
    (sink, address)
}

fn receive(sink: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let size = sink.recv(&mut bytes).unwrap();
    bytes.truncate(size);
    bytes
}

fn batch(sizes: &[usize]) -> Batch {
    let numbering = Numbering { ssrc: 7, payload_type: 96, sequence: 1, timestamp: 9 };
    let mut writer = BatchWriter::new(numbering, 0);
    for (index, size) in sizes.iter().enumerate() {
        writer.packet(index + 1 == sizes.len(), &[&vec![index as u8; size - 12]]);
    }
    let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
    writer.finish(meta).unwrap()
}

/// The batch with heads of 12 bytes of 0xee, and what arrives of it.
fn spliced(sizes: &[usize]) -> (Piece, Vec<Vec<u8>>) {
    let batch = batch(sizes);
    let packets = batch.packets().iter().map(|packet| {
        let mut bytes = batch.packet(packet).to_vec();
        bytes[..12].fill(0xee);
        bytes
    });
    let packets = packets.collect();
    let heads = Bytes::from(vec![0xee; 12 * sizes.len()]);
    let count = sizes.len() as u32;
    (Piece::Spliced { heads, batch: batch.into(), first: 0, count }, packets)
}

#[test]
fn a_client_is_accepted_heard_and_answered() {
    let Some(mut rig) = Rig::new() else { return };
    let (mut client, conn) = rig.connect();
    client.write_all(b"OPTIONS").unwrap();
    rig.until("received", |rig| (rig.received == b"OPTIONS").then_some(()));
    rig.send(conn, &b"RTSP/1.0 200 OK"[..]);
    rig.until("sent", |rig| (rig.sent() == 1).then_some(()));
    let mut answer = [0; 15];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"RTSP/1.0 200 OK");
    drop(client);
    rig.until("ended", |rig| rig.has(|event| matches!(event, Event::Ended { error: None, .. })));
}

#[test]
fn close_sends_what_was_sent_and_then_the_end() {
    let Some(mut rig) = Rig::new() else { return };
    let (mut client, conn) = rig.connect();
    client.write_all(b"unread").unwrap();
    rig.until("received", |rig| (!rig.received.is_empty()).then_some(()));
    rig.driver.submit(Op::Stop(conn));
    rig.turn(Duration::from_millis(20));
    client.write_all(b"never read by anyone").unwrap();
    rig.send(conn, &b"last words"[..]);
    rig.until("sent", |rig| (rig.sent() == 1).then_some(()));
    rig.driver.submit(Op::Close(conn));
    rig.until("closed", |rig| rig.has(|event| matches!(event, Event::Closed { .. })));
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"last words");
}

#[test]
fn close_with_a_receive_armed_ends_the_connection() {
    let Some(mut rig) = Rig::new() else { return };
    let (mut client, conn) = rig.connect();
    rig.driver.submit(Op::Close(conn));
    rig.until("closed", |rig| rig.has(|event| matches!(event, Event::Closed { .. })));
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    rig.driver.submit(Op::Close(conn));
    rig.send(conn, &b"to nobody"[..]);
    rig.turn(Duration::ZERO);
    assert_eq!(rig.events.len(), 1, "a name that is gone is ignored: {:?}", rig.events);
}

#[test]
fn a_stalled_peer_does_not_hold_up_its_close() {
    let Some(mut rig) = Rig::new() else { return };
    let (_client, conn) = rig.connect();
    rig.send(conn, vec![1; 64 << 20]);
    for _ in 0..5 {
        rig.turn(Duration::from_millis(20));
    }
    assert_eq!(rig.sent(), 0, "the peer reads nothing");
    rig.driver.submit(Op::Close(conn));
    rig.until("closed", |rig| rig.has(|event| matches!(event, Event::Closed { .. })));
    assert_eq!(rig.sent(), 0);
}

#[test]
fn a_broken_connection_is_reported_instead_of_sent() {
    let Some(mut rig) = Rig::new() else { return };
    let (client, conn) = rig.connect();
    rig.send(conn, vec![1; 64 << 20]);
    rig.turn(Duration::from_millis(20));
    // Unread bytes make this a reset.
    drop(client);
    rig.until("ended", |rig| rig.has(|event| matches!(event, Event::Ended { error: Some(_), .. })));
    assert_eq!(rig.sent(), 0);
}

#[test]
fn pieces_of_every_kind_arrive_in_order_over_tcp() {
    let Some(mut rig) = Rig::new() else { return };
    let (mut client, conn) = rig.connect();
    // 700 packets make a gather list of 1,400 entries, more than one send takes.
    let (piece, packets) = spliced(&[1400; 700]);
    let mut expected = b"head".to_vec();
    expected.extend(packets.concat());
    expected.extend(b"tail");
    let pieces = smallvec![Piece::Shared("head".into()), piece, Piece::Shared("tail".into())];
    rig.driver.submit(Op::Send { conn, pieces });
    let size = expected.len();
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; size];
        client.read_exact(&mut all).unwrap();
        all
    });
    rig.until("sent", |rig| (rig.sent() == 1).then_some(()));
    assert!(reader.join().unwrap() == expected);
}

#[test]
fn ten_thousand_sends_to_a_hundred_clients_are_all_answered() {
    let Some(mut rig) = Rig::with(UringOptions { entries: 16, completions: 32, ..UringOptions::default() })
    else {
        return;
    };
    let address = rig.listen();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = TcpStream::connect(address).unwrap();
        let conn = rig.accepted();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all
        });
        clients.push((conn, reader));
    }
    for round in 1..=100u32 {
        for (conn, _) in &clients {
            rig.send(*conn, round.to_be_bytes().to_vec());
        }
        rig.until("sent", |rig| (rig.sent() == 100).then(|| rig.events.clear()));
    }
    let expected: Vec<u8> = (1..=100u32).flat_map(u32::to_be_bytes).collect();
    for (conn, reader) in clients {
        rig.driver.submit(Op::Close(conn));
        rig.turn(Duration::ZERO);
        assert_eq!(reader.join().unwrap(), expected);
    }
}

#[test]
fn more_bytes_than_buffers_arrive_whole_and_in_order() {
    let small = UringOptions { receive_buffers: 4, receive_buffer_bytes: 512, ..UringOptions::default() };
    let Some(mut rig) = Rig::with(small) else { return };
    let (mut client, _conn) = rig.connect();
    let expected: Vec<u8> = (0..200_000u32).map(|byte| (byte % 251) as u8).collect();
    let bytes = expected.clone();
    let writer = std::thread::spawn(move || client.write_all(&bytes).map(|()| client));
    rig.until("received", |rig| (rig.received.len() >= expected.len()).then_some(()));
    assert!(rig.received == expected);
    writer.join().unwrap().unwrap();
}

#[test]
fn a_stopped_connection_receives_nothing_until_it_is_resumed() {
    let Some(mut rig) = Rig::new() else { return };
    let (mut client, conn) = rig.connect();
    rig.driver.submit(Op::Stop(conn));
    rig.turn(Duration::from_millis(20));
    client.write_all(b"later").unwrap();
    for _ in 0..3 {
        rig.turn(Duration::from_millis(20));
    }
    assert!(rig.received.is_empty());
    rig.driver.submit(Op::Resume(conn));
    rig.until("received", |rig| (rig.received == b"later").then_some(()));
}

#[test]
fn a_connection_moves_to_another_driver_without_losing_a_byte() {
    let (Some(mut first), Some(mut second)) = (Rig::new(), Rig::new()) else { return };
    let (mut client, moved) = first.connect();
    client.write_all(b"before").unwrap();
    first.driver.submit(Op::Detach(moved));
    let socket = first.until("detached", |rig| match rig.events.pop() {
        Some(Event::Detached { socket, .. }) => Some(socket),
        Some(event) => {
            assert!(matches!(event, Event::Received { .. }));
            None
        }
        None => None,
    });
    client.write_all(b" after").unwrap();
    let conn = second.driver.attach(socket).unwrap();
    second.until("received", |rig| {
        ([&first.received[..], &rig.received].concat() == b"before after").then_some(())
    });
    second.send(conn, &b"answer"[..]);
    second.until("sent", |rig| (rig.sent() == 1).then_some(()));
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    first.events.clear();
    first.send(moved, &b"late"[..]);
    first.turn(Duration::ZERO);
    assert!(first.events.is_empty(), "{:?}", first.events);
}

/// Runs one test of this binary in a process of its own, whose limits it may change.
fn in_own_process(test: &str, run: impl FnOnce()) {
    const MARK: &str = "RINGCASTER_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return run();
    }
    let program = std::env::current_exe().unwrap();
    let name = format!("driver::uring::tests::{test}");
    let status = std::process::Command::new(program).args(["--exact", &name]).env(MARK, "1").status();
    assert!(status.unwrap().success());
}

#[test]
fn without_descriptors_clients_wait_and_are_accepted_when_one_is_free() {
    in_own_process("without_descriptors_clients_wait_and_are_accepted_when_one_is_free", || {
        let Some(mut rig) = Rig::new() else { return };
        let (_first, conn) = rig.connect();
        let address = rig.listen();
        let _second = TcpStream::connect(address).unwrap();
        // The lowest free number is the limit: nobody gets another descriptor.
        let lowest = std::fs::File::open("/dev/null").unwrap();
        let limit = libc::rlimit { rlim_cur: lowest.as_raw_fd() as u64, rlim_max: 20_000 };
        drop(lowest);
        // SAFETY: the pointer leads to a limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        assert!(std::fs::File::open("/dev/null").is_err());
        rig.until("refused", |rig| rig.has(|event| matches!(event, Event::AcceptRefused { .. })));
        let refusals = rig.events.len();
        rig.turn(Duration::from_millis(20));
        assert_eq!(rig.events.len(), refusals, "it does not try without pause");
        rig.driver.submit(Op::Close(conn));
        rig.until("accepted", |rig| rig.has(|event| matches!(event, Event::Accepted { .. })));
    });
}

#[test]
fn the_waker_ends_a_turn_from_another_thread_and_costs_nothing_twice() {
    let Some(mut rig) = Rig::new() else { return };
    let waker = rig.driver.waker();
    let start = Instant::now();
    let thread = std::thread::spawn({
        let waker = waker.clone();
        move || {
            std::thread::sleep(Duration::from_millis(50));
            waker.wake_by_ref();
            waker.wake();
        }
    });
    rig.driver.turn(None, &mut Vec::new()).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
    thread.join().unwrap();
    // A wake between two turns is not lost.
    waker.wake_by_ref();
    rig.driver.turn(None, &mut Vec::new()).unwrap();
    // And does not linger.
    rig.turn(Duration::ZERO);
    rig.turn(Duration::ZERO);
    let start = Instant::now();
    rig.turn(Duration::from_millis(50));
    assert!(start.elapsed() >= Duration::from_millis(49));
}

#[test]
fn a_hundred_thousand_wakes_lose_no_message() {
    let Some(mut rig) = Rig::new() else { return };
    let (sender, receiver) = crossbeam_channel::unbounded();
    let waker = rig.driver.waker();
    let thread = std::thread::spawn(move || {
        for number in 0..100_000u32 {
            sender.send(number).unwrap();
            waker.wake_by_ref();
        }
    });
    let mut expected = 0;
    while expected < 100_000 {
        rig.driver.turn(None, &mut Vec::new()).unwrap();
        while let Ok(number) = receiver.try_recv() {
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    thread.join().unwrap();
}

#[test]
fn a_turn_lasts_until_its_time_and_no_longer() {
    let Some(mut rig) = Rig::new() else { return };
    let start = Instant::now();
    let before = rig.driver.now();
    rig.turn(Duration::from_millis(30));
    rig.turn(Duration::ZERO);
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(29) && elapsed < Duration::from_secs(2), "{elapsed:?}");
    assert!(rig.driver.now() >= before + Duration::from_millis(29));
}

#[test]
fn a_train_arrives_as_single_datagrams() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let (sink, to) = sink();
    let bytes: Vec<u8> = (0..11 * 1400 + 1210).map(|byte: u32| (byte / 100) as u8).collect();
    rig.send_to(udp, to, &bytes, 1400);
    rig.turn(Duration::ZERO);
    for expected in bytes.chunks(1400) {
        assert_eq!(receive(&sink), expected);
    }
    assert_eq!(rig.driver.stats().datagrams, 12);
}

#[test]
fn spliced_packets_leave_as_a_train_with_their_own_heads() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let (sink, to) = sink();
    let (piece, packets) = spliced(&[1200, 1200, 700]);
    rig.driver.submit(Op::SendTo { udp, to, piece, segment: 1200 });
    rig.turn(Duration::ZERO);
    for expected in packets {
        assert_eq!(receive(&sink), expected);
    }
}

#[test]
fn one_train_reaches_a_thousand_viewers_and_each_in_order() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let sinks: Vec<_> = (0..1000).map(|_| sink()).collect();
    for frame in 0..3u8 {
        for (_, to) in &sinks {
            rig.send_to(udp, *to, &[frame; 3000], 1400);
        }
    }
    rig.turn(Duration::ZERO);
    for (sink, _) in &sinks {
        for frame in 0..3u8 {
            for size in [1400, 1400, 200] {
                assert_eq!(receive(sink), vec![frame; size]);
            }
        }
    }
    assert_eq!(rig.driver.stats().datagrams, 9000);
}

#[test]
fn datagrams_are_received_with_their_sender() {
    let Some(mut rig) = Rig::new() else { return };
    let (_, to) = rig.bind(&UdpOptions::default());
    let (report, from) = sink();
    for number in 0..300u32 {
        report.send_to(&number.to_be_bytes(), to).unwrap();
    }
    rig.until("datagrams", |rig| (rig.datagrams.len() == 300).then_some(()));
    for (number, (sender, bytes, segment)) in rig.datagrams.iter().enumerate() {
        assert_eq!((*sender, *segment), (from, 4));
        assert_eq!(bytes[..], (number as u32).to_be_bytes());
    }
}

#[test]
fn merged_datagrams_come_with_the_size_of_each() {
    let Some(mut rig) = Rig::new() else { return };
    let (_, to) = rig.bind(&UdpOptions { ingest: true, ..UdpOptions::default() });
    let (udp, from) = rig.bind(&UdpOptions::default());
    let bytes: Vec<u8> = (0..44 * 1400 + 9).map(|byte: u32| (byte / 1000) as u8).collect();
    rig.send_to(udp, to, &bytes, 1400);
    rig.until("datagrams", |rig| {
        (rig.datagrams.iter().map(|(_, bytes, _)| bytes.len()).sum::<usize>() == bytes.len()).then_some(())
    });
    assert!(rig.datagrams.iter().flat_map(|(_, bytes, _)| bytes.clone()).eq(bytes));
    assert_eq!(rig.datagrams.len(), 1, "the kernel merges over loopback");
    assert_eq!((rig.datagrams[0].0, rig.datagrams[0].2), (from, 1400));
}

#[test]
fn a_path_that_cannot_cut_gets_single_packets_of_the_same_train() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let (sink, to) = sink();
    // Without checksums there is no UDP_SEGMENT: EINVAL.
    let (fd, _) = rig.driver.datagrams.inspect(udp).unwrap();
    socket::set(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    for frame in 0..3u8 {
        let bytes: Vec<u8> = (0..3000u32).map(|byte| (byte / 256) as u8 + 16 * frame).collect();
        rig.send_to(udp, to, &bytes, 1400);
        rig.turn(Duration::ZERO);
        for expected in bytes.chunks(1400) {
            assert_eq!(receive(&sink), expected);
        }
    }
    let stats = rig.driver.stats();
    assert_eq!((stats.datagrams, stats.datagrams_failed), (9, 0));
    assert!(!rig.driver.datagrams.inspect(udp).unwrap().1);
}

#[test]
fn a_wrong_destination_does_not_end_trains_for_the_others() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let (sink, to) = sink();
    rig.send_to(udp, "127.0.0.1:0".parse().unwrap(), &[1; 3000], 1400);
    rig.send_to(udp, to, &[2; 3000], 1400);
    rig.turn(Duration::ZERO);
    assert_eq!(receive(&sink), [2; 1400]);
    let stats = rig.driver.stats();
    assert_eq!((stats.datagrams, stats.datagrams_failed), (3, 3));
    assert!(rig.driver.datagrams.inspect(udp).unwrap().1);
}

#[test]
fn a_closed_udp_socket_frees_its_port_and_its_name() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, address) = rig.bind(&UdpOptions::default());
    let (sink, to) = sink();
    rig.send_to(udp, to, b"last", 4);
    rig.driver.submit(Op::CloseUdp(udp));
    rig.until("free port", |_| UdpSocket::bind(address).ok());
    assert_eq!(receive(&sink), b"last");
    let (other, _) = rig.bind(&UdpOptions::default());
    assert_ne!(other, udp);
    rig.send_to(udp, to, b"from nobody", 11);
    rig.turn(Duration::ZERO);
    assert_eq!(rig.driver.stats().datagrams, 1);
}

#[test]
fn a_closed_listener_refuses_and_frees_its_port() {
    let Some(mut rig) = Rig::new() else { return };
    let (listener, address) = rig.driver.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    rig.turn(Duration::ZERO);
    rig.driver.submit(Op::CloseListener(listener));
    rig.until("free port", |_| std::net::TcpListener::bind(address).ok());
}

/// Runs in a network of its own, whose loopback device passes 40 Mbit/s; skipped where that is not allowed.
fn on_a_slow_network(test: impl FnOnce() + Send + 'static) {
    let command = |line: &str| {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        std::process::Command::new(program).args(words).status().is_ok_and(|status| status.success())
    };
    let thread = std::thread::spawn(move || {
        // SAFETY: only this thread moves to a new network.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        let is_ready = result == 0
            && command("ip link set lo up")
            && command("tc qdisc add dev lo root tbf rate 40mbit burst 64kb limit 200mb");
        match is_ready {
            true => test(),
            false => println!("skipped: no network of its own, or no tc"),
        }
    });
    thread.join().unwrap();
}

#[test]
fn a_full_socket_keeps_the_order_and_loses_nothing() {
    on_a_slow_network(|| {
        let Some(mut rig) = Rig::new() else { return };
        let (udp, _) = rig.bind(&UdpOptions::default());
        limit_send_buffer(&rig, udp);
        let sinks: Vec<_> = (0..4).map(|_| sink()).collect();
        for number in 0..100u8 {
            for (_, to) in &sinks {
                rig.send_to(udp, *to, &[number; 2000], 1400);
            }
            rig.turn(Duration::ZERO);
        }
        assert!(rig.driver.stats().datagrams < 400, "the socket is full");
        rig.until("sent", |rig| (rig.driver.stats().datagrams == 800).then_some(()));
        for (sink, _) in &sinks {
            for number in 0..100u8 {
                assert_eq!(receive(sink), vec![number; 1400]);
                assert_eq!(receive(sink), vec![number; 600]);
            }
        }
        assert_eq!(rig.driver.stats().datagrams_shed, 0);
    });
}

#[test]
fn what_waits_longer_than_its_patience_is_shed() {
    on_a_slow_network(|| {
        let Some(mut rig) = Rig::new() else { return };
        let patience = Duration::from_millis(100);
        let (udp, _) = rig.bind(&UdpOptions { patience, ..UdpOptions::default() });
        limit_send_buffer(&rig, udp);
        let (_sink, to) = sink();
        // 2 MB take 400 ms.
        for _ in 0..1000 {
            rig.send_to(udp, to, &[1; 2000], 1400);
        }
        let start = Instant::now();
        rig.until("done", |rig| {
            let stats = rig.driver.stats();
            (stats.datagrams + stats.datagrams_shed == 2000).then_some(())
        });
        let stats = rig.driver.stats();
        assert!(stats.datagrams_shed > 500 && stats.datagrams > 200, "{stats:?}");
        assert!(start.elapsed() < Duration::from_millis(350), "the driver wakes by itself to shed");
    });
}

fn limit_send_buffer(rig: &Rig, udp: Udp) {
    let (fd, _) = rig.driver.datagrams.inspect(udp).unwrap();
    socket::set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 32 << 10).unwrap();
}
