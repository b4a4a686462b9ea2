//! What a session sends and receives, for those who steer the server.

use std::net::SocketAddr;
use std::time::Duration;

use proto::io::Udp;

use crate::egress::track::Route;
use crate::shard::datagrams::at_port;
use crate::shard::session::{Session, SessionId};
use crate::shard::tapped::Marks;
use crate::shard::turn::Shard;

impl Shard {
    /// Keeps a session's packets for so long. None when it is not here, false when enough are looked at.
    pub(super) fn begin_tap(&mut self, id: SessionId, duration: Duration) -> Option<bool> {
        let key = *self.by_id.get(&id)?;
        let session = self.sessions.get(key)?;
        let connection = session.conn.and_then(|conn| self.connections.get(conn));
        let conn = connection.map(|connection| (connection.conn, connection.local, connection.peer));
        let mut sockets = self.sockets_of_viewer(session);
        let local = conn.map_or(session.peer, |(_, local, _)| local);
        let receiving = self.udp.received_by(key).map(|(udp, port)| (udp, at_port(local, port), None));
        sockets.extend(receiving);
        Some(self.ports.driver.tap(id, Marks { conn, sockets }, duration))
    }

    /// Where a viewer's datagrams come from and go to.
    fn sockets_of_viewer(&self, session: &Session) -> Vec<(Udp, SocketAddr, Option<SocketAddr>)> {
        let mut sockets = Vec::new();
        for track in &session.tracks {
            let Route::Unicast(route) = &track.route else { continue };
            let Some((local, pair)) = self.udp.pair_of(route.rtp) else { continue };
            sockets.push((route.rtp, at_port(local, pair.port), Some(route.rtp_to)));
            if let Some(to) = route.rtcp_to {
                sockets.push((route.rtcp, at_port(local, pair.port + 1), Some(to)));
            }
        }
        sockets
    }
}
