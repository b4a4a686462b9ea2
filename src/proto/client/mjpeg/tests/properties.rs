//! What holds for any bytes and any split of them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// All that a server sends to a client that asks for a stream, from a 401 over a redirect to the stream.
fn transcript() -> Vec<u8> {
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    let mut all = response("401 x", challenge, b"no\xffwait");
    all.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
    all.extend(STREAM.replace("Server: x", "Transfer-Encoding: chunked").as_bytes());
    let mut cut = picture(2);
    cut.truncate(cut.len() - 2);
    let body = [part(&picture(1)), part(&cut), part(&picture(3)[..12]), part(&picture(4)), part(&picture(5))];
    for chunk in body.concat().chunks(50) {
        all.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend(chunk);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\nX: y\r\n\r\nmore");
    all
}

/// Snapshots on one connection, with nothing between them.
fn snapshots() -> Vec<u8> {
    let jpeg = "Content-Type: image/jpeg\r\n";
    [response("200 OK", jpeg, &picture(1)), response("200 OK", jpeg, b"no"), response("302 x", "", b"")]
        .concat()
}

/// Events and requests of a client that gets these pieces, all at one time.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Vec<String>) {
    let now = Time::ZERO;
    let mut client = MjpegClient::new(now, config("http://u:p@h/a"));
    let (mut events, mut sent) = (String::new(), Vec::new());
    let mut drain = |client: &mut MjpegClient| {
        while let Some(event) = client.poll_event() {
            events += &format!("{event:?}\n");
        }
        while let Some(bytes) = client.poll_transmit() {
            sent.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        assert!(client.memory_bytes() < 256 * 1024);
    };
    client.handle_connected(now);
    drain(&mut client);
    for piece in pieces {
        client.handle_bytes(now, piece);
        drain(&mut client);
    }
    client.handle_closed(now);
    drain(&mut client);
    (events, sent)
}

#[test]
fn every_split_of_a_response_gives_the_same_events() {
    for bytes in [transcript(), snapshots()] {
        let whole = run([&bytes[..]]);
        assert!(whole.0.contains("Playing") && whole.0.contains("Picture"), "{}", whole.0);
        assert_eq!(run(bytes.chunks(1)), whole, "byte by byte");
        for at in 0..bytes.len() {
            assert_eq!(run([&bytes[..at], &bytes[at..]]), whole, "split at {at}");
        }
    }
    let (events, sent) = run([&transcript()[..]]);
    assert_eq!((events.matches("Picture").count(), sent.len()), (4, 2), "{events}");
    assert!(events.ends_with("Failed(Closed)\n"), "{events}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        is_playing in any::<bool>(),
        pieces in vec(vec(prop_oneof![any::<u8>(), 0xc0u8.., Just(0xff)], 0..60), 0..6),
    ) {
        let head = if is_playing { STREAM.as_bytes() } else { b"" };
        run([head].into_iter().chain(pieces.iter().map(|piece| &piece[..])));
    }

    #[test]
    fn a_damaged_response_gives_the_same_events_at_any_split(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        is_stream in any::<bool>(),
    ) {
        let mut bytes = if is_stream { transcript() } else { snapshots() };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(run(pieces), run([&bytes[..]]));
    }

    /// Whatever stands around pictures, as long as it looks like none.
    #[test]
    fn whole_pictures_are_found_between_any_texts(
        texts in vec("[ -~\r\n]{0,40}", 1..6),
        scans in vec(vec(any::<u8>().prop_filter("no marker", |byte| *byte != 0xff), 0..300), 6),
        piece_bytes in 1usize..400,
    ) {
        let mut bytes = STREAM.as_bytes().to_vec();
        let mut expected = Vec::new();
        for (text, scan) in texts.iter().zip(&scans) {
            let mut file = picture(1);
            let at = file.len() - 2;
            file.splice(at..at, scan.iter().copied());
            bytes.extend(text.as_bytes());
            bytes.extend(&file);
            expected.push(Bytes::from(file));
        }
        let mut link = Link::to("http://h/a");
        bytes.chunks(piece_bytes).for_each(|piece| link.receive(piece));
        prop_assert_eq!(link.pictures, expected);
    }
}
