//! Viewers that cost next to nothing: they wait until a frame was sent, then throw it away and count it.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::sys;

/// How long a byte may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// UDP viewers. They take merged datagrams, so that a train stays whole up to them.
pub struct UdpSinks {
    sockets: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
}

impl UdpSinks {
    pub fn new(viewers: usize) -> io::Result<UdpSinks> {
        let mut sinks = UdpSinks { sockets: Vec::new(), addresses: Vec::new() };
        for _ in 0..viewers {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            bare::sys::set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)?;
            sinks.addresses.push(socket.local_addr()?);
            sinks.sockets.push(socket);
        }
        Ok(sinks)
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Throws away one frame of `size` bytes at every viewer.
    pub fn drain(&self, size: usize) -> io::Result<()> {
        self.sockets.iter().try_for_each(|socket| drain(socket.as_raw_fd(), size, 0))
    }
}

/// TCP viewers.
pub struct TcpSinks {
    viewers: usize,
    sockets: RefCell<Vec<TcpStream>>,
}

impl TcpSinks {
    pub fn new(viewers: usize) -> TcpSinks {
        TcpSinks { viewers, sockets: RefCell::default() }
    }

    /// Count of viewers that are to connect.
    pub fn viewers(&self) -> usize {
        self.viewers
    }

    /// Connects one more viewer.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.sockets.borrow_mut().push(TcpStream::connect(address)?);
        Ok(())
    }

    /// Throws away one frame of `size` bytes at every viewer.
    pub fn drain(&self, size: usize) -> io::Result<()> {
        self.sockets.borrow().iter().try_for_each(|socket| drain(socket.as_raw_fd(), size, size))
    }
}

/// Throws away exactly `size` bytes, asking for `room` at once; an error when they do not come.
fn drain(fd: i32, size: usize, room: usize) -> io::Result<()> {
    let mut rest = size;
    let start = Instant::now();
    while rest > 0 {
        match sys::discard(fd, room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) if count > rest => {
                return Err(io::Error::other(format!("{} bytes more than sent", count - rest)));
            }
            Ok(count) => rest -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
