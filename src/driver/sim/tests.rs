//! What the simulated network promises to drivers that connect.

use std::time::Duration;

use proto::io::{Conn, Driver, Event, Membership, Op, Piece, Pieces, UdpOptions};

use super::*;

/// A driver with all that it has reported.
struct Rig {
    driver: SimDriver,
    events: Vec<Event>,
    received: Vec<u8>,
}

impl Rig {
    fn new(net: &Net) -> Rig {
        Rig { driver: net.driver(), events: Vec::new(), received: Vec::new() }
    }

    fn turn(&mut self) {
        let mut events = Vec::new();
        self.driver.turn(None, &mut events).unwrap();
        for event in &events {
            if let Event::Received { span, .. } = event {
                self.received.extend_from_slice(self.driver.bytes(*span));
            }
        }
        self.events.extend(events);
    }

    fn connected(&self, conn: Conn) -> Option<SocketAddr> {
        self.events.iter().find_map(|event| match event {
            Event::Connected { conn: of, local } if *of == conn => Some(*local),
            _ => None,
        })
    }

    fn error(&self, conn: Conn) -> Option<std::io::ErrorKind> {
        self.events.iter().find_map(|event| match event {
            Event::Ended { conn: of, error: Some(error) } if *of == conn => Some(error.kind()),
            _ => None,
        })
    }

    fn accepted(&self) -> Option<(Conn, SocketAddr)> {
        self.events.iter().find_map(|event| match event {
            Event::Accepted { conn, peer, .. } => Some((*conn, *peer)),
            _ => None,
        })
    }

    fn is_closed(&self, conn: Conn) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Closed { conn: of } if *of == conn))
    }

    fn send(&mut self, conn: Conn, bytes: &'static [u8]) {
        let pieces = Pieces::from_iter([Piece::Shared(Bytes::from_static(bytes))]);
        self.driver.submit(Op::Send { conn, pieces });
    }
}

/// Lets two seconds go by, with turns of all drivers every millisecond.
fn pass(net: &Net, rigs: &mut [&mut Rig]) {
    for _ in 0..2_000 {
        rigs.iter_mut().for_each(|rig| rig.turn());
        net.advance_to(net.now() + Duration::from_millis(1));
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Everything that can happen to bytes happens often.
fn rough() -> Weather {
    let millis = Duration::from_millis;
    Weather { latency: millis(1)..millis(40), delay: 0.3, split: 0.5, late_close: 0.5, ..Weather::default() }
}

#[test]
fn a_driver_connects_to_another_and_bytes_go_both_ways() {
    for seed in 0..50 {
        let net = Net::new(seed, rough());
        let (mut one, mut other) = (Rig::new(&net), Rig::new(&net));
        let server = address("10.0.0.1:554");
        other.driver.listen(server).unwrap();
        let conn = one.driver.connect(server).unwrap();
        assert!(net.wants_turn(0));
        pass(&net, &mut [&mut one, &mut other]);
        let local = one.connected(conn).unwrap();
        let (accepted, peer) = other.accepted().unwrap();
        assert_eq!(peer, local);
        one.send(conn, b"DESCRIBE");
        other.send(accepted, b"200 OK");
        pass(&net, &mut [&mut one, &mut other]);
        assert_eq!((&one.received[..], &other.received[..]), (&b"200 OK"[..], &b"DESCRIBE"[..]));
        one.driver.submit(Op::Close(conn));
        pass(&net, &mut [&mut one, &mut other]);
        assert!(one.is_closed(conn));
        let end = |event: &Event| matches!(event, Event::Ended { conn, error: None } if *conn == accepted);
        assert!(other.events.iter().any(end));
    }
}

#[test]
fn a_peer_takes_what_a_driver_opens() {
    for seed in 0..50 {
        let net = Net::new(seed, rough());
        let mut rig = Rig::new(&net);
        let camera = address("[2001:db8::7]:554");
        net.set_door(camera, Door::Open(3));
        let conn = rig.driver.connect(camera).unwrap();
        let (wire, from) = loop {
            rig.turn();
            net.advance_to(net.now() + Duration::from_millis(1));
            if let Some(taken) = net.accept(3) {
                break taken;
            }
        };
        assert_eq!(net.next_touched(), Some(3));
        // Also what comes before the driver knows that it is connected is read behind it.
        net.write(wire, Bytes::from_static(b"hello"));
        pass(&net, &mut [&mut rig]);
        assert_eq!(rig.connected(conn), Some(from));
        assert!(matches!(rig.events[0], Event::Connected { .. }));
        assert_eq!(rig.received, b"hello");
        rig.send(conn, b"OPTIONS");
        pass(&net, &mut [&mut rig]);
        let mut read = Vec::new();
        while let Some(bytes) = net.read(wire, 100) {
            read.extend_from_slice(&bytes);
        }
        assert_eq!(read, b"OPTIONS");
        net.reset(wire);
        pass(&net, &mut [&mut rig]);
        assert_eq!(rig.error(conn), Some(std::io::ErrorKind::ConnectionReset));
        rig.driver.submit(Op::Close(conn));
        pass(&net, &mut [&mut rig]);
        assert!(rig.is_closed(conn) && net.is_released(wire));
    }
}

#[test]
fn a_connection_is_refused_where_nobody_listens() {
    let net = Net::new(1, rough());
    let mut rig = Rig::new(&net);
    net.set_door(address("10.0.0.9:81"), Door::Shut);
    for nobody in ["10.0.0.9:80", "10.0.0.9:81"] {
        let conn = rig.driver.connect(address(nobody)).unwrap();
        pass(&net, &mut [&mut rig]);
        assert_eq!(rig.error(conn), Some(std::io::ErrorKind::ConnectionRefused));
        rig.driver.submit(Op::Close(conn));
        pass(&net, &mut [&mut rig]);
        assert!(rig.is_closed(conn));
    }
}

#[test]
fn a_silent_address_never_answers_until_it_is_given_up() {
    let net = Net::new(1, Weather::default());
    let mut rig = Rig::new(&net);
    let camera = address("10.0.0.9:554");
    net.set_door(camera, Door::Silent);
    let conn = rig.driver.connect(camera).unwrap();
    pass(&net, &mut [&mut rig]);
    assert!(rig.events.is_empty(), "{:?}", rig.events);
    assert!(net.next_arrival().is_none() && net.counts().unanswered == 1);
    rig.driver.submit(Op::Close(conn));
    pass(&net, &mut [&mut rig]);
    assert!(rig.is_closed(conn));
    // Back again.
    net.set_door(camera, Door::Open(0));
    let conn = rig.driver.connect(camera).unwrap();
    pass(&net, &mut [&mut rig]);
    assert!(rig.connected(conn).is_some());
}

#[test]
fn a_connection_closed_on_its_way_reaches_nobody() {
    let net = Net::new(1, Weather::default());
    let mut rig = Rig::new(&net);
    let camera = address("10.0.0.9:554");
    net.set_door(camera, Door::Open(0));
    let conn = rig.driver.connect(camera).unwrap();
    net.advance_to(net.now() + Duration::from_secs(1));
    assert!(net.accept(0).is_none(), "nothing leaves before the turn");
    rig.driver.submit(Op::Close(conn));
    pass(&net, &mut [&mut rig]);
    assert!(rig.is_closed(conn) && rig.connected(conn).is_none());
    assert!(net.accept(0).is_none());
}

#[test]
fn a_membership_is_refused() {
    let net = Net::new(1, Weather::default());
    let options = UdpOptions { membership: Some(Membership::default()), ..UdpOptions::default() };
    let refused = net.driver().bind(address("239.1.2.3:5000"), &options).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
}
