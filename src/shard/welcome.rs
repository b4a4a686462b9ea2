//! How a connection comes in: from whom, if that may be, and on whose behalf (PROXY protocol).

use std::net::SocketAddr;
use std::time::Duration;

use proto::io::{Conn, Op, Span};
use proto::proxy_protocol::Progress;
use proto::rtsp::message::Request;

use super::connection::{Connection, Fate};
use super::limits::LimitReached;
use super::settings::PortKind;
use super::turn::Shard;

/// How long a proxy may take to say for whom it connects, and a client that is only to be refused to ask for something.
pub(super) const WELCOME_MAX: Duration = Duration::from_secs(5);

impl Shard {
    /// Takes an accepted connection in, or closes it.
    pub(super) fn welcome(&mut self, conn: Conn, peer: SocketAddr, local: SocketAddr, port: PortKind) {
        // The lists are about clients: a proxy is judged by the one that it names.
        let is_forwarder = self.is_forwarder(peer);
        if !is_forwarder && !self.admits(peer) {
            return self.turn_away(conn, peer);
        }
        let Some(place) = self.settings.limits.enter() else {
            self.refused.note(LimitReached::Connections, peer);
            return self.ports.driver.submit(Op::Close(conn));
        };
        let mut connection = Connection::new(conn, peer, local, port, self.now);
        connection.place = Some(place);
        connection.preface = is_forwarder.then(Box::default);
        self.connections.insert(connection);
        self.counted.connections_accepted += 1;
        tracing::debug!(%peer, ?port, "connection");
        if port.is_tls() {
            self.await_handshake(conn);
        }
    }

    /// How many of the bytes that came are a proxy's own words; None when all of them are, or when the connection is
    /// closed because of them.
    pub(super) fn past_preface(&mut self, conn: Conn, span: Span) -> Option<usize> {
        let connection = self.connections.get_mut(conn)?;
        if matches!(connection.fate, Fate::Closing | Fate::Gone) {
            return None;
        }
        let Some(preface) = &mut connection.preface else { return Some(0) };
        let proxy = connection.peer;
        match preface.handle_bytes(self.ports.driver.bytes(span)) {
            Ok(Progress::Incomplete) => None,
            Ok(Progress::Complete { client, taken }) => {
                let peer = client.unwrap_or(proxy);
                connection.preface = None;
                connection.forwarder = Some(proxy);
                connection.peer = peer;
                connection.served = self.now;
                if !self.admits(peer) {
                    self.suspects.turn_away(peer);
                    self.close(conn);
                    return None;
                }
                tracing::debug!(%peer, %proxy, "connection by a proxy");
                Some(taken)
            }
            Err(error) => {
                tracing::warn!(%proxy, %error, "closed: proxy_protocol has the proxy say for whom it connects");
                self.close(conn);
                None
            }
        }
    }

    /// Answers the first request of a connection that has no place, the last on it.
    pub(super) fn refuse_surplus(&mut self, conn: Conn, request: &Request) {
        let Some(peer) = self.connections.get(conn).map(|connection| connection.peer) else { return };
        let refusal = self.over_limit(LimitReached::Connections, peer);
        self.reply_to_request(conn, request, refusal.into());
        self.close_when_flushed(conn);
    }

    /// Whether a connection came by a proxy, which passes no datagrams.
    pub(super) fn is_forwarded(&self, conn: Conn) -> bool {
        self.connections.get(conn).is_some_and(|connection| connection.forwarder.is_some())
    }

    fn is_forwarder(&self, peer: SocketAddr) -> bool {
        self.settings.forwarders.iter().any(|range| range.match_bits(peer.ip()).is_some())
    }
}
