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
