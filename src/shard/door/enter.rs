//! The head of an HTTP request: it is answered, or makes its connection another door.

use proto::io::Conn;
use proto::rtsp::headers::date::Utc;
use proto::rtsp::message::{Request, Response};
use proto::rtsp::parse::HttpFault;
use proto::rtsp::status::Status;
use proto::tunnel::http::{self, Answer, Ask, Code};
use proto::tunnel::websocket::upgrade::Upgrade;

use super::tunnel::Side;
use super::{Door, Frames};
use crate::shard::limits::LimitReached;
use crate::shard::request::SERVER;
use crate::shard::turn::Shard;

impl Shard {
    /// Takes the head of an HTTP request and what is wrong with it; what came behind it is still with the parser.
    pub(in crate::shard) fn open_door(&mut self, conn: Conn, head: Request, fault: Option<HttpFault>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.served = self.now;
        if connection.is_rtsp || connection.door.is_tunnel() {
            tracing::debug!(peer = %connection.peer, "HTTP between requests of RTSP");
            return self.refuse_rtsp(conn);
        }
        let (peer, port) = (connection.peer, connection.port);
        if connection.is_surplus() {
            let refusal = self.over_limit(LimitReached::Connections, peer);
            return self.refuse_http(conn, &head, Code::Unavailable, &refusal.reason);
        }
        if let Some((code, reason)) = fault.map(http::blame) {
            return self.refuse_http(conn, &head, code, reason);
        }
        let ask = Ask::of(&head);
        let is_way_in = matches!(ask, Ask::TunnelOut(_) | Ask::TunnelIn(_) | Ask::WebSocket(_));
        if is_way_in && !self.settings.doors.is_open(port) {
            let setting = if port.is_tls() { "rtsp_over_https" } else { "rtsp_over_http" };
            return self.refuse_http(conn, &head, Code::Forbidden, &format!("{setting} is 0"));
        }
        if is_way_in && !self.settings.doors.admits_origin(&head.headers) {
            return self.refuse_http(conn, &head, Code::Forbidden, "ws_origin does not have this Origin");
        }
        let head = match is_way_in || head.version.0 != 1 {
            true => head,
            false => match self.become_control(conn, head) {
                Ok(()) => return,
                Err(head) => head,
            },
        };
        match ask {
            Ask::TunnelOut(cookie) => self.enter_tunnel(conn, head, cookie, Side::Out),
            Ask::TunnelIn(cookie) => self.enter_tunnel(conn, head, cookie, Side::In),
            Ask::WebSocket(upgrade) => self.become_websocket(conn, &head, &upgrade),
            Ask::Page { .. } => {
                let reason = "there is a page at /, and an API below /api/v1";
                self.refuse_http(conn, &head, Code::NotFound, reason);
            }
            Ask::Preflight => {
                let answer = self.settings.doors.share(http::preflight(), &head.headers);
                let answer = self.signed(answer.header("Connection", "close"));
                self.answer_last(conn, answer.to_bytes(head.version));
            }
            Ask::Wrong(code, reason) => self.refuse_http(conn, &head, code, reason),
        }
    }

    /// Refuses what came as HTTP and closes the connection.
    pub(super) fn refuse_http(&mut self, conn: Conn, head: &Request, code: Code, reason: &str) {
        if let Some(connection) = self.connections.get(conn) {
            let (peer, status) = (connection.peer, code.as_str());
            tracing::debug!(%peer, method = %head.method, uri = %head.uri, status, reason, "refused");
        }
        let answer = self.signed(Answer::refusal(code, reason));
        self.answer_last(conn, answer.to_bytes(head.version));
    }

    /// Answers in RTSP that nothing can be understood any more, and closes the connection.
    pub(in crate::shard) fn refuse_rtsp(&mut self, conn: Conn) {
        self.reply(conn, Response::new(Status::BAD_REQUEST));
        self.close_when_flushed(conn);
    }

    /// An answer with `Server` and `Date`.
    pub(super) fn signed(&self, answer: Answer) -> Answer {
        let date = Utc::from(self.ports.driver.wall()).to_date();
        answer.header("Server", SERVER).header("Date", date)
    }

    fn answer_last(&mut self, conn: Conn, bytes: bytes::Bytes) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.push(bytes);
        }
        self.close_when_flushed(conn);
    }

    fn become_websocket(&mut self, conn: Conn, head: &Request, upgrade: &Upgrade) {
        let answer = self.signed(upgrade.answer()).to_bytes(head.version);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.door = Door::WebSocket(Box::new(Frames::new(answer)));
        let unread = connection.parser.take_buffered();
        tracing::debug!(peer = %connection.peer, uri = %head.uri, "websocket");
        self.flush(conn);
        let taken = super::take_in(&mut self.connections, conn, &unread);
        self.act_on(taken);
    }
}
