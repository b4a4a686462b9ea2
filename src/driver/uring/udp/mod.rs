//! UDP sockets: batches of trains out, in order; reports and ingested datagrams in.
//!
//! Every entry carries MSG_DONTWAIT, so that it is complete, or refused, when the call that hands it over returns; an
//! entry that waited inside the kernel would be overtaken. One destination occurs once a call. An entry for a full
//! socket is parked, all that follow on that socket line up behind it, and a poll says when to go on.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::types::{Fd, RecvMsgOut};
use io_uring::{cqueue, opcode};
use proto::io::{Event, Piece, Span, Udp, UdpOptions};

use self::outgoing::{Outgoing, Round};
use super::arena::{MERGED_CONTROL_BYTES, Messages, merged_size, receive_header};
use super::ring::{ENTER_ENTRIES_MAX, File};
use super::slots::{Key, Slots};
use super::token::{Kind, Token};
use super::{Core, INGEST_GROUP, SMALL_GROUP, error_of, socket};

mod batch;
mod outgoing;

/// All UDP sockets of the driver.
pub(super) struct Datagrams {
    slots: Slots<Socket>,
    /// What was submitted since the last turn, and what a round of it puts off.
    batch: Vec<Outgoing>,
    messages: Messages,
    round: Round,
    /// Sockets with parked entries.
    full: Vec<Key>,
    closing: Vec<Key>,
    has_segmentation: bool,
}

struct Socket {
    socket: OwnedFd,
    file: File,
    /// What the socket itself is set to cut, 0 for nothing: a train of another size says so in a control message.
    segment: u16,
    /// The call that found it should not be set.
    unset_in: Option<u64>,
    /// Whether the first train may set it.
    may_set: bool,
    /// What the multishot receive was told about room for names and control messages.
    header: Box<libc::msghdr>,
    group: u16,
    patience: Duration,
    /// Whether trains leave whole.
    is_segmenting: bool,
    is_receiving: bool,
    is_polling: bool,
    is_closing: bool,
    is_writable: bool,
    parked: VecDeque<Outgoing>,
}

// SAFETY: the header holds null pointers only.
unsafe impl Send for Socket {}

impl Datagrams {
    pub(super) fn new(has_segmentation: bool) -> Datagrams {
        Datagrams {
            slots: Slots::new(),
            batch: Vec::new(),
            messages: Messages::new(ENTER_ENTRIES_MAX),
            round: Round::new(),
            full: Vec::new(),
            closing: Vec::new(),
            has_segmentation,
        }
    }

    pub(super) fn bind(
        &mut self,
        core: &mut Core,
        address: SocketAddr,
        options: &UdpOptions,
    ) -> io::Result<(Udp, SocketAddr)> {
        let (socket, bound) = socket::bind(address, options)?;
        let group = if options.ingest { core.ingest()?.group() } else { SMALL_GROUP };
        let control_bytes = if options.ingest { MERGED_CONTROL_BYTES } else { 0 };
        let file = core.ring.register_file(socket.as_raw_fd());
        let key = self.slots.insert(Socket {
            socket,
            file,
            segment: 0,
            unset_in: None,
            may_set: self.has_segmentation && core.ring.sends_to_addresses(),
            header: Box::new(receive_header(control_bytes)),
            group,
            patience: options.patience,
            is_segmenting: self.has_segmentation,
            is_receiving: false,
            is_polling: false,
            is_closing: false,
            is_writable: false,
            parked: VecDeque::new(),
        });
        let Some(name) = key.pack() else {
            self.remove(core, key);
            return Err(io::Error::other("more UDP sockets than names"));
        };
        self.arm(core, key);
        Ok((Udp(name), bound))
    }

    pub(super) fn send(&mut self, core: &Core, udp: Udp, to: SocketAddr, piece: Piece, segment: u16) {
        let Some(socket) = self.slots.unpack(udp.0) else { return };
        let Some(slot) = self.slots.get(socket) else { return };
        if slot.is_closing {
            return;
        }
        let size = piece.size();
        let entry = Outgoing { socket, to, piece, size, segment, since: core.clock.now(), was_cut: false };
        if entry.is_train() && !slot.is_segmenting && segment > 0 {
            self.batch.extend(entry.cut());
        } else {
            self.batch.push(entry);
        }
    }

    pub(super) fn close(&mut self, udp: Udp) {
        let Some(key) = self.slots.unpack(udp.0) else { return };
        let Some(socket) = self.slots.get_mut(key) else { return };
        if !socket.is_closing {
            socket.is_closing = true;
            self.closing.push(key);
        }
    }

