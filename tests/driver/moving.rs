//! Connections and addresses that several drivers have to do with.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use proto::io::{Conn, Detached, Op};

use super::rig::{Make, Rig, Seen, pattern};

pub fn a_connection_moves_with_its_unread_input(make: Make<'_>) {
    let (mut from, mut to) = (Rig::new(make()), Rig::new(make()));
    let (mut conn, mut client) = from.connect();
    client.write_all(b"first").unwrap();
    from.until_received(conn, b"first");
    for round in 0..10_u8 {
        let socket = detach(&mut from, conn);
        client.write_all(&[round; 100]).unwrap();
        let moved = to.driver.attach(socket).unwrap();
        to.until_received(moved, &[round; 100]);
        to.send(moved, vec![round; 50]);
        to.until(|rig| (rig.count_sent(moved) == 1).then_some(()));
        let mut answer = [0; 50];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [round; 50]);
        from.send(conn, &b"under the old name"[..]);
        from.driver.submit(Op::Close(conn));
        from.idle();
        assert_eq!((from.count_closed(conn), from.ends(conn).len()), (0, 0));
        conn = moved;
        std::mem::swap(&mut from, &mut to);
    }
    from.close(conn);
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0, "an orderly end");
}

pub fn nothing_is_lost_of_input_that_comes_while_it_moves(make: Make<'_>) {
    const SIZE: usize = 5_000_000;
    let mut rigs = [Rig::new(make()), Rig::new(make())];
    let (mut conn, mut client) = rigs[0].connect();
    let writer = thread::spawn(move || {
        for run in pattern(SIZE, 1).chunks(1_000) {
            client.write_all(run).unwrap();
        }
        client
    });
    let mut got = Vec::new();
    let mut moves = 0;
    while got.len() < SIZE {
        let [from, to] = &mut rigs;
        from.seen.clear();
        from.turn(Duration::from_millis(20));
        if got.len() + from.received(conn).len() >= SIZE {
            got.extend(from.received(conn));
            break;
        }
        // What is on its way to the one comes before the other has it.
        let socket = detach(from, conn);
        got.extend(from.received(conn));
        to.seen.clear();
        conn = to.driver.attach(socket).unwrap();
        moves += 1;
        rigs.swap(0, 1);
    }
    assert!(moves > 2, "{moves} moves");
    assert!(got == pattern(SIZE, 1), "every byte, in order");
    drop(writer.join().unwrap());
    let rig = &mut rigs[0];
    rig.until(|rig| (rig.ends(conn) == [None]).then_some(()));
}

pub fn several_drivers_share_one_address(make: Make<'_>) {
    if !cfg!(unix) {
        return;
    }
    let mut rigs = [Rig::new(make()), Rig::new(make())];
    let (_, address) = rigs[0].listen("127.0.0.1:0");
    assert_eq!(rigs[1].driver.listen(address).unwrap().1, address);
    let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
    let accepted = |rig: &Rig| rig.seen.iter().filter(|s| matches!(s, Seen::Accepted { .. })).count();
    let [one, other] = &mut rigs;
    one.until(|one| {
        other.turn(Duration::ZERO);
        (accepted(one) + accepted(other) == clients.len()).then_some(())
    });
    assert!(accepted(one) > 0 && accepted(other) > 0, "the kernel spreads connections");
}

pub fn a_connection_of_another_kind_is_refused(make: Make<'_>) {
    let mut driver = make();
    assert!(driver.attach(Detached(Box::new("not a socket"))).is_err());
    driver.turn(Some(driver.now()), &mut Vec::new()).unwrap();
}

#[track_caller]
fn detach(rig: &mut Rig, conn: Conn) -> Detached {
    rig.driver.submit(Op::Detach(conn));
    rig.until(|rig| {
        rig.seen.iter_mut().find_map(|seen| match seen {
            Seen::Detached(of, socket) if *of == conn => socket.take(),
            _ => None,
        })
    })
}
