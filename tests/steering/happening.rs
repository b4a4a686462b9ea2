//! What happens, told as it does.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::SockRef;

use super::{PATIENCE, Running, curl, get, http, server};
use crate::server::{Backend, Server, on_both_backends};

/// curl that listens.
pub(crate) struct Listener {
    curl: Child,
    events: Receiver<(String, Value)>,
    /// One that was waited for and not taken.
    next: RefCell<Option<(String, Value)>>,
}

impl Listener {
    pub(crate) fn of(server: &Server) -> Listener {
        let mut command = Command::new("curl");
        command.args(["-sN", &http(server, "/api/v1/events")]).stdout(Stdio::piped());
        let mut curl = command.spawn().unwrap();
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, events) = channel();
        thread::spawn(move || {
            let mut name = String::new();
            for line in lines {
                if let Some(event) = line.strip_prefix("event: ") {
                    name = event.to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    let _ = sender.send((name.clone(), serde_json::from_str(data).unwrap()));
                }
            }
        });
        Listener { curl, events, next: RefCell::default() }
    }

    /// Waits until so many listen.
    #[track_caller]
    pub(crate) fn wait_for(server: &Server, count: usize) {
        let line = format!("ringcaster_api_listeners {count}\n");
        let end = Instant::now() + PATIENCE;
        while !curl(&http(server, "/metrics"), &[]).expect(200).body.contains(&line) {
            assert!(Instant::now() < end, "{count} listeners");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The next event, with its name.
    #[track_caller]
    pub(crate) fn next_one(&self) -> (String, Value) {
        let waiting = self.next.borrow_mut().take();
        waiting
            .unwrap_or_else(|| self.events.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Whether there is another event, or is one soon.
    pub(crate) fn has_more(&self, patience: Duration) -> bool {
        let mut next = self.next.borrow_mut();
        if next.is_none() {
            *next = self.events.recv_timeout(patience).ok();
        }
        next.is_some()
    }

    /// The next event, which has that name.
    #[track_caller]
    pub(crate) fn next(&self, name: &str) -> Value {
        let (told, data) = self.next_one();
        assert_eq!(told, name, "{data}");
        data
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

fn everybody_who_listens_is_told_of_sessions_and_streams(backend: Backend) {
    let server = server(backend).start();
    let both = [Listener::of(&server), Listener::of(&server)];
    Listener::wait_for(&server, 2);
    let publisher = Running::publisher(&server, "/live/camera");
    for listener in &both {
        assert_eq!(listener.next("published")["path"], "live/camera");
        let began = listener.next("session_began");
        assert_eq!((&began["kind"], &began["path"]), (&"publish".into(), &"live/camera".into()));
    }
    let player = Running::player(&server, "/test", "udp");
    let began = both[0].next("session_began");
    assert_eq!(
        (&began["kind"], &began["path"], &began["transport"]),
        (&"play".into(), &"test".into(), &"udp".into())
    );
    both[1].next("session_began");
    let id = began["id"].as_str().unwrap();
    assert_eq!(get(&server, &format!("/api/v1/sessions/{id}"))["path"], "test");
    curl(&http(&server, &format!("/api/v1/sessions/{id}")), &["-X", "DELETE"]).expect(204);
    for listener in &both {
        let ended = listener.next("session_ended");
        assert_eq!((&ended["id"], &ended["reason"]), (&began["id"], &"ended by an administrator".into()));
    }
    drop(player);
    drop(publisher);
    for listener in &both {
        assert_eq!(listener.next("session_ended")["path"], "live/camera");
        assert_eq!(listener.next("unpublished")["path"], "live/camera");
    }
}

fn whoever_listened_and_left_is_let_go(backend: Backend) {
    let server = server(backend).start();
    // More than may listen at once, or ask for anything from one address.
    for _ in 0..5 {
        let crowd: Vec<_> = (0..20).map(|_| Listener::of(&server)).collect();
        Listener::wait_for(&server, 20);
        drop(crowd);
        Listener::wait_for(&server, 0);
    }
    // One that is cut off.
    let mut client = TcpStream::connect(server.http_address()).unwrap();
    client.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    Listener::wait_for(&server, 1);
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    Listener::wait_for(&server, 0);
}

on_both_backends!(everybody_who_listens_is_told_of_sessions_and_streams, whoever_listened_and_left_is_let_go,);
