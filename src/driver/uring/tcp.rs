//! Connections: accepted or opened, received into shared buffers, at most one send under way, closed when nothing is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};
use proto::io::{Conn, Detached, Event, Piece, Pieces, Span};

use super::arena::GatherLists;
use super::loans::{LOAN_BYTES_MIN, Loans, News, REPORT_USAGE};
use super::ring::ENTER_ENTRIES_MAX;
use super::slots::{Key, Slots};
use super::socket::{self, Name};
use super::token::{Kind, Token};
use super::{Core, SMALL_GROUP, error_of};
use crate::config::ZeroCopy;

/// Complete or an error; and an error instead of a signal.
const SEND_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// All connections of the driver.
pub(super) struct Connections {
    slots: Slots<Connection>,
    /// Connections with a send to hand over.
    to_send: Vec<Key>,
    lists: GatherLists,
    zero_copy: ZeroCopy,
    loans: Loans,
    /// Whether a descriptor became free since somebody last asked.
    has_freed: bool,
}

struct Connection {
    socket: OwnedFd,
    phase: Phase,
    /// Where the connect under way leads; its entry points here.
    connecting: Option<Box<Destination>>,
    /// Whether the shard wants to receive.
    is_wanted: bool,
    /// Whether a receive is under way.
    is_armed: bool,
    /// Whether the peer has closed its side.
    has_ended: bool,
    lending: Lending,
    sending: Option<Sending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not open yet, or could not be opened.
    Unopened,
    Open,
    /// Leaves this driver when nothing is under way.
    Detaching,
    /// Is closed when nothing is under way.
    Closing,
}

/// Whether a connection's large sends lend their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lending {
    /// Nothing large was sent yet.
    Unasked,
    /// As long as the kernel does not copy what this peer is sent.
    May(IpAddr),
    /// It does not pay or is refused.
    No,
}

impl Lending {
    /// The peer, if a large send to it lends its bytes.
    fn ask(&mut self, socket: &OwnedFd, loans: &Loans, zero_copy: ZeroCopy) -> Option<IpAddr> {
        if *self == Lending::Unasked {
            let peer = socket::peer_address(socket.as_raw_fd()).ok().map(|address| address.ip());
            let peer = peer.filter(|peer| zero_copy == ZeroCopy::On || !loans.is_copying(*peer));
            *self = peer.map_or(Lending::No, Lending::May);
        }
        match self {
            Lending::May(peer) => Some(*peer),
            Lending::Unasked | Lending::No => None,
        }
    }
}

struct Destination {
    address: SocketAddr,
    name: Name,
}

struct Sending {
    pieces: Pieces,
    /// Bytes in all.
    size: usize,
    /// Bytes that the kernel has taken.
    done: usize,
    /// Whether an entry that points to the pieces is with the ring.
    is_under_way: bool,
}

impl Connections {
    pub(super) fn new(zero_copy: ZeroCopy) -> Connections {
        Connections {
            slots: Slots::new(),
            to_send: Vec::new(),
            lists: GatherLists::new(ENTER_ENTRIES_MAX),
            zero_copy,
            loans: Loans::new(),
            has_freed: false,
        }
    }

    /// Takes a connected socket in and begins to receive.
    pub(super) fn insert(&mut self, core: &mut Core, socket: OwnedFd) -> Conn {
        let key = self.slots.insert(Connection::new(socket, Phase::Open));
        self.arm(core, key);
        conn_of(key)
    }

    /// Opens a connection.
    pub(super) fn connect(&mut self, core: &mut Core, address: SocketAddr) -> io::Result<Conn> {
        let socket = socket::outgoing(address)?;
        let fd = Fd(socket.as_raw_fd());
        let key = self.slots.insert(Connection::new(socket, Phase::Unopened));
        if let Some(connection) = self.slots.get_mut(key) {
            let destination = Destination { address, name: Name::default() };
            let destination = connection.connecting.insert(Box::new(destination));
            let size = destination.name.set(address);
            let entry = opcode::Connect::new(fd, destination.name.as_ptr().cast(), size).build();
            // SAFETY: the address is boxed in the slot until the completion.
            unsafe { core.ring.push(entry.user_data(Token::new(Kind::Connect, key).pack())) };
        }
        Ok(conn_of(key))
    }

