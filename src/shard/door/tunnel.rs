//! The two connections of an HTTP tunnel: they meet on the shard that their cookie names, and are one from then on.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::BytesMut;
use proto::io::{Conn, Op};
use proto::rtsp::message::Request;
use proto::tunnel::base64::Base64Reader;
use proto::tunnel::http::{Code, Cookie, tunnel_opens};
use proto::tunnel::pairing::{Half, Joined};

use super::{Door, take_in};
use crate::shard::connection::Fate;
use crate::shard::turn::Shard;
use crate::stream::catalog::ShardIndex;

/// The GET of a tunnel.
#[derive(Debug)]
pub struct WayOut {
    /// What it shares with its POST.
    pub cookie: Cookie,
    /// Its POST; None until one has come, and between two of them.
    pub into: Option<Conn>,
}

/// The POST of a tunnel. It is never answered.
#[derive(Debug)]
pub struct WayIn {
    /// What it shares with its GET.
    pub cookie: Cookie,
    /// Its GET; None until that has come.
    pub out: Option<Conn>,
    /// Reads what it brings.
    pub reader: Base64Reader,
    /// What has come before its GET.
    pub unread: BytesMut,
}

/// Which half of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Out,
    In,
}

impl Shard {
    /// Makes a connection a half of a tunnel, here or on the shard where the other half comes too.
    pub(super) fn enter_tunnel(&mut self, conn: Conn, head: Request, cookie: Cookie, side: Side) {
        let home = home(&cookie, self.ports.shards.len());
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if home != self.index {
            connection.door = Door::Leaving(Box::new(head));
            connection.fate = Fate::Moving(home);
            return self.flush(conn);
        }
        let half = Half { conn, peer: connection.peer.ip() };
        let unread = connection.parser.take_buffered();
        let peer = connection.peer;
        let joined = match side {
            Side::Out if !unread.iter().all(u8::is_ascii_whitespace) => {
                let reason = "a tunnel's GET and POST come on two connections";
                return self.refuse_http(conn, &head, Code::BadRequest, reason);
            }
            Side::Out => self.tunnels.handle_get(self.now, &cookie, half),
            Side::In => self.tunnels.handle_post(self.now, &cookie, half),
        };
        if joined == Joined::Refused {
            let reason = "another connection has this x-sessioncookie";
            return self.refuse_http(conn, &head, Code::Conflict, reason);
        }
        tracing::debug!(%peer, ?side, uri = %head.uri, "tunnel");
        match side {
            Side::Out => self.open_way_out(conn, &head, cookie),
            Side::In => self.open_way_in(conn, cookie, unread, joined == Joined::Waits),
        }
        match (joined, side) {
            (Joined::Pair { other, .. }, Side::Out) => self.pair(conn, other),
            (Joined::Pair { other, replaced }, Side::In) => {
                if let Some(replaced) = replaced {
                    tracing::debug!(%peer, "the POST of a tunnel is replaced");
                    self.close(replaced);
                }
                self.pair(other, conn);
            }
            _ => self.drop_orphans(),
        }
    }

    /// Closes halves of tunnels that have waited for too long, and the oldest of too many.
    pub(in crate::shard) fn drop_orphans(&mut self) {
        while let Some(conn) = self.tunnels.poll_orphan(self.now) {
            if let Some(connection) = self.connections.get(conn) {
                tracing::debug!(peer = %connection.peer, "half a tunnel is closed: its other half has not come");
            }
            self.close(conn);
        }
    }

    fn open_way_out(&mut self, conn: Conn, head: &Request, cookie: Cookie) {
        let answer = self.settings.doors.share(tunnel_opens(), &head.headers);
        let answer = self.signed(answer).to_bytes(head.version);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.door = Door::Out(Box::new(WayOut { cookie, into: None }));
        connection.push(answer);
        self.flush(conn);
    }

    fn open_way_in(&mut self, conn: Conn, cookie: Cookie, unread: BytesMut, waits: bool) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let reader = Base64Reader::default();
        connection.door = Door::In(Box::new(WayIn { cookie, out: None, reader, unread }));
        if waits {
            connection.is_stopped = true;
            self.ports.driver.submit(Op::Stop(conn));
        }
    }

    /// Makes two halves one: what the POST has brought and will bring is served on the GET.
    fn pair(&mut self, out: Conn, into: Conn) {
        if let Some(connection) = self.connections.get(out).filter(|connection| connection.is_full()) {
            // Each POST brings some before it can be stopped.
            tracing::debug!(peer = %connection.peer, "a tunnel is closed: one POST after another for one that is held back");
            return self.close(out);
        }
        if let Some(connection) = self.connections.get_mut(out)
            && let Door::Out(way) = &mut connection.door
        {
            way.into = Some(into);
            connection.is_stopped = false;
            connection.served = self.now;
        }
        let Some(connection) = self.connections.get_mut(into) else { return };
        let Door::In(way) = &mut connection.door else { return };
        way.out = Some(out);
        let unread = std::mem::take(&mut way.unread);
        if std::mem::take(&mut connection.is_stopped) {
            self.ports.driver.submit(Op::Resume(into));
        }
        let taken = take_in(&mut self.connections, into, &unread);
        self.act_on(taken);
    }
}

/// The shard where the halves of a tunnel meet.
fn home(cookie: &Cookie, shards: usize) -> ShardIndex {
    let mut hasher = DefaultHasher::new();
    cookie.hash(&mut hasher);
    (hasher.finish() % shards.max(1) as u64) as ShardIndex
}
