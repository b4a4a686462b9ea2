//! Connections: from the accept to the last byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use proto::io::{Op, Piece};

use super::rig::{Make, Rig, Seen, batch, pattern, spliced};

pub fn a_client_is_accepted_heard_answered_and_let_go(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (listener, address) = rig.listen("127.0.0.1:0");
    let (conn, mut client) = rig.connect_to(address);
    let ours = client.local_addr().unwrap();
    assert!(rig.seen.iter().any(|seen| matches!(seen,
        Seen::Accepted { listener: on, conn: of, peer, local }
            if *on == listener && *of == conn && *peer == ours && *local == address)));
    client.write_all(b"OPTIONS * RTSP/1.0\r\n\r\n").unwrap();
    rig.until_received(conn, b"OPTIONS * RTSP/1.0\r\n\r\n");
    rig.send(conn, &b"RTSP/1.0 200 OK\r\n\r\n"[..]);
    rig.until(|rig| (rig.count_sent(conn) == 1).then_some(()));
    rig.close(conn);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"RTSP/1.0 200 OK\r\n\r\n");
    rig.idle();
    assert_eq!(rig.count_closed(conn), 1);
    assert!(rig.ends(conn).is_empty(), "an end that was asked for is not reported");
}

pub fn a_client_that_half_closes_still_gets_its_answer(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    rig.until(|rig| (!rig.ends(conn).is_empty()).then_some(()));
    assert_eq!(rig.received(conn), b"last words");
    rig.send(conn, pattern(300_000, 1));
    let reader = thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).map(|_| answer)
    });
    rig.until(|rig| (rig.count_sent(conn) == 1).then_some(()));
    rig.close(conn);
    assert_eq!(reader.join().unwrap().unwrap(), pattern(300_000, 1));
    assert_eq!(rig.ends(conn), [None], "one orderly end");
}

pub fn a_reset_connection_is_reported_once_and_stays_until_it_is_closed(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    rig.send(conn, &b"unread"[..]);
    rig.until(|rig| (rig.count_sent(conn) == 1).then_some(()));
    client.write_all(b"x").unwrap();
    rig.until_received(conn, b"x");
    // Closing with unread input makes the kernel send a reset.
    drop(client);
    rig.until(|rig| (!rig.ends(conn).is_empty()).then_some(()));
    rig.idle();
    assert_eq!(rig.ends(conn), [Some(ErrorKind::ConnectionReset)]);
    assert_eq!(rig.count_closed(conn), 0);
    rig.close(conn);
    assert_eq!(rig.count_closed(conn), 1);
}

pub fn a_send_to_a_client_that_has_gone_is_reported(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, client) = rig.connect();
    drop(client);
    rig.until(|rig| (!rig.ends(conn).is_empty()).then_some(()));
    // The first send meets the closed peer and provokes its reset, the next one finds it.
    let mut broken = false;
    for _ in 0..100 {
        let sent = rig.count_sent(conn);
        rig.send(conn, pattern(1_000, 2));
        rig.until(|rig| {
            broken = rig.ends(conn).iter().any(Option::is_some);
            (broken || rig.count_sent(conn) > sent).then_some(())
        });
        if broken {
            break;
        }
        rig.idle();
    }
    assert!(broken, "no error in spite of a reset");
    rig.close(conn);
}

pub fn ten_megabytes_arrive_whole_and_are_answered_once(make: Make<'_>) {
    const SIZE: usize = 10 * 1024 * 1024;
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    let bytes = Bytes::from(pattern(SIZE, 3));
    rig.send(conn, bytes.clone());
    rig.idle();
    assert_eq!(rig.count_sent(conn), 0, "more than any send buffer holds");
    let reader = thread::spawn(move || {
        let mut all = vec![0; SIZE];
        client.read_exact(&mut all).map(|()| all)
    });
    rig.until(|rig| (rig.count_sent(conn) > 0).then_some(()));
    assert!(reader.join().unwrap().unwrap() == bytes, "the bytes are those that were sent");
    rig.idle();
    assert_eq!(rig.count_sent(conn), 1);
    rig.close(conn);
}

pub fn a_client_that_never_reads_does_not_hold_up_its_close(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    let (other, mut busy) = rig.connect();
    rig.send(conn, pattern(32 * 1024 * 1024, 4));
    rig.idle();
    assert_eq!(rig.count_sent(conn), 0);
    busy.write_all(b"still heard").unwrap();
    rig.until_received(other, b"still heard");
    rig.close(conn);
    rig.idle();
    assert_eq!(rig.count_sent(conn), 0, "a send that was cut off is not complete");
    let mut rest = Vec::new();
    // What the kernel had taken is followed by an end or by a reset.
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 32 * 1024 * 1024);
}

