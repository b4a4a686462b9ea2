//! RTCP of viewers.

use bytes::Bytes;

use super::session::SessionKey;
use super::turn::Shard;

impl Shard {
    pub(super) fn send_due_reports(&mut self, _key: SessionKey) {}
    pub(super) fn send_bye(&mut self, _key: SessionKey) {}
    pub(super) fn handle_report(&mut self, key: SessionKey, _track: u8, _bytes: &[u8]) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.seen = self.now;
        }
    }
    pub(super) fn handle_interleaved(&mut self, _conn: proto::io::Conn, _channel: u8, _payload: &Bytes) {}
}
