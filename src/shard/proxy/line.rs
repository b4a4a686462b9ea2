//! The connection to another server: looked up, opened, written to, and left when its last words are said.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use proto::client::Endpoint;
use proto::io::{Conn, Op, Piece, Pieces, Span};
use proto::time::Time;

use super::{Proxies, Proxy, ProxyKey};
use crate::media::library::Ticket;
use crate::shard::tls::TlsClient;
use crate::shard::turn::{Asker, Shard};

/// Pieces of one send.
const PIECES_MAX: usize = 16;

/// How long the other server may take to read our last words.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// A connection, and what waits to leave on it.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub state: State,
    /// Both ends; None before it is open.
    pub ends: Option<Ends>,
    /// The name of a server that is spoken to in TLS.
    secure_host: Option<String>,
    tls: Option<Box<TlsClient>>,
    out: VecDeque<Bytes>,
    is_sending: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// What received bytes have brought about beside themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    /// The connection can be used from now on.
    pub is_connected: bool,
    /// The server sends no more.
    pub is_ended: bool,
}

#[derive(Debug, Default)]
pub(super) enum State {
    /// There is none.
    #[default]
    Closed,
    /// Its address is looked up.
    Looking(Ticket),
    /// It is being opened; the other addresses are tried if this one fails.
    Opening { conn: Conn, to: SocketAddr, rest: VecDeque<SocketAddr> },
    /// It is open.
    Open(Conn),
}

/// A connection that is closed soon.
#[derive(Debug)]
pub(super) struct Leaving {
    line: Line,
    until: Time,
}

impl Line {
    pub fn push(&mut self, bytes: Bytes) {
        let Some(tls) = &mut self.tls else { return self.out.push_back(bytes) };
        // What fails here fails again when it is read, and ends the connection there.
        if tls.write(&bytes).is_ok() {
            self.push_records();
        }
    }

    /// How many messages wait to leave.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Takes received bytes; what they come to, or why the connection is over.
    pub fn receive<'a>(&mut self, bytes: &'a [u8]) -> Result<(Cow<'a, [u8]>, Reached), String> {
        let Some(tls) = &mut self.tls else { return Ok((bytes.into(), Reached::default())) };
        let received = tls.handle_bytes(bytes);
        self.push_records();
        let received = received?;
        let reached = Reached { is_connected: received.is_ready, is_ended: received.is_ended };
        Ok((received.plain.into(), reached))
    }

    fn push_records(&mut self) {
        let records = self.tls.as_mut().map(|tls| tls.take_output()).unwrap_or_default();
        if !records.is_empty() {
            self.out.push_back(records.into());
        }
    }

    /// What leaves next; None while something is under way or nothing waits.
    fn next_send(&mut self) -> Option<Op> {
        let State::Open(conn) = self.state else { return None };
        if self.is_sending || self.out.is_empty() {
            return None;
        }
        self.is_sending = true;
        let count = self.out.len().min(PIECES_MAX);
        let pieces: Pieces = self.out.drain(..count).map(Piece::Shared).collect();
        Some(Op::Send { conn, pieces })
    }
}

impl Shard {
    /// Opens the connection that a client asks for.
    pub(super) fn open_line(&mut self, key: ProxyKey, proxy: &mut Proxy, endpoint: &Endpoint) {
        self.leave_line(proxy);
        if let Some(run) = proxy.run() {
            run.line.secure_host = (endpoint.scheme.is_tls()).then(|| endpoint.host.clone());
        }
        let Ok(address) = endpoint.host.parse::<IpAddr>() else {
            let ticket = self.next_ticket(Asker::Proxy(key));
            let reply = self.ports.shards[usize::from(self.index)].names_reply(ticket);
            if let Some(run) = proxy.run() {
                run.line.state = State::Looking(ticket);
            }
            self.ports.names.look_up(&endpoint.host, endpoint.port, reply);
            return;
        };
        self.connect_line(key, proxy, [SocketAddr::new(address, endpoint.port)].into());
    }

    /// Takes the addresses of a server.
    pub(super) fn line_addresses(
        &mut self,
        key: ProxyKey,
        proxy: &mut Proxy,
        ticket: Ticket,
        answer: Result<Vec<SocketAddr>, String>,
    ) {
        let Some(run) = proxy.run() else { return };
        if !matches!(run.line.state, State::Looking(asked) if asked == ticket) {
            return;
        }
        match answer {
            Ok(mut addresses) => {
                // An address that swallows what it is sent takes the whole attempt: each begins with another.
                let first = proxy.back_off.failures() % addresses.len().max(1);
                addresses.rotate_left(first);
                self.connect_line(key, proxy, addresses.into());
            }
            Err(reason) => {
                run.error = Some(reason);
                self.line_failed(proxy);
            }
        }
    }