pub fn an_answer_before_the_close_survives_unread_input(make: Make<'_>) {
    let mut rig = Rig::new(make());
    for round in 0..20 {
        let (conn, mut client) = rig.connect();
        rig.driver.submit(Op::Stop(conn));
        rig.idle();
        client.write_all(&pattern(20_000, round)).unwrap();
        // What is still on its way when the connection is closed makes the system reset it; a busy one takes its time.
        rig.idle();
        rig.send(conn, &b"RTSP/1.0 400 Bad Request\r\n\r\n"[..]);
        rig.until(|rig| (rig.count_sent(conn) == 1).then_some(()));
        rig.close(conn);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an orderly end");
        assert_eq!(answer, b"RTSP/1.0 400 Bad Request\r\n\r\n");
        // A reset behind the end would destroy, on a slower way, what was not acknowledged yet.
        thread::sleep(Duration::from_millis(5));
        assert!(client.take_error().unwrap().is_none(), "no reset followed");
    }
}

pub fn stopped_input_waits_until_it_is_resumed(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    client.write_all(b"before").unwrap();
    rig.until_received(conn, b"before");
    rig.driver.submit(Op::Stop(conn));
    rig.idle();
    client.write_all(b", after").unwrap();
    rig.idle();
    assert_eq!(rig.received(conn), b"before");
    rig.driver.submit(Op::Resume(conn));
    rig.until_received(conn, b"before, after");
    client.write_all(b", again").unwrap();
    rig.until_received(conn, b"before, after, again");
}

pub fn pieces_arrive_in_order_byte_for_byte(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    // A keyframe whose runs are more than one gather list may have.
    let large = batch(&[1_400; 700]);
    let small = batch(&[60, 1_400, 333]);
    let (large_piece, large_bytes) = spliced(&large, 16);
    let (small_piece, small_bytes) = spliced(&small, 12);
    let head = Bytes::from(pattern(77, 5));
    let pieces = [
        Piece::Shared(head.clone()),
        small_piece,
        Piece::Shared(Bytes::new()),
        large_piece,
        Piece::Shared(small.interleaved()),
        Piece::Shared(head.clone()),
    ];
    let parts = [&head[..], &small_bytes, &large_bytes, &small.interleaved(), &head];
    let expected = parts.concat();
    let size = expected.len();
    rig.send_pieces(conn, pieces);
    let reader = thread::spawn(move || {
        let mut all = vec![0; size];
        client.read_exact(&mut all).map(|()| all)
    });
    rig.until(|rig| (rig.count_sent(conn) == 1).then_some(()));
    assert!(reader.join().unwrap().unwrap() == expected, "the bytes are those that were sent");
}

pub fn sends_follow_one_another(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (conn, mut client) = rig.connect();
    for round in 0..200_usize {
        rig.send(conn, pattern(1 + round * 7, round as u8));
        rig.until(|rig| (rig.count_sent(conn) == round + 1).then_some(()));
        let mut got = vec![0; 1 + round * 7];
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, pattern(1 + round * 7, round as u8));
    }
}

pub fn an_operation_on_an_old_name_is_ignored(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (_, address) = rig.listen("127.0.0.1:0");
    let (old, client) = rig.connect_to(address);
    drop(client);
    rig.close(old);
    let (new, mut client) = rig.connect_to(address);
    assert_ne!(old, new);
    assert_eq!(old.index, new.index, "a free place is used again");
    rig.send(old, &b"for the one before"[..]);
    rig.driver.submit(Op::Stop(old));
    rig.driver.submit(Op::Close(old));
    rig.driver.submit(Op::Detach(old));
    rig.idle();
    client.write_all(b"still here").unwrap();
    rig.until_received(new, b"still here");
    rig.send(new, &b"for you"[..]);
    rig.until(|rig| (rig.count_sent(new) == 1).then_some(()));
    rig.close(new);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"for you");
    assert_eq!((rig.count_sent(old), rig.count_closed(old)), (0, 1));
}

pub fn a_client_over_ipv6_is_served(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let Ok((_, address)) = rig.driver.listen("[::1]:0".parse().unwrap()) else {
        return eprintln!("skipped, for this system lacks IPv6");
    };
    let (conn, mut client) = rig.connect_to(address);
    client.write_all(b"six").unwrap();
    rig.until_received(conn, b"six");
    rig.send(conn, &b"v6"[..]);
    rig.until(|rig| (rig.count_sent(conn) == 1).then_some(()));
    let mut got = [0; 2];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"v6");
}

pub fn a_closed_listener_accepts_no_more(make: Make<'_>) {
    let mut rig = Rig::new(make());
    let (listener, address) = rig.listen("127.0.0.1:0");
    let (conn, mut client) = rig.connect_to(address);
    rig.driver.submit(Op::CloseListener(listener));
    rig.until(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).err());
    client.write_all(b"still heard").unwrap();
    rig.until_received(conn, b"still heard");
}
