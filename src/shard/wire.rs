//! Between a connection and its driver: the one place where bytes of a connection that a client opened come in, and
//! where they leave.

use bytes::Bytes;
use proto::io::{Conn, Op, Pieces, Span};

use super::connection::Fate;
use super::door::{self, Door};
use super::tls::{HANDSHAKE_FAILURE, HANDSHAKE_RECORD};
use super::turn::Shard;

impl Shard {
    /// Takes what has come on a connection: behind a proxy's preface opened where it is sealed, then to the door, from
    /// there to the parser.
    pub(super) fn handle_received(&mut self, conn: Conn, span: Span) {
        let Some(start) = self.past_preface(conn, span) else { return };
        let span = Span { offset: span.offset + start as u32, size: span.size - start as u32, ..span };
        let Some(connection) = self.connections.get_mut(conn).filter(|_| span.size > 0) else { return };
        if connection.secure.is_some() {
            return self.receive_sealed(conn, span);
        }
        let bytes = self.ports.driver.bytes(span);
        let is_first = !connection.is_rtsp && matches!(connection.door, Door::Plain);
        if is_first
            && connection.parser.buffered() == 0
            && bytes.first() == Some(&HANDSHAKE_RECORD)
            && connection.fate == Fate::Open
        {
            tracing::debug!(peer = %connection.peer, "closed: TLS on a port without it");
            connection.push(Bytes::from_static(HANDSHAKE_FAILURE));
            return self.close_when_flushed(conn);
        }
        let taken = door::take_in(&mut self.connections, conn, bytes);
        self.act_on(taken);
    }

    /// Takes what was opened.
    pub(super) fn receive_plain(&mut self, conn: Conn, bytes: &[u8]) {
        let taken = door::take_in(&mut self.connections, conn, bytes);
        self.act_on(taken);
    }

    /// Sends the next bytes of a connection, which must not have a send under way.
    pub(super) fn transmit(&mut self, conn: Conn, mut pieces: Pieces) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.door.wrap(&mut pieces, &mut self.heads);
        if let Some(secure) = &mut connection.secure
            && !self.sealing.seal(secure, &mut pieces)
        {
            tracing::info!(peer = %connection.peer, "closed: TLS 1.2 has no way to renew keys that are used up");
            return self.close(conn);
        }
        connection.is_sending = true;
        self.ports.driver.submit(Op::Send { conn, pieces });
    }
}
