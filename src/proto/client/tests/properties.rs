//! What holds for any bytes and any split of them.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// All that a camera sends in a session, from its first response on, for a client that asks in the usual order.
fn transcript() -> Vec<u8> {
    let mut camera = Camera::new();
    let mut link = Link::to("rtsp://h/a");
    let mut all = Vec::new();
    while let Some(request) = link.requests().pop() {
        let mut bytes = camera.answer(&request);
        if request.method == Method::Setup {
            bytes.extend(b"$\x00\x00\x03abc\r\n$\x02\x00\x00");
        }
        link.receive(&bytes);
        all.extend(bytes);
    }
    all.extend(b"OPTIONS * RTSP/1.0\r\nCSeq: 5\r\n\r\n$\x01\x00\x02de$\x00\x00\x01f");
    all.extend(b"REDIRECT * RTSP/1.0\r\nCSeq: 6\r\nLocation: rtsp://other/\r\n\r\n$\x00\x00\x01g");
    all
}

/// Events and messages of a client that gets these pieces, all at one time.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, transfer: Transfer) -> (String, BytesMut) {
    let now = Time::ZERO;
    let mut client = Client::new(now, Config { transfer, ..config("rtsp://u:p@h/a") });
    client.handle_connected(now);
    let (mut events, mut sent) = (String::new(), BytesMut::new());
    for piece in pieces {
        client.handle_bytes(now, piece);
        while let Some(event) = client.poll_event() {
            events += &format!("{event:?}\n");
            if let Event::PortsWanted { media } = event {
                client.handle_ports(now, media, Pair::new(6_000, 6_001));
            }
        }
        while let Some(bytes) = client.poll_transmit() {
            sent.extend(bytes);
        }
        assert!(client.memory_bytes() < 256 * 1024);
    }
    client.handle_closed(now);
    while let Some(event) = client.poll_event() {
        events += &format!("{event:?}\n");
    }
    (events, sent)
}

#[test]
fn every_split_of_a_session_gives_the_same_events() {
    let bytes = transcript();
    let whole = run([&bytes[..]], Transfer::Tcp);
    assert!(whole.0.contains("Playing") && whole.0.contains("host: \"other\""), "{}", whole.0);
    // The second track's first packet comes before its channel is granted.
    assert_eq!(whole.0.matches("Packet").count(), 5, "{}", whole.0);
    assert_eq!(run(bytes.chunks(1), Transfer::Tcp), whole, "byte by byte");
    for at in 0..bytes.len() {
        assert_eq!(run([&bytes[..at], &bytes[at..]], Transfer::Tcp), whole, "split at {at}");
    }
}

fn transfer() -> impl Strategy<Value = Transfer> {
    prop_oneof![Just(Transfer::Tcp), Just(Transfer::Udp), Just(Transfer::Multicast)]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(pieces in vec(vec(any::<u8>(), 0..60), 0..6), transfer in transfer()) {
        run(pieces.iter().map(|piece| &piece[..]), transfer);
    }

    #[test]
    fn a_damaged_session_gives_the_same_events_at_any_split(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        transfer in transfer(),
    ) {
        let mut bytes = transcript();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(run(pieces, transfer), run([&bytes[..]], transfer));
    }

    #[test]
    fn responses_of_any_form_are_survived(
        lines in vec(
            prop_oneof![
                Just("WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"".to_owned()),
                Just("Session: 1;timeout=0".to_owned()),
                "Transport: [RTPAV/TC;=a-z0-9-]{0,40}",
                "(WWW-Authenticate|RTP-Info|Range|Content-Base|Location|Public): .{0,40}",
            ],
            0..4,
        ),
        statuses in vec(100u16..600, 1..8),
    ) {
        let all = statuses.iter().enumerate().map(|(index, status)| {
            let head = format!("RTSP/1.0 {status} x\r\nCSeq: {}\r\n", index + 1);
            format!("{head}{}\r\n\r\n", lines.join("\r\n"))
        });
        let all: Vec<String> = all.collect();
        run(all.iter().map(|one| one.as_bytes()), Transfer::Tcp);
    }
}
