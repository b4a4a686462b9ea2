//! OpenSSL between a client without TLS and a server with it, one process for each connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A plain port of loopback that leads into TLS; its connections are cut when the test lets go of it.
pub(crate) struct Opener {
    pub(crate) address: SocketAddr,
    children: Arc<Mutex<Vec<Child>>>,
    /// What OpenSSL complained of.
    complaints: Arc<Mutex<String>>,
}

impl Opener {
    /// Before a server, with arguments of `openssl s_client`.
    pub(crate) fn before(server: SocketAddr, arguments: &[&str]) -> Opener {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let children = Arc::new(Mutex::new(Vec::new()));
        let complaints = Arc::new(Mutex::new(String::new()));
        let opener = Opener { address, children: children.clone(), complaints: complaints.clone() };
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut child = Command::new("openssl")
                    .args(["s_client", "-quiet", "-no_ign_eof", "-connect", &server.to_string()])
                    .args(&arguments)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("openssl is installed");
                let (up, down) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
                let mut errors = child.stderr.take().unwrap();
                children.lock().unwrap().push(child);
                let from = stream.try_clone().unwrap();
                thread::spawn(move || copy(from, up));
                thread::spawn(move || {
                    let to = stream.try_clone().unwrap();
                    copy(down, to);
                    let _ = stream.shutdown(Shutdown::Both);
                });
                let complaints = complaints.clone();
                thread::spawn(move || {
                    let mut text = String::new();
                    let _ = errors.read_to_string(&mut text);
                    complaints.lock().unwrap().push_str(&text);
                });
            }
        });
        opener
    }

    /// Ends all connections without a word.
    pub(crate) fn cut(&self) {
        for child in self.children.lock().unwrap().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until all connections have ended by themselves.
    pub(crate) fn wait(&self) {
        for child in self.children.lock().unwrap().iter_mut() {
            child.wait().unwrap();
        }
    }

    pub(crate) fn complaints(&self) -> String {
        self.complaints.lock().unwrap().clone()
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.cut();
    }
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 65_536];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..size]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// What `openssl s_client` says of a connection that it opens and leaves.
pub(crate) fn shaken(server: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["10", "openssl", "s_client", "-connect", &server.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// SHA-256 of the certificate that a server shows, as OpenSSL reckons it.
#[track_caller]
pub(crate) fn fingerprint(server: SocketAddr) -> String {
    let said = shaken(server, &[]);
    fingerprint_in(&said).unwrap_or_else(|| panic!("no certificate: {said}"))
}

/// The same of a server that is on its way.
#[track_caller]
pub(crate) fn await_fingerprint(server: SocketAddr) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match fingerprint_in(&shaken(server, &[])) {
            Some(fingerprint) => return fingerprint,
            None => assert!(Instant::now() < end, "no certificate after 10 s"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn fingerprint_in(said: &str) -> Option<String> {
    let begin = said.find("-----BEGIN")?;
    let end = said.find("-----END CERTIFICATE-----")?;
    let mut child = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pem = format!("{}-----END CERTIFICATE-----\n", &said[begin..end]);
    child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().split_once('=').map(|(_, fingerprint)| fingerprint.to_owned())
}

/// A connection that says nothing.
pub(crate) fn silent(server: SocketAddr) -> TcpStream {
    TcpStream::connect(server).unwrap()
}
