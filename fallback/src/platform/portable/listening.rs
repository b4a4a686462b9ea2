//! One listening socket for all drivers of the process: the kernel spreads no connections over several. Each driver has a
//! handle of its own to it and is woken by every client; the first of them takes it, which is the one that has least to do.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use socket2::Socket;

/// Sockets that somebody holds, by their addresses.
static OPEN: Mutex<Vec<(SocketAddr, Weak<Socket>)>> = Mutex::new(Vec::new());

/// Keeps a socket where others find it.
pub type Held = Arc<Socket>;

/// A handle to the socket that listens on `address`, which `open` makes where this process has none.
pub fn listen(address: SocketAddr, open: impl FnOnce() -> io::Result<Socket>) -> io::Result<(Socket, Held)> {
    // A list whose owner has panicked is whole: each change of it is one call.
    let mut sockets = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    sockets.retain(|(_, socket)| socket.strong_count() > 0);
    let found = sockets.iter().find(|(other, _)| *other == address).and_then(|(_, socket)| socket.upgrade());
    let held = match found {
        Some(held) => held,
        None => {
            let held = Arc::new(open()?);
            let local = held.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            sockets.push((local, Arc::downgrade(&held)));
            held
        }
    };
    Ok((held.try_clone()?, held))
}
