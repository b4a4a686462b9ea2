//! Trains that cannot be cut, sockets that are full, and who is told what.

use super::*;

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

#[test]
fn datagrams_of_other_sizes_leave_whole_beside_trains() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let (sink, to) = sink();
    // The first train sets the socket to its segments.
    for (size, segment) in [(3000, 1400), (2000, 2000), (500, 500), (1500, 700), (1400, 1400), (2801, 1400)] {
        rig.send_to(udp, to, &vec![segment as u8; size], segment);
        rig.turn(Duration::ZERO);
        let mut rest = size;
        while rest > 0 {
            let expected = rest.min(usize::from(segment));
            assert_eq!(receive(&sink), vec![segment as u8; expected], "{size} in {segment}");
            rest -= expected;
        }
    }
    assert_eq!(rig.driver.stats().datagrams, 3 + 1 + 1 + 3 + 1 + 3);
}

#[test]
fn single_datagrams_still_leave_where_trains_cannot() {
    let Some(mut rig) = Rig::new() else { return };
    let (udp, _) = rig.bind(&UdpOptions::default());
    let sinks = [sink(), sink()];
    rig.send_to(udp, sinks[0].1, &[1; 2000], 1400);
    rig.turn(Duration::ZERO);
    let (fd, _) = rig.driver.datagrams.inspect(udp).unwrap();
    socket::set(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    for (_, to) in &sinks {
        rig.send_to(udp, *to, b"report", 6);
    }
    rig.turn(Duration::ZERO);
    assert_eq!(receive(&sinks[0].0).len() + receive(&sinks[0].0).len(), 2000);
    for (sink, _) in &sinks {
        assert_eq!(receive(sink), b"report");
    }
}