    /// The connection is open.
    pub(super) fn line_opened(&mut self, proxy: &mut Proxy, local: SocketAddr) {
        let (now, tls) = (self.now, proxy.spec.tls.clone());
        let Some(run) = proxy.run() else { return };
        if let State::Opening { conn, to, .. } = run.line.state {
            run.line.state = State::Open(conn);
            run.line.ends = Some(Ends { local, peer: to });
            match run.line.secure_host.take().map(|host| TlsClient::new(&tls, &host)) {
                None => run.client.handle_connected(now),
                Some(Ok(client)) => {
                    run.line.tls = Some(Box::new(client));
                    run.line.push_records();
                }
                Some(Err(reason)) => {
                    run.error = Some(reason);
                    run.is_hopeless = true;
                    run.client.handle_closed(now);
                }
            }
        }
    }

    /// Bytes have come.
    pub(super) fn line_received(&mut self, proxy: &mut Proxy, span: Span) {
        let now = self.now;
        let Some(run) = proxy.run() else { return };
        match run.line.receive(self.ports.driver.bytes(span)) {
            Ok((plain, reached)) => {
                if reached.is_connected {
                    run.client.handle_connected(now);
                }
                run.client.handle_bytes(now, &plain);
                if reached.is_ended {
                    run.client.handle_closed(now);
                }
            }
            Err(reason) => {
                run.error = Some(format!("TLS: {reason}"));
                run.is_hopeless = true;
                run.client.handle_closed(now);
            }
        }
    }

    /// The connection has ended, or did not come about.
    pub(super) fn line_ended(&mut self, key: ProxyKey, proxy: &mut Proxy, conn: Conn) {
        self.ports.driver.submit(Op::Close(conn));
        self.proxies.by_conn.remove(&conn);
        let now = self.now;
        let Some(run) = proxy.run() else { return };
        match std::mem::take(&mut run.line.state) {
            State::Opening { rest, .. } => self.connect_line(key, proxy, rest),
            State::Open(_) => run.client.handle_closed(now),
            State::Looking(_) | State::Closed => {}
        }
    }

    /// Sends what waits.
    pub(super) fn flush_line(&mut self, proxy: &mut Proxy) {
        let Some(run) = proxy.run() else { return };
        if let Some(op) = run.line.next_send() {
            self.ports.driver.submit(op);
        }
    }

    /// A send is complete.
    pub(super) fn line_sent(&mut self, proxy: &mut Proxy) {
        if let Some(run) = proxy.run() {
            run.line.is_sending = false;
        }
        self.flush_line(proxy);
    }

    /// Gives a connection up: it is closed when what was to be said on it has left.
    pub(super) fn leave_line(&mut self, proxy: &mut Proxy) {
        let until = self.now + FAREWELL_MAX;
        let Some(run) = proxy.run() else { return };
        let mut line = std::mem::take(&mut run.line);
        let conn = match line.state {
            State::Closed | State::Looking(_) => return,
            State::Opening { conn, .. } | State::Open(conn) => conn,
        };
        self.proxies.by_conn.remove(&conn);
        if let Some(tls) = &mut line.tls {
            tls.close();
            line.push_records();
        }
        if let Some(op) = line.next_send() {
            self.ports.driver.submit(op);
        }
        if line.is_sending {
            self.proxies.leaving.insert(conn, Leaving { line, until });
        } else {
            self.ports.driver.submit(Op::Close(conn));
        }
    }

    /// Last words have left.
    pub(super) fn farewell_sent(&mut self, conn: Conn) {
        let Some(leaving) = self.proxies.leaving.get_mut(&conn) else { return };
        leaving.line.is_sending = false;
        match leaving.line.next_send() {
            Some(op) => self.ports.driver.submit(op),
            None => self.end_farewell(conn),
        }
    }

    /// A connection that is left is closed now.
    pub(super) fn end_farewell(&mut self, conn: Conn) {
        if self.proxies.leaving.remove(&conn).is_some() {
            self.ports.driver.submit(Op::Close(conn));
        }
    }

    /// Closes the connections whose other end does not read.
    pub(super) fn end_late_farewells(&mut self) {
        let now = self.now;
        let late = self.proxies.leaving.iter().filter(|(_, leaving)| leaving.until <= now);
        let mut late: Vec<_> = late.map(|(conn, _)| *conn).collect();
        late.sort_unstable_by_key(|conn| conn.index);
        for conn in late {
            self.end_farewell(conn);
        }
    }

    fn connect_line(&mut self, key: ProxyKey, proxy: &mut Proxy, mut addresses: VecDeque<SocketAddr>) {
        while let Some(to) = addresses.pop_front() {
            match self.ports.driver.connect(to) {
                Ok(conn) => {
                    self.proxies.by_conn.insert(conn, key);
                    if let Some(run) = proxy.run() {
                        run.line.state = State::Opening { conn, to, rest: addresses };
                    }
                    return;
                }
                Err(error) => {
                    if let Some(run) = proxy.run() {
                        run.error = Some(error.to_string());
                    }
                }
            }
        }
        self.line_failed(proxy);
    }

    fn line_failed(&mut self, proxy: &mut Proxy) {
        let now = self.now;
        if let Some(run) = proxy.run() {
            run.line = Line::default();
            run.client.handle_closed(now);
        }
    }
}

impl Proxies {
    /// Whose connection it is.
    pub(super) fn of_conn(&self, conn: Conn) -> Option<ProxyKey> {
        self.by_conn.get(&conn).copied()
    }
}
