//! Between a connection and its driver: the one place where bytes of a connection that a client opened come in, and
//! where they leave.

use proto::io::{Conn, Op, Pieces, Span};

use super::connection::Fate;
use super::turn::Shard;

impl Shard {
    /// Takes what has come on a connection: bytes to the door, from there to the parser.
    pub(super) fn handle_received(&mut self, conn: Conn, span: Span) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if matches!(connection.fate, Fate::Closing | Fate::Gone) {
            return;
        }
        connection.parser.handle_bytes(self.ports.driver.bytes(span));
        self.advance(conn);
    }

    /// Sends the next bytes of a connection, which must not have a send under way.
    pub(super) fn transmit(&mut self, conn: Conn, pieces: Pieces) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_sending = true;
        self.ports.driver.submit(Op::Send { conn, pieces });
    }
}
