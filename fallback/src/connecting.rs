//! A connection on its way to another host.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::platform;

/// The connect under way: tokio's own, which knows each system's way to tell that it is over. Nothing happens before
/// its first poll, and dropping it closes the socket.
type Connect = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// A connection that is not open yet.
pub struct Connecting {
    address: SocketAddr,
    connect: Connect,
    /// Whether input will be wanted.
    pub receiving: bool,
}

impl Connecting {
    /// Makes the socket.
    pub fn new(address: SocketAddr) -> io::Result<Connecting> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        platform::prepare_outgoing(&SockRef::from(&socket))?;
        Ok(Connecting { address, connect: Box::pin(socket.connect(address)), receiving: true })
    }

    /// Goes on; in the end the stream, and our address on it. Needs the runtime's context.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let Poll::Ready(connected) = self.connect.as_mut().poll(cx) else { return Poll::Pending };
        Poll::Ready(connected.and_then(|stream| {
            let local = stream.local_addr()?;
            // Both ends are ours: nobody listens, and the port that the system chose is the one that was asked for
            // (RFC 9293 3.5, simultaneous open).
            if local == self.address {
                Err(io::ErrorKind::ConnectionRefused.into())
            } else {
                Ok((stream, local))
            }
        }))
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connecting to {}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use crate::door::Door;

    use super::*;

    #[test]
    fn both_ends_of_a_connection_have_the_same_options() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        let (door, address) = Door::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut connecting = Connecting::new(address).unwrap();
        assert!(
            door.poll_accept(&mut Context::from_waker(Waker::noop())).is_pending(),
            "nothing is sent yet"
        );
        let (opened, local) = runtime.block_on(std::future::poll_fn(|cx| connecting.poll(cx))).unwrap();
        let (accepted, peer) = runtime.block_on(std::future::poll_fn(|cx| door.poll_accept(cx))).unwrap();
        assert_eq!(local, peer);
        assert!(opened.nodelay().unwrap() && accepted.nodelay().unwrap());
        let send_bytes = |stream| SockRef::from(stream).send_buffer_size().unwrap();
        assert_eq!(send_bytes(&opened), send_bytes(&accepted));
    }
}