    pub(super) fn attach(&mut self, core: &mut Core, socket: Detached) -> io::Result<Conn> {
        let Ok(socket) = socket.0.downcast::<OwnedFd>() else {
            let text = "a connection of another kind of driver cannot be attached";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        Ok(self.insert(core, *socket))
    }

    pub(super) fn send(&mut self, conn: Conn, pieces: Pieces) {
        let key = key_of(conn);
        let Some(connection) = self.slots.get_mut(key) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        let is_free = connection.sending.is_none();
        debug_assert!(is_free, "at most one send of a connection is under way");
        if !is_free {
            tracing::error!(?conn, "a second send while one is under way was dropped");
            return;
        }
        let size = pieces.iter().map(Piece::size).sum();
        connection.sending = Some(Sending { pieces, size, done: 0, is_under_way: false });
        self.to_send.push(key);
    }

    pub(super) fn stop(&mut self, core: &mut Core, conn: Conn) {
        let key = key_of(conn);
        let Some(connection) = self.slots.get_mut(key) else { return };
        connection.is_wanted = false;
        if connection.is_armed {
            core.cancel(Token::new(Kind::Receive, key));
        }
    }

    pub(super) fn resume(&mut self, core: &mut Core, conn: Conn) {
        let key = key_of(conn);
        let Some(connection) = self.slots.get_mut(key) else { return };
        connection.is_wanted = true;
        self.arm(core, key);
    }

    /// Ends both directions, and all that is under way; the slot goes when nothing is. A plain close with a
    /// receive armed would send no FIN, as the operation holds the socket.
    pub(super) fn close(&mut self, core: &mut Core, conn: Conn) {
        let key = key_of(conn);
        let Some(connection) = self.slots.get_mut(key) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        // One that still connects has no peer to tell: the cancellation ends it.
        if connection.phase != Phase::Unopened {
            socket::shut_down(&connection.socket);
        }
        connection.phase = Phase::Closing;
        if !connection.is_idle() {
            let all = CancelBuilder::fd(Fd(connection.socket.as_raw_fd())).all();
            let entry = opcode::AsyncCancel2::new(all).build().user_data(Token::CANCEL.pack());
            // SAFETY: the entry points to nothing. The descriptor stays open until the entry was handed over, as
            // the slot goes only with a completion, and completions are reaped after everything is handed over.
            unsafe { core.ring.push(entry) };
        }
        self.settle(core, key);
    }

    pub(super) fn detach(&mut self, core: &mut Core, conn: Conn) {
        let key = key_of(conn);
        let Some(connection) = self.slots.get_mut(key) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        debug_assert!(connection.sending.is_none(), "a connection moves between two sends");
        connection.phase = Phase::Detaching;
        connection.is_wanted = false;
        if connection.is_armed {
            core.cancel(Token::new(Kind::Receive, key));
        }
        self.settle(core, key);
    }

    /// Queues the entries of all sends, in calls of a bounded count of entries.
    pub(super) fn hand_over(&mut self, core: &mut Core) -> io::Result<()> {
        let mut to_send = std::mem::take(&mut self.to_send);
        for &key in &to_send {
            if !self.push_send(core, key) {
                // The gather lists are full: what lies in them is with the kernel after this.
                core.ring.flush()?;
                self.lists.clear();
                self.push_send(core, key);
            }
            if core.ring.queued() >= ENTER_ENTRIES_MAX {
                core.ring.flush()?;
                self.lists.clear();
            }
        }
        to_send.clear();
        self.to_send = to_send;
        Ok(())
    }

    /// After everything queued was handed to the kernel.
    pub(super) fn handed_over(&mut self) {
        self.lists.clear();
    }

    /// Queues the entry of one send; false when the gather lists have no room for it.
    fn push_send(&mut self, core: &mut Core, key: Key) -> bool {
        let Some(connection) = self.slots.get_mut(key) else { return true };
        let fd = Fd(connection.socket.as_raw_fd());
        let Some(sending) = &mut connection.sending else { return true };
        let is_large = sending.size - sending.done >= LOAN_BYTES_MIN;
        let lender = match is_large && self.zero_copy != ZeroCopy::Off {
            true => connection.lending.ask(&connection.socket, &self.loans, self.zero_copy),
            false => None,
        };
        let entry = match &sending.pieces[..] {
            [Piece::Shared(bytes)] => {
                let rest = &bytes[sending.done..];
                let size = rest.len().min(u32::MAX as usize) as u32;
                if lender.is_some() {
                    opcode::SendZc::new(fd, rest.as_ptr(), size)
                        .flags(SEND_FLAGS)
                        .zc_flags(REPORT_USAGE)
                        .build()
                } else {
                    opcode::Send::new(fd, rest.as_ptr(), size).flags(SEND_FLAGS).build()
                }
            }
            pieces => {
                let Some(message) = self.lists.message(pieces, sending.done) else { return false };
                if lender.is_some() {
                    let entry = opcode::SendMsgZc::new(fd, message).flags(SEND_FLAGS as u32);
                    entry.ioprio(REPORT_USAGE).build()
                } else {
                    opcode::SendMsg::new(fd, message).flags(SEND_FLAGS as u32).build()
                }
            }
        };
        sending.is_under_way = true;
        let token = match lender {
            Some(peer) => {
                core.stats.sends_lent += 1;
                self.loans.lend(key, peer, &sending.pieces)
            }
            None => Token::new(Kind::Send, key),
        };
        let entry = entry.user_data(token.pack());
        // SAFETY: the pieces stay in the slot until the completion, and what is lent in its loan until the kernel has
        // done with it; the lists are cleared after a flush only.
        unsafe { core.ring.push(entry) };
        true
    }

    pub(super) fn handle_connect(&mut self, core: &mut Core, token: Token, completion: &cqueue::Entry) {
        let key = Key { index: token.index, generation: token.generation };
        let Some(connection) = self.slots.get_mut(key) else { return };
        let Some(destination) = connection.connecting.take() else { return };
        if connection.phase == Phase::Closing {
            return self.settle(core, key);
        }
        let conn = conn_of(key);
        let fd = connection.socket.as_raw_fd();
        let opened = match error_of(completion) {
            Some(error) => Err(error),
            None => socket::local_address(fd),
        };
        match opened {
            // Both ends are ours: nobody listens, and the port that the kernel chose is the one that was asked for
            // (RFC 9293 3.5, simultaneous open).
            Ok(local) if local == destination.address => {
                connection.refuse(core, conn, io::ErrorKind::ConnectionRefused.into());
            }
            Ok(local) => {
                connection.phase = Phase::Open;
                core.events.push(Event::Connected { conn, local });
                self.arm(core, key);
            }
            Err(error) => connection.refuse(core, conn, error),
        }
    }

    pub(super) fn handle_send(&mut self, core: &mut Core, token: Token, completion: &cqueue::Entry) {
        let key = Key { index: token.index, generation: token.generation };
        let Some(connection) = self.slots.get_mut(key) else { return };
        let Some(sending) = &mut connection.sending else { return };
        sending.is_under_way = false;
        if connection.phase == Phase::Closing {
            connection.sending = None;
            return self.settle(core, key);
        }
        let conn = conn_of(key);
        match error_of(completion) {
            None => {
                sending.done += completion.result() as usize;
                if sending.done >= sending.size {
                    connection.sending = None;
                    core.events.push(Event::Sent { conn });
                } else if completion.result() > 0 {
                    self.to_send.push(key);
                } else {
                    connection.sending = None;
                    core.events.push(Event::Ended { conn, error: Some(io::ErrorKind::WriteZero.into()) });
                }
            }
            Some(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {
                self.to_send.push(key);
            }
            Some(error) => {
                connection.sending = None;
                core.events.push(Event::Ended { conn, error: Some(error) });
            }
        }
        self.settle(core, key);
    }

    pub(super) fn handle_loan(&mut self, core: &mut Core, token: Token, completion: &cqueue::Entry) {
        match self.loans.handle(token, completion) {
            Some(News::Answered(key)) => self.handle_send(core, Token::new(Kind::Send, key), completion),
            Some(News::Refused(key)) => {
                let Some(connection) = self.slots.get_mut(key) else { return };
                connection.lending = Lending::No;
                if connection.phase == Phase::Closing {
                    return self.handle_send(core, Token::new(Kind::Send, key), completion);
                }
                if let Some(sending) = &mut connection.sending {
                    sending.is_under_way = false;
                    self.to_send.push(key);
                }
            }
            Some(News::Returned(key, is_copied)) => {
                core.stats.loans_copied += u64::from(is_copied);
                // A link that copies all the same does so every time: pinning the pages was for nothing.
                if is_copied
                    && self.zero_copy == ZeroCopy::Auto
                    && let Some(connection) = self.slots.get_mut(key)
                {
                    connection.lending = Lending::No;
                }
            }
            None => {}
        }
    }

    pub(super) fn handle_receive(&mut self, core: &mut Core, token: Token, completion: &cqueue::Entry) {
        let key = Key { index: token.index, generation: token.generation };
        let conn = conn_of(key);
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            core.buffers.take(buffer);
        }
        let Some(connection) = self.slots.get_mut(key) else { return };
        if !cqueue::more(completion.flags()) {
            connection.is_armed = false;
        }
        if connection.phase == Phase::Closing {
            return self.settle(core, key);
        }
        match (error_of(completion), cqueue::buffer_select(completion.flags())) {
            (None, Some(buffer)) if completion.result() > 0 => {
                let size = completion.result() as u32;
                let span = Span { buffer: u32::from(SMALL_GROUP) << 16 | u32::from(buffer), offset: 0, size };
                core.events.push(Event::Received { conn, span });
            }
            (None, _) => connection.end(core, conn, None),
            (Some(error), _) => match error.raw_os_error() {
                // No buffer was left: the next turn gives them back before it arms again.
                Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                _ => connection.end(core, conn, Some(error)),
            },
        }
        self.arm(core, key);
        self.settle(core, key);
    }

    /// Receives, if wanted and not under way.
    fn arm(&mut self, core: &mut Core, key: Key) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let may = connection.phase == Phase::Open && connection.is_wanted;
        if !may || connection.is_armed || connection.has_ended {
            return;
        }
        connection.is_armed = true;
        let fd = Fd(connection.socket.as_raw_fd());
        let entry = opcode::RecvMulti::new(fd, SMALL_GROUP).build();
        let entry = entry.user_data(Token::new(Kind::Receive, key).pack());
        // SAFETY: the entry points to nothing; the buffer group outlives the ring.
        unsafe { core.ring.push(entry) };
    }

