//! A port of plain RTSP that leads through a tunnel: every client and player comes through every door by it. Shares no
//! code with the server; WebSocket is tungstenite's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Bytes, Message};

use crate::client::Client;

/// How RTSP comes to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    WebSocket,
}

pub(crate) const DOORS: [Door; 2] = [Door::Http, Door::WebSocket];

/// A client on a connection that leads through a door.
pub(crate) fn connect(server: SocketAddr, door: Door) -> Client {
    Client::on(TcpStream::connect(bridge(server, door)).unwrap())
}

/// A port that leads through a door for the rest of the test's process.
pub(crate) fn bridge(server: SocketAddr, door: Door) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            client.set_nodelay(true).unwrap();
            thread::spawn(move || match door {
                Door::Http => through_http(server, client),
                Door::WebSocket => through_websocket(server, client),
            });
        }
    });
    address
}

/// A cookie that no other tunnel has.
pub(crate) fn cookie() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{:08x}{:08x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Reads a head up to and with its empty line.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Opens the GET of a tunnel.
pub(crate) fn get(server: SocketAddr, cookie: &str, version: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "GET /tunnel HTTP/{version}\r\nHost: x\r\nx-sessioncookie: {cookie}\r\n\
         Accept: application/x-rtsp-tunnelled\r\nPragma: no-cache\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Opens the POST of a tunnel.
pub(crate) fn post(server: SocketAddr, cookie: &str, version: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "POST /tunnel HTTP/{version}\r\nHost: x\r\nX-SessionCookie: {cookie}\r\n\
         Content-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn through_http(server: SocketAddr, mut client: TcpStream) {
    let cookie = cookie();
    let mut out = get(server, &cookie, "1.1");
    let head = read_head(&mut out);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let mut into = post(server, &cookie, "1.1");
    let mut back = client.try_clone().unwrap();
    thread::spawn(move || {
        let _ = std::io::copy(&mut out, &mut back);
        let _ = back.shutdown(Shutdown::Both);
        let _ = out.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        // Padded wherever a piece ends, in lines.
        let text = STANDARD.encode(&buffer[..count]);
        let lines: Vec<u8> = text.as_bytes().chunks(77).flat_map(|line| [line, b"\r\n"].concat()).collect();
        if into.write_all(&lines).is_err() {
            break;
        }
    }
    // The way in is the first that a client closes; what it has asked is still answered.
    let _ = into.shutdown(Shutdown::Both);
}

/// Opens a WebSocket by tungstenite.
pub(crate) fn websocket(server: SocketAddr, protocol: Option<&'static str>) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{server}/websocket").into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
    }
    let (websocket, response) = tungstenite::client(request, stream).unwrap();
    let granted = response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().unwrap());
    assert_eq!(granted, protocol);
    websocket
}

fn through_websocket(server: SocketAddr, mut client: TcpStream) {
    let mut reader = websocket(server, Some("rtsp.onvif.org"));
    let stream = reader.get_ref().try_clone().unwrap();
    let mut writer = WebSocket::from_raw_socket(stream, Role::Client, None);
    let mut back = client.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok(message) = reader.read() {
            match message {
                Message::Binary(bytes) => {
                    if back.write_all(&bytes).is_err() {
                        break;
                    }
                }
                Message::Close(_) => break,
                other => panic!("the server sent {other:?}"),
            }
        }
        let _ = back.shutdown(Shutdown::Both);
        let _ = reader.get_ref().shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 4_096];
    loop {
        match client.read(&mut buffer) {
            Ok(count @ 1..) => {
                if writer.send(Message::Binary(Bytes::copy_from_slice(&buffer[..count]))).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    let _ = writer.close(None);
    let _ = writer.flush();
}
