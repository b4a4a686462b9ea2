//! A listening socket.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use proto::time::Time;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::platform;

/// Connections that may wait for [`Door::poll_accept`]; the kernel holds it to its own bound.
const BACKLOG: i32 = 4096;

/// A listening socket with its pause.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    _held: platform::Held,
    /// When to accept again after the process ran out of descriptors.
    pub retry_at: Option<Time>,
    /// Whether that was reported and no connection was accepted since.
    pub refused: bool,
}

impl Door {
    /// Listens on `address`. Needs the runtime's context.
    pub fn open(address: SocketAddr) -> io::Result<(Door, SocketAddr)> {
        let (socket, held) = platform::listen(address, || listening(address))?;
        let listener = TcpListener::from_std(socket.into())?;
        let local = listener.local_addr()?;
        Ok((Door { listener, _held: held, retry_at: None, refused: false }, local))
    }

    /// The next connection with the address of the peer.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            match self.listener.poll_accept(cx) {
                // A client that left while it waited is no one's fault.
                Poll::Ready(Err(error)) if is_client_gone(&error) => {}
                Poll::Ready(Ok((stream, peer))) => {
                    platform::prepare_accepted(&stream);
                    return Poll::Ready(Ok((stream, peer)));
                }
                other => return other,
            }
        }
    }
}

fn listening(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    platform::prepare_listener(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn is_client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