    /// Finishes what waited for the connection to be idle.
    fn settle(&mut self, core: &mut Core, key: Key) {
        let Some(connection) = self.slots.get(key) else { return };
        if matches!(connection.phase, Phase::Unopened | Phase::Open) || !connection.is_idle() {
            return;
        }
        let Some(connection) = self.slots.remove(key) else { return };
        let conn = conn_of(key);
        if connection.phase == Phase::Detaching {
            let socket = Detached(Box::new(connection.socket));
            core.events.push(Event::Detached { conn, socket });
            return;
        }
        if !connection.has_ended {
            socket::discard_input(&connection.socket);
        }
        drop(connection);
        self.has_freed = true;
        core.events.push(Event::Closed { conn });
    }

    /// Whether a descriptor became free since the last call.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.has_freed)
    }
}

impl Connection {
    fn new(socket: OwnedFd, phase: Phase) -> Connection {
        Connection {
            socket,
            phase,
            connecting: None,
            is_wanted: true,
            is_armed: false,
            has_ended: false,
            lending: Lending::Unasked,
            sending: None,
        }
    }

    /// Notes and reports that the connection could not be opened.
    fn refuse(&mut self, core: &mut Core, conn: Conn, error: io::Error) {
        self.has_ended = true;
        core.events.push(Event::Ended { conn, error: Some(error) });
    }

    /// Notes and reports the end of receiving. One that leaves the driver is told so by its next.
    fn end(&mut self, core: &mut Core, conn: Conn, error: Option<io::Error>) {
        if self.phase == Phase::Open {
            self.has_ended = true;
            core.events.push(Event::Ended { conn, error });
        }
    }

    fn is_idle(&self) -> bool {
        let is_sending = self.sending.as_ref().is_some_and(|sending| sending.is_under_way);
        !self.is_armed && self.connecting.is_none() && !is_sending
    }
}

fn key_of(conn: Conn) -> Key {
    Key { index: conn.index, generation: conn.generation }
}

fn conn_of(key: Key) -> Conn {
    Conn { index: key.index, generation: key.generation }
}