    pub(super) fn handle_writable(&mut self, core: &mut Core, token: Token) {
        let key = Key { index: token.index, generation: token.generation };
        let Some(socket) = self.slots.get_mut(key) else { return };
        socket.is_polling = false;
        socket.is_writable = true;
        self.settle(core, key);
    }

    pub(super) fn handle_receive(&mut self, core: &mut Core, token: Token, completion: &cqueue::Entry) {
        let key = Key { index: token.index, generation: token.generation };
        let Some(socket) = self.slots.get_mut(key) else { return };
        let (is_closing, group) = (socket.is_closing, socket.group);
        socket.is_receiving = cqueue::more(completion.flags());
        let is_receiving = socket.is_receiving;
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            let buffers = match &mut core.ingest {
                Some(ingest) if group == INGEST_GROUP => ingest,
                _ => &mut core.buffers,
            };
            buffers.take(buffer);
            let size = completion.result().max(0) as u32;
            let received = parse(buffers.bytes(buffer, 0, size), &socket.header);
            if let (Some(Received { from, offset, size, segment }), false) = (received, is_closing)
                && let Some(name) = key.pack()
            {
                let span = Span { buffer: u32::from(group) << 16 | u32::from(buffer), offset, size };
                core.events.push(Event::Datagram { udp: Udp(name), from, span, segment });
            }
        } else if let Some(error) = error_of(completion)
            && !matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ECANCELED))
        {
            tracing::debug!(%error, "receiving over UDP");
        }
        if is_closing {
            self.settle(core, key);
        } else if !is_receiving {
            self.arm(core, key);
        }
    }

    fn arm(&mut self, core: &mut Core, key: Key) {
        let Some(socket) = self.slots.get_mut(key) else { return };
        socket.is_receiving = true;
        let header: *const libc::msghdr = &*socket.header;
        let entry = opcode::RecvMsgMulti::new(Fd(socket.file.number), header, socket.group).build();
        let entry = socket.file.name(entry).user_data(Token::new(Kind::Datagram, key).pack());
        // SAFETY: the header is boxed in the slot, which goes only when no receive is under way.
        unsafe { core.ring.push(entry) };
    }

    /// Ends what is under way on sockets that close, once their queue has left.
    fn finish_closing(&mut self, core: &mut Core) {
        let mut index = 0;
        while let Some(&key) = self.closing.get(index) {
            let Some(socket) = self.slots.get(key).filter(|socket| socket.parked.is_empty()) else {
                index += 1;
                continue;
            };
            self.closing.swap_remove(index);
            if socket.is_receiving {
                core.cancel(Token::new(Kind::Datagram, key));
            }
            if socket.is_polling {
                core.cancel(Token::new(Kind::Writable, key));
            }
            self.settle(core, key);
        }
    }

    /// Lets a closed socket go when nothing of it is under way.
    fn settle(&mut self, core: &mut Core, key: Key) {
        let is_done = self.slots.get(key).is_some_and(|socket| {
            socket.is_closing && !socket.is_receiving && !socket.is_polling && socket.parked.is_empty()
        });
        if is_done {
            self.remove(core, key);
        }
    }

    /// The descriptor of a socket, and whether it sends trains whole.
    #[cfg(test)]
    pub(super) fn inspect(&self, udp: Udp) -> Option<(std::os::fd::RawFd, bool)> {
        let socket = self.slots.get(self.slots.unpack(udp.0)?)?;
        Some((socket.socket.as_raw_fd(), socket.is_segmenting))
    }

    fn remove(&mut self, core: &mut Core, key: Key) {
        if let Some(socket) = self.slots.remove(key) {
            core.ring.unregister_file(socket.file);
        }
    }
}

struct Received {
    from: SocketAddr,
    offset: u32,
    size: u32,
    segment: u16,
}

/// Finds name, payload and segment size in what a multishot receive wrote. None for an empty or truncated datagram.
fn parse(bytes: &[u8], header: &libc::msghdr) -> Option<Received> {
    let message = RecvMsgOut::parse(bytes, header).ok()?;
    let payload = message.payload_data();
    if payload.is_empty() || message.is_payload_truncated() {
        return None;
    }
    let from = socket::parse_address(message.name_data())?;
    let offset = payload.as_ptr() as usize - bytes.as_ptr() as usize;
    let merged = merged_size(message.control_data()).filter(|&segment| segment > 0);
    let segment = merged.unwrap_or(payload.len().min(usize::from(u16::MAX)) as u16);
    Some(Received { from, offset: offset as u32, size: payload.len() as u32, segment })
}
