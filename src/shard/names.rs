//! Names of other servers become addresses elsewhere: that may take seconds.

use std::net::SocketAddr;

/// Where the answer goes; called once, from any thread.
pub type AddressesReply = Box<dyn FnOnce(Result<Vec<SocketAddr>, String>) + Send>;

/// Looks names up.
pub trait Names: Send + Sync {
    /// Asks for the addresses of a host, those to be tried first in front, each with that port. Returns at once.
    fn look_up(&self, host: &str, port: u16, reply: AddressesReply);
}
