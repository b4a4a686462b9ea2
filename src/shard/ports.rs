//! What a shard asks of the rest of the program, so that the simulation can stand in for it.

use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;

use super::client_ports::ClientPorts;
use super::inbox::{Inbox, Outside};
use super::names::Names;
use super::tapped::Tapped;
use crate::media::library::Library;
use crate::stream::catalog::Catalog;

/// Everything outside of a shard.
pub struct Ports {
    /// Sockets and clocks.
    pub driver: Tapped,
    /// Files.
    pub library: Arc<dyn Library>,
    /// Live streams.
    pub catalog: Arc<dyn Catalog>,
    /// Addresses of other servers.
    pub names: Arc<dyn Names>,
    /// Messages from other threads.
    pub inbox: Inbox,
    /// The way into every shard, by index; this shard's own included.
    pub shards: Vec<Outside>,
    /// UDP ports of viewers, claimed across all shards.
    pub client_ports: Arc<ClientPorts>,
    /// Random numbers: session identifiers, SSRCs, report intervals. A generator whose output cannot be told from what
    /// it gave before: who guesses a session's identifier can end it (RFC 2326 section 16).
    pub random: StdRng,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("driver", &self.driver.name()).finish_non_exhaustive()
    }
}
