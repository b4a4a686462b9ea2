//! Connections that the driver opens.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use proto::io::{Conn, Op};
use socket2::{Domain, Socket, Type};

use super::again;
use super::rig::{Make, Rig, Seen, pattern};

pub fn a_connection_is_opened_and_bytes_go_both_ways(make: Make<'_>) {
    both_ways(&mut Rig::new(make()), "127.0.0.1:0".parse().unwrap());
}

pub fn a_connection_is_opened_over_ipv6_and_by_a_scope(make: Make<'_>) {
    let setup = "ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d0 up \
                 && ip link set d1 up && ip addr add fe80::81/64 dev d0 nodad";
    if !again::in_own_network(setup) {
        return;
    }
    let mut rig = Rig::new(make());
    both_ways(&mut rig, "[::1]:0".parse().unwrap());
    let scope = again::device_index("d0");
    both_ways(&mut rig, format!("[fe80::81%{scope}]:0").parse().unwrap());
}

fn both_ways(rig: &mut Rig, any: SocketAddr) {
    let listener = TcpListener::bind(any).unwrap();
    let conn = rig.driver.connect(listener.local_addr().unwrap()).unwrap();
    let local = rig.until(|rig| rig.connected(conn));
    let (mut server, peer) = listener.accept().unwrap();
    assert_eq!(peer, local);
    rig.send(conn, pattern(300_000, 1));
    let reader = thread::spawn(move || {
        let mut all = vec![0; 300_000];
        server.read_exact(&mut all).unwrap();
        server.write_all(b"RTSP/1.0 200 OK\r\n\r\n").unwrap();
        (all, server)
    });
    rig.until_received(conn, b"RTSP/1.0 200 OK\r\n\r\n");
    let (all, mut server) = reader.join().unwrap();
    assert!(all == pattern(300_000, 1));
    assert_eq!(rig.count_sent(conn), 1);
    rig.close(conn);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0, "an orderly end");
}

pub fn nothing_is_connected_before_the_turn(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let conn = rig.driver.connect(listener.local_addr().unwrap()).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    rig.driver.submit(Op::Stop(conn));
    rig.driver.submit(Op::Resume(conn));
    rig.until(|rig| rig.connected(conn));
    listener.accept().unwrap();
}

pub fn a_connection_is_refused_where_nobody_listens(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let conn = rig.driver.connect(nobody()).unwrap();
    rig.until(|rig| (!rig.ends(conn).is_empty()).then_some(()));
    // Its name stays, and is good for nothing but the close.
    rig.send(conn, &b"is anybody there?"[..]);
    for op in [Op::Stop(conn), Op::Resume(conn), Op::Detach(conn)] {
        rig.driver.submit(op);
    }
    rig.idle();
    assert_eq!(rig.ends(conn), [Some(ErrorKind::ConnectionRefused)]);
    assert_eq!(rig.seen.len(), 1, "{:?}", rig.seen);
    rig.close(conn);
    rig.driver.submit(Op::Close(conn));
    rig.idle();
    assert_eq!(rig.seen.len(), 2, "{:?}", rig.seen);
}

pub fn a_connection_that_nobody_answers_can_be_closed(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let deaf = Deaf::new();
    let conns: Vec<_> = (0..10).map(|_| rig.driver.connect(deaf.address).unwrap()).collect();
    rig.idle();
    assert!(rig.seen.is_empty(), "{:?}", rig.seen);
    for conn in &conns {
        rig.close(*conn);
    }
    rig.idle();
    assert_eq!(rig.seen.len(), conns.len(), "closed once each, and nothing else: {:?}", rig.seen);
    // And where one is forgotten, the driver can go.
    rig.driver.connect(deaf.address).unwrap();
    rig.idle();
}

pub fn a_connection_can_be_closed_at_any_moment(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let guests = thread::spawn(move || listener.incoming().take_while(|guest| !is_last(guest)).count());
    for round in 0..200_u32 {
        let to = if round % 5 == 0 { nobody() } else { address };
        let conn = rig.driver.connect(to).unwrap();
        for _ in 0..round % 4 {
            rig.turn(Duration::ZERO);
        }
        rig.close(conn);
        let after =
            rig.seen.iter().skip_while(|seen| !matches!(seen, Seen::Closed(of) if *of == conn)).count();
        assert_eq!(after, 1, "round {round}: {:?}", rig.seen);
        rig.seen.clear();
    }
    TcpStream::connect(address).unwrap().write_all(b".").unwrap();
    guests.join().unwrap();
}

