//! A wire between a client and a server in TLS, which does to what the client sends whatever a test wants.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of the bytes that a client sends.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// They pass.
    Pass,
    /// They pass, one at a time.
    Drip,
    /// The last of each piece is changed.
    Spoil,
    /// These are put before them, once.
    Interject(Vec<u8>),
    /// So many pass, the others never do, and nobody is told.
    Hold(usize),
    /// So many pass, then the wire is cut.
    Cut(usize),
}

/// A port that leads to a server, for any number of connections.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
}

impl Wire {
    pub(crate) fn before(server: SocketAddr, manner: Manner) -> Wire {
        Wire::beginning_with(Vec::new(), server, manner)
    }

    /// A wire that says this before a client's first bytes, in one piece with them.
    pub(crate) fn beginning_with(words: Vec<u8>, server: SocketAddr, manner: Manner) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(manner));
        let wire = Wire { address, manner: manner.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (words, manner) = (words.clone(), manner.clone());
                let Ok(server) = TcpStream::connect(server) else { return };
                server.set_nodelay(true).unwrap();
                let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || up(client, server, words, &manner));
                thread::spawn(move || {
                    let (mut to, mut from) = ends;
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        });
        wire
    }

    /// Does this from the next bytes on.
    pub(crate) fn turn_to(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

/// Carries bytes to the server until one side ends.
fn up(mut client: TcpStream, mut server: TcpStream, mut words: Vec<u8>, manner: &Mutex<Manner>) {
    let mut buffer = [0; 65_536];
    while let Ok(size @ 1..) = client.read(&mut buffer) {
        words.extend_from_slice(&buffer[..size]);
        if !carry(&mut server, std::mem::take(&mut words), manner) {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// Sends bytes in the manner of the moment; false when that is the end.
fn carry(server: &mut TcpStream, mut bytes: Vec<u8>, manner: &Mutex<Manner>) -> bool {
    let now = manner.lock().unwrap().clone();
    match now {
        Manner::Pass => {}
        Manner::Drip => {
            return bytes.iter().all(|byte| {
                thread::sleep(Duration::from_millis(1));
                server.write_all(&[*byte]).is_ok()
            });
        }
        Manner::Spoil => *bytes.last_mut().unwrap() ^= 1,
        Manner::Interject(words) => {
            *manner.lock().unwrap() = Manner::Pass;
            bytes.splice(..0, words);
        }
        Manner::Hold(left) => {
            bytes.truncate(left);
            *manner.lock().unwrap() = Manner::Hold(left - bytes.len());
        }
        Manner::Cut(left) => {
            bytes.truncate(left);
            *manner.lock().unwrap() = Manner::Cut(left - bytes.len());
            return server.write_all(&bytes).is_ok() && bytes.len() < left;
        }
    }
    server.write_all(&bytes).is_ok()
}
