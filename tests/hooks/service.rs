//! A web service that keeps every call and answers as it is told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// With this status, and a body.
    Status(u16),
    /// Not before it is told to do something else.
    Silent,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: String,
    /// The path, with what the URL had in its query.
    pub(super) path: String,
    /// Names and values in their order.
    pub(super) arguments: Vec<(String, String)>,
    pub(super) headers: HashMap<String, String>,
}

impl Call {
    /// The value of an argument, which must be there once.
    #[track_caller]
    pub(super) fn argument(&self, name: &str) -> &str {
        let mut values = self.arguments.iter().filter(|(other, _)| other == name);
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert!(values.next().is_none(), "two of {name} in {self:?}");
        &value.1
    }

    fn names(&self) -> Vec<&str> {
        self.arguments.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// The service.
pub(crate) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    manners: Mutex<HashMap<String, Manner>>,
    changed: Condvar,
    connections: AtomicUsize,
}

impl Service {
    /// One that answers everything with 200.
    pub(crate) fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let shared = serving.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        Service { address, shared }
    }

    /// One that is not there: nobody listens at its port.
    pub(crate) fn absent() -> Service {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Service { address, shared: Arc::default() }
    }

    pub(super) fn url(&self, call: &str) -> String {
        format!("http://{}/hook/{call}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers a call in this manner from now on, those that wait already as well.
    pub(super) fn answer(&self, call: &str, manner: Manner) {
        self.shared.manners.lock().unwrap().insert(call.to_owned(), manner);
        self.shared.changed.notify_all();
    }

    /// The calls so far of one kind.
    pub(super) fn calls(&self, call: &str) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap();
        calls
            .iter()
            .filter(|it| it.arguments.iter().any(|(n, v)| n == "call" && v == call))
            .cloned()
            .collect()
    }

    /// The same once there are so many of them, and no more.
    #[track_caller]
    pub(super) fn wait_for(&self, call: &str, count: usize) -> Vec<Call> {
        let end = Instant::now() + PATIENCE;
        while self.calls(call).len() < count {
            assert!(Instant::now() < end, "{:?} are not {count} of {call}", self.calls(call));
            thread::sleep(Duration::from_millis(5));
        }
        let calls = self.calls(call);
        assert_eq!(calls.len(), count, "{calls:?}");
        calls
    }

    /// Connections that were made to it.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(call) = read(&mut reader) {
            assert_eq!(call.names(), ["protocol", "call", "addr", "url", "name", "clientid"], "{call:?}");
            let name = call.argument("call").to_owned();
            self.calls.lock().unwrap().push(call);
            let mut manners = self.manners.lock().unwrap();
            let status = loop {
                match manners.get(&name) {
                    Some(Manner::Silent) => manners = self.changed.wait(manners).unwrap(),
                    Some(Manner::Status(status)) => break *status,
                    None => break 200,
                }
            };
            drop(manners);
            let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 5\r\n\r\nhello");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|size| *size > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = HashMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let size = headers.get("content-length").map_or(0, |size| size.parse().unwrap());
    let mut body = vec![0; size];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, encoded) = match method.as_str() {
        "POST" => (target, String::from_utf8(body).unwrap()),
        _ => {
            let (path, query) = target.split_once('?').expect("a query");
            let at = query.find("protocol=").expect("arguments");
            (format!("{path}?{}", query[..at].trim_end_matches('&')), query[at..].to_owned())
        }
    };
    let arguments = encoded.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    Some(Call { method, path, arguments: arguments.collect(), headers })
}

/// As a form is decoded (WHATWG URL section 5.1).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (hex, behind) = rest.split_at(2);
                bytes.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
                rest = behind;
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
