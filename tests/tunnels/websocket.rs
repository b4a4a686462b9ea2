//! The WebSocket door: its handshake, its frames, and what breaks them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::WebSocket;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::{Bytes, Message};

use super::bridge::{read_head, websocket};
use super::server;
use crate::client::{Message as Rtsp, PATIENCE, parse};
use crate::corpus::folder;
use crate::server::{Backend, on_both_backends};

/// The request of the manual's chapter 7.
pub(super) const HANDSHAKE: &str = "GET /websocket HTTP/1.1\r\nHost: 192.168.3.27\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: KSO+hOFs1q5SkEnx8bvp6w==\r\nOrigin: http://192.168.3.27\r\n\
    Sec-WebSocket-Protocol: rtsp.onvif.org\r\nSec-WebSocket-Version: 13\r\n\r\n";

const OPTIONS: &[u8] = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";

/// Sends a handshake as it is and reads the head of the answer.
fn answer(server: SocketAddr, handshake: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(handshake.as_bytes()).unwrap();
    (read_head(&mut stream), stream)
}

fn the_handshake_is_the_manuals(backend: Backend) {
    let server = server(backend).start();
    for address in [server.http_address(), server.address()] {
        let (head, _) = answer(address, HANDSHAKE);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: G/cEt4HtsYEnP0MnSVkKRk459gM=\r\n\
            Sec-WebSocket-Protocol: rtsp.onvif.org\r\nSec-WebSocket-Version: 13\r\n";
        assert!(head.starts_with(expected), "{head}");
    }
    // At any path, and with whatever else a client offers.
    let other = HANDSHAKE.replace("/websocket", "/rtsp-over-websocket?a=1").replace(
        "rtsp.onvif.org",
        "chat, binary\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    );
    let (head, _) = answer(server.http_address(), &other);
    assert!(head.contains("\r\nSec-WebSocket-Protocol: binary\r\n"), "{head}");
    assert!(!head.contains("Extensions"), "{head}");
    let (head, _) = answer(server.http_address(), &HANDSHAKE.replace("rtsp.onvif.org", "chat"));
    assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Sec-WebSocket-Protocol"), "{head}");
    let (head, _) = answer(server.http_address(), &HANDSHAKE.replace("Version: 13", "Version: 8"));
    assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("Sec-WebSocket-Version: 13\r\n"), "{head}");
    let (head, _) = answer(server.http_address(), &HANDSHAKE.replace("KSO+", ""));
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

fn pages_of_other_origins_are_refused_where_some_are_named(backend: Backend) {
    let server =
        server(backend).setting("ws_origin", "http://192.168.3.27").setting("ws_origin", "https://b").start();
    let address = server.http_address();
    for (origin, status) in [
        ("Origin: http://192.168.3.27\r\n", 101),
        ("Origin: HTTPS://B\r\n", 101),
        ("", 101),
        ("Origin: https://b.example\r\n", 403),
        ("Origin: null\r\n", 403),
    ] {
        let handshake = HANDSHAKE.replace("Origin: http://192.168.3.27\r\n", origin);
        let (head, _) = answer(address, &handshake);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{origin}: {head}");
    }
    // A page's tunnel is no other way in.
    let (head, _) = answer(address, "GET / HTTP/1.1\r\nOrigin: https://c\r\nx-sessioncookie: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

/// The next RTSP response in binary messages.
#[track_caller]
fn response(websocket: &mut WebSocket<TcpStream>, pending: &mut Vec<u8>) -> u16 {
    websocket.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        while let Some((message, size)) = parse(pending) {
            pending.drain(..size);
            if let Rtsp::Response(response) = message {
                return response.status;
            }
        }
        match websocket.read().unwrap() {
            Message::Binary(bytes) => pending.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(bytes))
}

fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Message {
    let header = FrameHeader { is_final, opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
    Message::Frame(Frame::from_payload(header, Bytes::copy_from_slice(payload)))
}

fn where_a_frame_ends_says_nothing_of_where_a_request_ends(backend: Backend) {
    let server = server(backend).start();
    let (mut socket, mut pending) = (websocket(server.http_address(), None), Vec::new());
    // Two in one, then one in three.
    socket.send(binary(&[OPTIONS, OPTIONS].concat())).unwrap();
    assert_eq!(response(&mut socket, &mut pending), 200);
    assert_eq!(response(&mut socket, &mut pending), 200);
    for part in [&OPTIONS[..5], &OPTIONS[5..6], &OPTIONS[6..]] {
        socket.send(binary(part)).unwrap();
    }
    assert_eq!(response(&mut socket, &mut pending), 200);
    // Fragments of one message, with a ping between them.
    socket.send(frame(OpCode::Data(Data::Binary), false, &OPTIONS[..9])).unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"still there?"))).unwrap();
    socket.send(frame(OpCode::Data(Data::Continue), false, b"")).unwrap();
    socket.send(frame(OpCode::Data(Data::Continue), true, &OPTIONS[9..])).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(Bytes::from_static(b"still there?")));
    assert_eq!(response(&mut socket, &mut pending), 200);
    // A pong that nobody asked for is no news.
    socket.send(frame(OpCode::Control(Control::Pong), true, b"x")).unwrap();
    socket.send(binary(OPTIONS)).unwrap();
    assert_eq!(response(&mut socket, &mut pending), 200);
    // The end is answered in kind.
    socket.close(None).unwrap();
    let closed = socket.read().unwrap();
    assert!(
        matches!(&closed, Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. }))),
        "{closed:?}"
    );
}

