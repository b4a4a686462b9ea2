//! Recorded dialogues and made-up messages through the parser at every split.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::message::{Headers, Method, Request, Response};
use super::parse::{Item, Limits, ParseError, Parser};
use super::status::Status;

const DIALOGUES: &[(&str, &[u8])] = &[
    ("ffmpeg_play_tcp", include_bytes!("../../../tests/data/rtsp/ffmpeg_play_tcp.txt")),
    ("ffmpeg_play_udp", include_bytes!("../../../tests/data/rtsp/ffmpeg_play_udp.txt")),
    ("ffmpeg_publish_tcp", include_bytes!("../../../tests/data/rtsp/ffmpeg_publish_tcp.txt")),
    ("ffmpeg_publish_udp", include_bytes!("../../../tests/data/rtsp/ffmpeg_publish_udp.txt")),
    ("gst_play_any", include_bytes!("../../../tests/data/rtsp/gst_play_any.txt")),
    ("gst_play_tcp", include_bytes!("../../../tests/data/rtsp/gst_play_tcp.txt")),
    ("gst_publish_tcp", include_bytes!("../../../tests/data/rtsp/gst_publish_tcp.txt")),
    ("happytime_publish", include_bytes!("../../../tests/data/rtsp/happytime_publish.txt")),
    ("server_replies", include_bytes!("../../../tests/data/rtsp/server_replies.txt")),
];

/// What a dialogue gives when it arrives in these pieces, and how it ends.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Item>, Result<usize, ParseError>) {
    let mut parser = Parser::new(Limits::DEFAULT);
    let mut items = Vec::new();
    for piece in pieces {
        parser.handle_bytes(piece);
        loop {
            match parser.poll() {
                Ok(Some(item @ Item::Http { .. })) => {
                    items.push(item);
                    parser.take_buffered();
                    return (items, Ok(0));
                }
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    (items, Ok(parser.buffered()))
}

fn whole(bytes: &[u8]) -> (Vec<Item>, Result<usize, ParseError>) {
    read(std::iter::once(bytes))
}

#[test]
fn dialogues_of_real_clients_are_read_to_the_end() {
    for (name, bytes) in DIALOGUES {
        let (items, end) = whole(bytes);
        assert_eq!(end, Ok(0), "{name}");
        assert!(
            !items.iter().any(|item| matches!(item, Item::BadRequest { .. } | Item::Http { .. })),
            "{name}"
        );
        let packets = items.iter().filter(|item| matches!(item, Item::Interleaved { .. })).count();
        assert_eq!(packets > 0, name.ends_with("publish_tcp"), "{name}");
        assert!(items.len() - packets >= 5, "{name}");
    }
}

#[test]
fn every_split_of_a_dialogue_gives_the_same_items() {
    for (name, bytes) in DIALOGUES {
        let bytes = &bytes[..bytes.len().min(4000)];
        let expected = whole(bytes);
        for at in 0..bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(read([left, right].into_iter()), expected, "{name} split at {at}");
        }
        assert_eq!(read(bytes.chunks(1)), expected, "{name} byte by byte");
    }
}

#[test]
fn a_message_that_arrives_byte_by_byte_is_looked_through_once() {
    // A body and a packet of full size: with a search or a copy from the start for each byte this would not end.
    let body = vec![b'x'; 200_000];
    let request = Request::new(Method::Announce, "rtsp://h/a").body("application/sdp", body);
    let mut bytes = request.to_bytes().to_vec();
    bytes.extend([b'$', 0, 0xff, 0xff]);
    bytes.resize(bytes.len() + 0xffff, 0);
    let (items, end) = read(bytes.chunks(1));
    assert_eq!((items.len(), end), (2, Ok(0)));
}

fn any_text() -> impl Strategy<Value = String> {
    // Blanks at the ends and control characters do not survive, by design.
    "[!-~\u{e4}\u{20ac}]{1,8}( [!-~\u{e4}\u{20ac}]{1,8}){0,3}"
}

fn any_headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![Just("CSeq".to_owned()), Just("session".to_owned()), "X-[A-Za-z0-9-]{1,12}"];
    prop::collection::vec((name, any_text()), 0..12).prop_map(|list| {
        let mut headers = Headers::new();
        list.into_iter().for_each(|(name, value)| headers.push(name, value));
        headers
    })
}

prop_compose! {
    fn any_request()(
        method in "[A-Z_]{1,12}",
        uri in any_text(),
        version in any::<(u8, u8)>(),
        headers in any_headers(),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) -> Request {
        Request { method: Method::from(method.as_str()), uri, version, headers, body: body.into() }
    }
}

prop_compose! {
    fn any_response()(
        status in 100u16..1000,
        headers in any_headers(),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) -> Response {
        Response { status: Status(status), headers, body: body.into() }
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    prop_oneof![
        any_request().prop_map(Item::Request),
        any_response().prop_map(Item::Response),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(channel, payload)| Item::Interleaved { channel, payload: payload.into() }),
    ]
}

/// What a peer sends that claims to be RTSP: pieces of the grammar in any order.
fn any_fragments() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "OPTIONS",
        "SETUP",
        " ",
        " ",
        "rtsp://h/a",
        "*",
        " RTSP/1.0",
        " RTSP/2.0",
        "RTSP/1.0 200 OK",
        "\r\n",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "CSeq: 1",
        "Content-Length: 3",
        "Content-Length: x",
        "$",
        "\0",
        ":",
        "\t",
        "GET / HTTP/1.1",
        "\u{1}\u{0}\u{2}",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30)
        .prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn what_is_written_is_read_at_any_split(
        items in prop::collection::vec(any_item(), 1..6),
        cuts in prop::collection::vec(1usize..40, 1..40),
    ) {
        let mut out = BytesMut::new();
        for item in &items {
            match item {
                Item::Request(request) => request.write(&mut out),
                Item::Response(response) => response.write(&mut out),
                Item::Interleaved { channel, payload } => {
                    out.extend_from_slice(&[b'$', *channel]);
                    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
                    out.extend_from_slice(payload);
                }
                _ => unreachable!("not made above"),
            }
        }
        // A written body brings its length along as a header.
        let expected: Vec<Item> = items.into_iter().map(with_length).collect();
        let bytes = out.freeze();
        let mut rest = &bytes[..];
        let mut sizes = cuts.iter().cycle();
        let pieces = std::iter::from_fn(|| {
            let size = rest.len().min(*sizes.next()?);
            let (piece, more) = rest.split_at(size);
            rest = more;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(read(pieces), (expected, Ok(0)));
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_alike_at_any_split(bytes: Vec<u8>, at: prop::sample::Index) {
        let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(read([left, right].into_iter()), whole(&bytes));
    }

    #[test]
    fn any_fragments_of_the_grammar_are_read_alike_at_any_split(bytes in any_fragments(), at: prop::sample::Index) {
        let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(read([left, right].into_iter()), whole(&bytes));
    }
}

fn with_length(item: Item) -> Item {
    let push = |headers: &mut Headers, body: &Bytes| {
        if !body.is_empty() {
            headers.push("Content-Length", body.len().to_string());
        }
    };
    match item {
        Item::Request(mut request) => {
            push(&mut request.headers, &request.body);
            Item::Request(request)
        }
        Item::Response(mut response) => {
            push(&mut response.headers, &response.body);
            Item::Response(response)
        }
        other => other,
    }
}
