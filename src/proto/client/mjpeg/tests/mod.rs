//! The client against a server that is a function of its request.

mod authentication;
mod endings;
mod parts;
mod properties;
mod redirects;
mod snapshots;

use std::time::Duration;

use bytes::Bytes;

use super::super::{Endpoint, Failure, Scheme, Url};
use super::*;
use crate::time::Time;

/// A client with its end of a connection.
struct Link {
    client: MjpegClient,
    now: Time,
    /// Where the client has connected to, in order.
    endpoints: Vec<Endpoint>,
    /// All that it has sent, in order.
    sent: Vec<String>,
    pictures: Vec<Bytes>,
    /// How often it has said that it plays.
    playing: usize,
    failure: Option<Failure>,
}

impl Link {
    fn to(url: &str) -> Link {
        Link::new(config(url))
    }

    fn new(config: MjpegConfig) -> Link {
        let now = Time::from_millis(1_000);
        let client = MjpegClient::new(now, config);
        let (endpoints, sent, pictures) = (vec![], vec![], vec![]);
        let mut link = Link { client, now, endpoints, sent, pictures, playing: 0, failure: None };
        link.drain();
        link
    }

    /// Takes events and requests as a driver does that is connected at once.
    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            assert_eq!(self.failure, None, "nothing follows a failure: {event:?}");
            match event {
                MjpegEvent::Connect(endpoint) => {
                    self.endpoints.push(endpoint);
                    self.client.handle_connected(self.now);
                }
                MjpegEvent::Playing => self.playing += 1,
                MjpegEvent::Picture(picture) => self.pictures.push(picture),
                MjpegEvent::Failed(failure) => self.failure = Some(failure),
            }
        }
        while let Some(bytes) = self.client.poll_transmit() {
            self.sent.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }

    /// Hands bytes of the server in.
    fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.handle_bytes(self.now, bytes.as_ref());
        self.drain();
    }

    fn close(&mut self) {
        self.client.handle_closed(self.now);
        self.drain();
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.client.handle_timeout(self.now);
        self.drain();
    }

    /// Moves the clock to the client's next deadline, and gives how far that was.
    fn wait(&mut self) -> Duration {
        let deadline = self.client.poll_timeout().expect("a deadline");
        assert!(deadline > self.now, "a deadline lies ahead");
        let duration = deadline.since(self.now);
        self.pass(duration);
        duration
    }

    /// The value of a header in the last request.
    #[track_caller]
    fn sent_header(&self, name: &str) -> Option<&str> {
        let last = self.sent.last().expect("a request");
        last.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn config(url: &str) -> MjpegConfig {
    MjpegConfig::new(Url::parse_http(url).unwrap(), 7)
}

/// A small file of every part that matters: a segment with a preview, a frame, a scan with stuffed and restart markers.
fn picture(number: u8) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    file.extend([0xff, 0xe1, 0, 12]);
    // A preview of its own.
    file.extend([0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 8, 0xff, 0xd9]);
    file.extend([0xff, 0xc0, 0, 5, 8, 1, 2, 0xff, 0xff, 0xda, 0, 4, 1, 2]);
    file.extend([number, 0xff, 0, 0x41, 0xff, 0xd0, b'-', b'-', number]);
    file.extend([0xff, 0xd9]);
    file
}

const STREAM: &str =
    "HTTP/1.0 200 OK\r\nServer: x\r\nContent-Type: multipart/x-mixed-replace; boundary=foo\r\n\r\n";

/// A part as it should be.
fn part(picture: &[u8]) -> Vec<u8> {
    let head = format!("--foo\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    [head.as_bytes(), picture, b"\r\n"].concat()
}

/// A response with a body of that size.
fn response(first_line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {first_line}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