fn pings_are_answered_while_media_flows(backend: Backend) {
    let server = server(backend).media(folder()).start();
    let (mut socket, mut pending) = (websocket(server.http_address(), Some("binary")), Vec::new());
    let url = server.url("/h264_aac.mp4");
    let mut session = String::new();
    for (index, (method, track, headers)) in
        [("SETUP", "/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"), ("PLAY", "", "")]
            .into_iter()
            .enumerate()
    {
        let text = format!("{method} {url}{track} RTSP/1.0\r\nCSeq: {index}\r\n{headers}{session}\r\n");
        socket.send(binary(text.as_bytes())).unwrap();
        if method == "SETUP" {
            let Message::Binary(bytes) = socket.read().unwrap() else { panic!() };
            let Some((Rtsp::Response(answer), _)) = parse(&bytes) else { panic!("{bytes:?}") };
            session = format!("Session: {}\r\n", answer.expect(200).session().unwrap());
        } else {
            assert_eq!(response(&mut socket, &mut pending), 200);
        }
    }
    for round in 0..5_u8 {
        socket.send(Message::Ping(Bytes::from(vec![round; 125]))).unwrap();
        let mut packets = 0;
        loop {
            match socket.read().unwrap() {
                Message::Pong(bytes) => {
                    assert_eq!(bytes, vec![round; 125]);
                    break;
                }
                Message::Binary(bytes) => {
                    pending.extend_from_slice(&bytes);
                    while let Some((message, size)) = parse(&pending) {
                        assert!(matches!(message, Rtsp::Frame { .. }), "{message:?}");
                        pending.drain(..size);
                        packets += 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(packets < 1_000, "the answer does not wait for the end");
    }
}

/// What a server says before it closes: the code of its Close.
fn code_after(server: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let (head, mut stream) = answer(server, HANDSHAKE);
    assert!(head.starts_with("HTTP/1.1 101 "));
    stream.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    // The last frame: 88 02 and the code.
    let close = rest.get(rest.len().checked_sub(4)?..)?;
    (close[..2] == [0x88, 2]).then(|| u16::from_be_bytes([close[2], close[3]]))
}

fn what_is_no_frame_of_rtsp_ends_with_its_code(backend: Backend) {
    let server = server(backend).start();
    let address = server.http_address();
    let mut other = websocket(address, Some("rtsp.onvif.org"));
    let cases: &[(&str, &[u8], u16)] = &[
        ("text", b"\x81\x81\0\0\0\0x", 1003),
        ("not masked", b"\x82\x01x", 1002),
        ("2^63 bytes", b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002),
        ("2^62 bytes", b"\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0", 1009),
        ("a large ping", b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
        ("half a ping", b"\x09\x80\0\0\0\0", 1002),
        ("a rest of nothing", b"\x80\x80\0\0\0\0", 1002),
        ("compressed", b"\xc2\x80\0\0\0\0", 1002),
        ("an unknown opcode", b"\x83\x80\0\0\0\0", 1002),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(code_after(address, bytes), Some(*code), "{what}");
        let reply = [OPTIONS_IN_A_FRAME, bytes].concat();
        assert_eq!(code_after(address, &reply), Some(*code), "{what} behind a request");
    }
    // HTTP inside, and no RTSP at all.
    let inside = [b"\x82\x9b\0\0\0\0".as_slice(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    assert_eq!(code_after(address, &inside), Some(1001));
    assert_eq!(code_after(address, b"\x82\x81\0\0\0\0\x16"), Some(1001));
    let mut pending = Vec::new();
    other.send(binary(OPTIONS)).unwrap();
    assert_eq!(response(&mut other, &mut pending), 200);
    server.wait_for_log("not a WebSocket of RTSP", Duration::from_secs(5));
}

/// [`OPTIONS`] behind a head of a client whose mask is zero.
const OPTIONS_IN_A_FRAME: &[u8] = b"\x82\x9f\0\0\0\0OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";

on_both_backends!(
    the_handshake_is_the_manuals,
    pages_of_other_origins_are_refused_where_some_are_named,
    where_a_frame_ends_says_nothing_of_where_a_request_ends,
    what_is_no_frame_of_rtsp_ends_with_its_code;
    "ffmpeg":
    pings_are_answered_while_media_flows,
);

#[test]
fn the_frame_of_the_tests_has_its_size() {
    assert_eq!(usize::from(OPTIONS_IN_A_FRAME[1] & 0x7f), OPTIONS.len());
    assert_eq!(&OPTIONS_IN_A_FRAME[6..], OPTIONS);
}
