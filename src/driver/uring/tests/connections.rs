//! Connections and the waker, where the ring's sizes and ways matter.

use std::io::{Read, Write};

use super::*;
use crate::config::ZeroCopy;

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
fn ten_thousand_sends_through_small_queues_are_all_answered() {
    ten_thousand_sends(UringOptions { entries: 16, completions: 32, ..UringOptions::default() });
}

#[test]
fn ten_thousand_sends_without_deferred_completions_are_all_answered() {
    ten_thousand_sends(UringOptions { deferral: false, ..UringOptions::default() });
}

fn ten_thousand_sends(options: UringOptions) {
    let Some(mut rig) = Rig::with(options) else { return };
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

/// Large enough to be lent.
const LARGE: usize = 200_000;

fn lending(zero_copy: ZeroCopy) -> Option<Rig> {
    Rig::with(UringOptions { zero_copy, ..UringOptions::default() })
}

/// Reads so many bytes beside the driver.
fn reading(mut client: TcpStream, size: usize) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = vec![0; size];
        client.read_exact(&mut all).unwrap();
        all
    })
}

#[test]
fn what_is_lent_arrives_and_is_given_back() {
    let Some(mut rig) = lending(ZeroCopy::On) else { return };
    let (client, conn) = rig.connect();
    let (piece, packets) = spliced(&[1400; 100]);
    let owner = std::sync::Arc::new(vec![7; LARGE]);
    let shared = Bytes::from_owner(SharedOwner(owner.clone()));
    let expected = [vec![7; LARGE], packets.concat(), vec![7; LARGE]].concat();
    let reader = reading(client, expected.len());
    for (count, pieces) in
        (1..).zip([smallvec![Piece::Shared(shared.clone())], smallvec![piece, Piece::Shared(shared)]])
    {
        rig.driver.submit(Op::Send { conn, pieces });
        rig.until("sent", |rig| (rig.sent() == count).then_some(()));
    }
    assert!(reader.join().unwrap() == expected);
    assert_eq!(rig.driver.stats().sends_lent, 2);
    rig.until("given back", |_| (std::sync::Arc::strong_count(&owner) == 1).then_some(()));
}

/// Lets a test see whether bytes are still held.
struct SharedOwner(std::sync::Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedOwner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn a_link_that_copies_what_is_lent_is_lent_nothing_more() {
    let Some(mut rig) = lending(ZeroCopy::Auto) else { return };
    let (client, conn) = rig.connect();
    let reader = reading(client, 4 * LARGE);
    for count in 1..=4 {
        rig.send(conn, vec![count as u8; LARGE]);
        rig.until("sent", |rig| (rig.sent() == count).then_some(()));
        // The loopback device always copies; it says so when the bytes were read.
        let is_known = |rig: &mut Rig| (rig.driver.stats().loans_copied == 1).then_some(());
        rig.until("said to be copied", is_known);
    }
    assert_eq!(rig.driver.stats().sends_lent, 1);
    assert_eq!(reader.join().unwrap().len(), 4 * LARGE);
    // Further connections from there need not find out.
    let (client, conn) = rig.connect();
    let reader = reading(client, LARGE);
    rig.send(conn, vec![5; LARGE]);
    rig.until("sent", |rig| (rig.sent() == 5).then_some(()));
    assert_eq!(rig.driver.stats().sends_lent, 1);
    assert_eq!(reader.join().unwrap().len(), LARGE);
}

#[test]
fn small_sends_and_those_of_whom_it_is_forbidden_are_copied() {
    for (zero_copy, size) in [(ZeroCopy::On, 10_000), (ZeroCopy::Off, LARGE)] {
        let Some(mut rig) = lending(zero_copy) else { return };
        let (client, conn) = rig.connect();
        let reader = reading(client, size);
        rig.send(conn, vec![1; size]);
        rig.until("sent", |rig| (rig.sent() == 1).then_some(()));
        assert_eq!(rig.driver.stats().sends_lent, 0);
        reader.join().unwrap();
    }
}

#[test]
fn a_connection_may_be_closed_while_its_bytes_are_lent() {
    let Some(mut rig) = lending(ZeroCopy::On) else { return };
    let (client, conn) = rig.connect();
    let owner = std::sync::Arc::new(vec![7; 64 * LARGE]);
    rig.send(conn, Bytes::from_owner(SharedOwner(owner.clone())));
    // Nobody reads: the send stays under way, with a part of it on loan.
    rig.turn(Duration::from_millis(50));
    rig.driver.submit(Op::Close(conn));
    rig.until("closed", |rig| rig.has(|event| matches!(event, Event::Closed { .. })));
    drop(client);
    rig.until("given back", |_| (std::sync::Arc::strong_count(&owner) == 1).then_some(()));
}
