//! What a shard holds at the moment, counted: for whoever checks that nothing is left behind.

use super::turn::Shard;

/// Counts of everything that comes and goes with connections and sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections, those that are being closed included.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Session identifiers that are known.
    pub identifiers: usize,
    /// UDP addresses of viewers that datagrams are expected from.
    pub addresses: usize,
    /// Questions to the library whose answer has not come.
    pub questions: usize,
    /// Live streams that are received.
    pub streams: usize,
    /// Batches in the windows of live streams.
    pub batches: usize,
    /// Viewers of live streams.
    pub viewers: usize,
    /// Presentations that are sent to groups, or could be.
    pub transmissions: usize,
    /// Streams that are published here.
    pub publications: usize,
}

impl Shard {
    /// Counts what the shard holds.
    pub fn census(&self) -> Census {
        let windows = self.live.iter().map(|stream| &stream.window);
        Census {
            connections: self.connections.count(),
            sessions: self.sessions.len(),
            identifiers: self.by_id.len(),
            addresses: self.udp.address_count(),
            questions: self.waiting.len(),
            streams: self.live.iter().count(),
            batches: windows.map(|window| (window.end() - window.start()) as usize).sum(),
            viewers: self.live.iter().map(|stream| stream.viewers.len()).sum(),
            transmissions: self.transmissions.count(),
            publications: self.publications.count(),
        }
    }
}