/// Whether a guest says so; the others say nothing.
fn is_last(guest: &std::io::Result<TcpStream>) -> bool {
    let Ok(mut guest) = guest.as_ref() else { return false };
    guest.read(&mut [0; 1]).is_ok_and(|size| size == 1)
}

pub fn input_that_is_stopped_beforehand_waits(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let conn = rig.driver.connect(listener.local_addr().unwrap()).unwrap();
    rig.driver.submit(Op::Stop(conn));
    rig.until(|rig| rig.connected(conn));
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"too early").unwrap();
    rig.idle();
    assert!(rig.received(conn).is_empty());
    rig.driver.submit(Op::Resume(conn));
    rig.until_received(conn, b"too early");
}

pub fn an_opened_connection_moves(make: Make<'_>) {
    let (mut from, mut to) = (Rig::new(make()), Rig::new(make()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let conn = from.driver.connect(listener.local_addr().unwrap()).unwrap();
    // Not yet.
    from.driver.submit(Op::Detach(conn));
    from.until(|rig| rig.connected(conn));
    let (mut server, _) = listener.accept().unwrap();
    from.driver.submit(Op::Detach(conn));
    let socket = from.until(|rig| {
        rig.seen.iter_mut().find_map(|seen| match seen {
            Seen::Detached(of, socket) if *of == conn => socket.take(),
            _ => None,
        })
    });
    let conn = to.driver.attach(socket).unwrap();
    server.write_all(b"moved").unwrap();
    to.until_received(conn, b"moved");
}

pub fn no_connection_leads_to_itself(make: Make<'_>) {
    // The system has two ports for those who ask for any, and nobody listens on either.
    let setup = "ip link set lo up && echo 40000 40001 > /proc/sys/net/ipv4/ip_local_port_range";
    if !again::in_own_network(setup) {
        return;
    }
    let mut rig = Rig::new(make());
    for port in [40_000, 40_001] {
        let conn = rig.driver.connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        rig.until(|rig| (rig.seen.len() == 1).then_some(()));
        assert_eq!(rig.ends(conn), [Some(ErrorKind::ConnectionRefused)]);
        rig.close(conn);
        rig.seen.clear();
    }
}

pub fn a_thousand_connects_and_closes_leave_nothing_behind(make: Make<'_>) {
    // More than a few that stay open would be seen.
    if !cfg!(target_os = "linux") || !again::with_descriptors(64) {
        return;
    }
    let mut rig = Rig::new(make());
    let (listener, address) = rig.listen("127.0.0.1:0");
    let deaf = Deaf::new();
    let addresses = [address, deaf.address, nobody()];
    rig.turn(Duration::ZERO);
    let before = descriptors();
    let mut open: Vec<Conn> = Vec::new();
    let (mut begun, mut closed, mut connected) = (0, 0, 0);
    while closed < 1_000 {
        while begun < 1_000 && open.len() < 12 {
            open.push(rig.driver.connect(addresses[begun % addresses.len()]).unwrap());
            begun += 1;
        }
        // The oldest goes, however far it is, and what it was to become is one of three.
        for conn in open.drain(..if begun < 1_000 { 1 + begun % 7 } else { open.len() }) {
            rig.driver.submit(Op::Close(conn));
            closed += 1;
        }
        rig.turn(Duration::from_millis(1));
        for seen in std::mem::take(&mut rig.seen) {
            match seen {
                Seen::Accepted { conn, .. } => rig.driver.submit(Op::Close(conn)),
                Seen::Connected(conn, _) => connected += usize::from(conn.index < 64),
                Seen::Refused(on) => panic!("{on:?} has no descriptor left"),
                _ => {}
            }
        }
    }
    assert!(connected > 30, "{connected} were open in between");
    rig.until(|rig| {
        for seen in std::mem::take(&mut rig.seen) {
            if let Seen::Accepted { conn, .. } = seen {
                rig.driver.submit(Op::Close(conn));
            }
        }
        (descriptors() == before).then_some(())
    });
    rig.driver.submit(Op::CloseListener(listener));
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// An address that nobody has, for it was free a moment ago.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address where the system answers nobody: its queue of those who wait to be accepted is full.
struct Deaf {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    fn new() -> Deaf {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(client);
        }
        Deaf { address, _listener: listener, _waiting: waiting }
    }
}
