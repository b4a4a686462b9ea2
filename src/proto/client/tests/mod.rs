//! The client against a small camera that follows a script.

mod authentication;
mod camera;
mod descriptions;
mod keep_alive;
mod properties;
mod ways;

use bytes::Bytes;

use super::*;
use crate::rtsp::headers::transport::Pair;
use crate::rtsp::message::{Method, Request, Response};
use crate::rtsp::parse::{Item, Limits, Parser};
use crate::rtsp::status::Status;
use crate::time::Time;
use camera::Camera;

/// A client with its end of a connection.
struct Link {
    client: Client,
    now: Time,
    /// Where the client has connected to last.
    endpoint: Endpoint,
    /// All that it has sent, in order.
    sent: Vec<Request>,
    /// What it has sent in answer to the server's own requests.
    answers: Vec<Response>,
    /// The events of a driver that opens connections and gives ports by itself, those apart.
    events: Vec<Event>,
    connections: usize,
}

impl Link {
    fn new(config: Config) -> Link {
        let now = Time::from_millis(1_000);
        let mut client = Client::new(now, config);
        let Some(Event::Connect(endpoint)) = client.poll_event() else { panic!("no connection asked for") };
        client.handle_connected(now);
        Link { client, now, endpoint, sent: vec![], answers: vec![], events: vec![], connections: 1 }
    }

    fn to(url: &str) -> Link {
        Link::new(config(url))
    }

    /// What the client sends next, at once.
    fn requests(&mut self) -> Vec<Request> {
        let mut parser = Parser::new(Limits::DEFAULT);
        let mut requests = Vec::new();
        while let Some(bytes) = self.client.poll_transmit() {
            assert!(!bytes.is_empty());
            parser.handle_bytes(&bytes);
        }
        while let Some(item) = parser.poll().unwrap() {
            match item {
                Item::Request(request) => requests.push(request),
                Item::Response(response) => self.answers.push(response),
                other => panic!("{other:?}"),
            }
        }
        self.sent.extend(requests.iter().cloned());
        requests
    }

    /// Takes the events as a driver does.
    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Connect(endpoint) => {
                    // What is sent before belongs to the old connection.
                    self.requests();
                    self.endpoint = endpoint;
                    self.connections += 1;
                    self.client.handle_connected(self.now);
                }
                Event::PortsWanted { media } => {
                    let port = 6_000 + 2 * media as u16;
                    self.client.handle_ports(self.now, media, Pair::new(port, port + 1));
                }
                other => self.events.push(other),
            }
        }
    }

    /// Hands bytes of the server in.
    fn receive(&mut self, bytes: &[u8]) {
        self.client.handle_bytes(self.now, bytes);
        self.drain();
    }

    /// Answers whatever the client asks until it asks no more.
    fn talk(&mut self, camera: &mut Camera) {
        self.drain();
        loop {
            let requests = self.requests();
            if requests.is_empty() {
                return;
            }
            for request in requests {
                let answer = camera.answer(&request);
                self.receive(&answer);
            }
        }
    }

    /// Moves the clock to the client's next deadline.
    fn wait(&mut self) {
        let deadline = self.client.poll_timeout().expect("a deadline");
        assert!(deadline > self.now, "a deadline lies ahead");
        self.now = deadline;
        self.client.handle_timeout(self.now);
        self.drain();
    }

    fn close(&mut self) {
        self.client.handle_closed(self.now);
        self.drain();
    }

    fn methods(&self) -> Vec<&str> {
        self.sent.iter().map(|request| request.method.as_str()).collect()
    }

    #[track_caller]
    fn request(&self, method: Method) -> &Request {
        self.sent.iter().rfind(|request| request.method == method).expect("a request of that method")
    }

    /// Why it has failed; None while it has not.
    fn failure(&self) -> Option<Failure> {
        match self.events.last() {
            Some(Event::Failed(failure)) => Some(failure.clone()),
            _ => None,
        }
    }

    fn is_playing(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Playing { .. }))
    }

    fn carriers(&self) -> Vec<(usize, Carrier)> {
        let ready = self.events.iter().filter_map(|event| match event {
            Event::TrackReady { media, carrier, .. } => Some((*media, *carrier)),
            _ => None,
        });
        ready.collect()
    }
}

fn config(url: &str) -> Config {
    Config::new(Url::parse(url).unwrap(), 7)
}

fn packet(media: usize, kind: PacketKind, payload: &'static [u8]) -> Event {
    Event::Packet { media, kind, payload: Bytes::from_static(payload) }
}

/// A response to a request.
fn reply(request: &Request, status: Status) -> Response {
    Response::new(status).header("CSeq", request.headers.get("CSeq").unwrap_or_default())
}
