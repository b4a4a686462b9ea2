//! Between a connection and its driver: the one place where bytes of a connection that a client opened come in, and
//! where they leave.

use proto::io::{Conn, Op, Pieces, Span};

use super::door;
use super::turn::Shard;

impl Shard {
    /// Takes what has come on a connection: behind a proxy's preface bytes go to the door, and from there to the parser.
    pub(super) fn handle_received(&mut self, conn: Conn, span: Span) {
        let Some(start) = self.past_preface(conn, span) else { return };
        let bytes = &self.ports.driver.bytes(span)[start..];
        let taken = door::take_in(&mut self.connections, conn, bytes);
        self.act_on(taken);
    }

    /// Sends the next bytes of a connection, which must not have a send under way.
    pub(super) fn transmit(&mut self, conn: Conn, mut pieces: Pieces) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_sending = true;
        connection.door.wrap(&mut pieces, &mut self.heads);
        self.ports.driver.submit(Op::Send { conn, pieces });
    }
}
