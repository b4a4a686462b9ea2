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
use proto::time::Time;

use super::arena::{MERGED_CONTROL_BYTES, Messages, merged_size, receive_header};
use super::ring::{ENTER_ENTRIES_MAX, File};
use super::slots::{Key, Slots};
use super::token::{Kind, Token};
use super::{Core, INGEST_GROUP, SMALL_GROUP, error_of, socket};

/// Entries that wait for one full socket; the oldest are shed above it. At 1,000 viewers two seconds of video.
const PARKED_MAX: usize = 65_536;

/// Entries tried at once when a full socket can take more.
const RESUMED_AT_ONCE: usize = 128;

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
    /// Held for its end, as entries name `file`.
    _socket: OwnedFd,
    file: File,
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

/// One datagram or train on its way out.
#[derive(Clone, Debug)]
struct Outgoing {
    socket: Key,
    to: SocketAddr,
    piece: Piece,
    size: usize,
    segment: u16,
    since: Time,
    /// Whether it is a packet of a train that the kernel refused to cut.
    was_cut: bool,
}

impl Outgoing {
    fn is_train(&self) -> bool {
        self.size > usize::from(self.segment)
    }

    /// Count of datagrams.
    fn packets(&self) -> u64 {
        self.size.div_ceil(usize::from(self.segment.max(1))).max(1) as u64
    }

    /// The datagrams of a train, one by one.
    fn cut(self) -> impl Iterator<Item = Outgoing> {
        let packets = self.packets() as usize;
        (0..packets).map(move |index| {
            let from = index * usize::from(self.segment);
            let to = (from + usize::from(self.segment)).min(self.size);
            let piece = match &self.piece {
                Piece::Shared(bytes) => Piece::Shared(bytes.slice(from..to)),
                Piece::Spliced { heads, batch, first, count } => {
                    let head_bytes = heads.len() / (*count).max(1) as usize;
                    let heads = heads.slice(index * head_bytes..(index + 1) * head_bytes);
                    Piece::Spliced { heads, batch: batch.clone(), first: first + index as u32, count: 1 }
                }
            };
            Outgoing { piece, size: to - from, was_cut: true, ..self.clone() }
        })
    }
}

/// The state of handing one batch over.
struct Round {
    /// Indices into the batch, in order of leaving.
    order: Vec<u32>,
    /// Those whose destination occurred before in this round.
    later: Vec<u32>,
    /// What the kernel refused in one call: index and error.
    refused: Vec<(u32, i32)>,
    /// What has to stay in front of the socket's parked entries.
    again: Vec<Outgoing>,
    seen: Seen,
    under_way: usize,
}

/// Destinations of a round, by hash: one that is taken for another leaves a round later, which is harmless.
struct Seen {
    marks: Box<[u32]>,
    mark: u32,
}

impl Seen {
    const BITS: u32 = 13;

    fn new() -> Seen {
        Seen { marks: vec![0; 1 << Self::BITS].into(), mark: 0 }
    }

    fn forget_all(&mut self) {
        self.mark = self.mark.wrapping_add(1);
        if self.mark == 0 {
            self.marks.fill(0);
            self.mark = 1;
        }
    }

    /// Notes a destination; false when it was there.
    fn insert(&mut self, socket: Key, to: SocketAddr) -> bool {
        let ip = match to {
            SocketAddr::V4(to) => u64::from(to.ip().to_bits()),
            SocketAddr::V6(to) => {
                let bits = to.ip().to_bits();
                bits as u64 ^ (bits >> 64) as u64
            }
        };
        let key = ip ^ u64::from(to.port()) << 48 ^ u64::from(socket.index) << 32;
        // Fibonacci hashing: 2^64 over the golden ratio.
        let place = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::BITS);
        std::mem::replace(&mut self.marks[place as usize], self.mark) != self.mark
    }
}

impl Datagrams {
    pub(super) fn new(has_segmentation: bool) -> Datagrams {
        Datagrams {
            slots: Slots::new(),
            batch: Vec::new(),
            messages: Messages::new(ENTER_ENTRIES_MAX),
            round: Round {
                order: Vec::new(),
                later: Vec::new(),
                refused: Vec::new(),
                again: Vec::new(),
                seen: Seen::new(),
                under_way: 0,
            },
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
            _socket: socket,
            file,
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
        let entry = Outgoing { socket, to, piece, size, segment, since: core.now, was_cut: false };
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

    /// Hands everything to the kernel: first what was parked and may go on, then what is new.
    pub(super) fn hand_over(&mut self, core: &mut Core) -> io::Result<()> {
        let new = std::mem::take(&mut self.batch);
        for index in 0..self.full.len() {
            self.resume(core, self.full[index])?;
        }
        self.batch = new;
        if !self.batch.is_empty() {
            self.send_batch(core, None)?;
        }
        self.watch_full(core);
        self.finish_closing(core);
        Ok(())
    }

    /// Sends the parked entries of a socket that can take more.
    fn resume(&mut self, core: &mut Core, key: Key) -> io::Result<()> {
        while let Some(socket) = self.slots.get_mut(key).filter(|socket| socket.is_writable) {
            let count = socket.parked.len().min(RESUMED_AT_ONCE);
            if count == 0 {
                break;
            }
            self.batch.extend(socket.parked.drain(..count));
            self.send_batch(core, Some(key))?;
            let Some(socket) = self.slots.get_mut(key) else { break };
            socket.is_writable = self.round.again.is_empty();
            while let Some(entry) = self.round.again.pop() {
                socket.parked.push_front(entry);
            }
        }
        Ok(())
    }

    /// Polls the sockets that are full, and forgets those that no longer are.
    fn watch_full(&mut self, core: &mut Core) {
        let slots = &mut self.slots;
        self.full.retain(|&key| {
            let Some(socket) = slots.get_mut(key).filter(|socket| !socket.parked.is_empty()) else {
                return false;
            };
            socket.is_writable = false;
            if !socket.is_polling {
                socket.is_polling = true;
                let entry = opcode::PollAdd::new(Fd(socket.file.number), libc::POLLOUT as u32).build();
                let entry = socket.file.name(entry).user_data(Token::new(Kind::Writable, key).pack());
                // SAFETY: the entry points to nothing.
                unsafe { core.ring.push(entry) };
            }
            true
        });
    }

    /// Sends `self.batch` in rounds, each destination once a round, and empties it. What a full socket refuses is
    /// parked, or collected in `again` when the socket is the one that is `resumed`.
    fn send_batch(&mut self, core: &mut Core, resumed: Option<Key>) -> io::Result<()> {
        self.round.order.clear();
        self.round.order.extend(0..self.batch.len() as u32);
        while !self.round.order.is_empty() {
            self.round.seen.forget_all();
            let order = std::mem::take(&mut self.round.order);
            for &index in &order {
                self.queue(core, index, resumed)?;
            }
            self.call(core, resumed)?;
            self.round.order = order;
            self.round.order.clear();
            std::mem::swap(&mut self.round.order, &mut self.round.later);
        }
        self.batch.clear();
        Ok(())
    }

    /// Queues the entry of one datagram or train, unless it has to wait.
    fn queue(&mut self, core: &mut Core, index: u32, resumed: Option<Key>) -> io::Result<()> {
        if self.round.under_way == ENTER_ENTRIES_MAX {
            self.call(core, resumed)?;
        }
        let outgoing = &self.batch[index as usize];
        let Some(socket) = self.slots.get_mut(outgoing.socket) else { return Ok(()) };
        if resumed.is_some() && !self.round.again.is_empty() {
            self.round.again.push(outgoing.clone());
            return Ok(());
        }
        if resumed.is_none() && !socket.parked.is_empty() {
            socket.park(core, outgoing.clone());
            return Ok(());
        }
        if !self.round.seen.insert(outgoing.socket, outgoing.to) {
            self.round.later.push(index);
            return Ok(());
        }
        let file = socket.file;
        let segment = outgoing.is_train().then_some(outgoing.segment);
        let message = match self.messages.message(outgoing.to, &outgoing.piece, segment) {
            Some(message) => message,
            None => {
                self.call(core, resumed)?;
                let outgoing = &self.batch[index as usize];
                let Some(message) = self.messages.message(outgoing.to, &outgoing.piece, segment) else {
                    core.stats.datagrams_failed += outgoing.packets();
                    return Ok(());
                };
                message
            }
        };
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32;
        let entry = opcode::SendMsg::new(Fd(file.number), message).flags(flags).build();
        let token = Token { kind: Kind::SendTo, generation: 0, index };
        // SAFETY: the message stays until `call` has handed it over, the piece in the batch until the call has seen
        // its completion.
        unsafe { core.ring.push(file.name(entry).user_data(token.pack())) };
        self.round.under_way += 1;
        Ok(())
    }

    /// Hands over what is queued, and settles every entry of it.
    fn call(&mut self, core: &mut Core, resumed: Option<Key>) -> io::Result<()> {
        if self.round.under_way == 0 {
            return Ok(());
        }
        core.ring.flush()?;
        self.messages.clear();
        self.collect(core);
        while self.round.under_way > 0 {
            // Completions of entries that do not wait are there when the call returns, unless they overflowed.
            core.ring.enter(1, None)?;
            self.collect(core);
        }
        let mut refused = std::mem::take(&mut self.round.refused);
        for (index, error) in refused.drain(..) {
            self.settle_refused(core, index, error, resumed);
        }
        self.round.refused = refused;
        Ok(())
    }

    /// Takes the completions of entries out of the ring.
    fn collect(&mut self, core: &mut Core) {
        let Datagrams { batch, round, slots, .. } = self;
        let Core { ring, stats, .. } = core;
        ring.reap(|completion| {
            let token = Token::unpack(completion.user_data());
            if token.kind != Kind::SendTo {
                return false;
            }
            round.under_way -= 1;
            let outgoing = &batch[token.index as usize];
            if completion.result() < 0 {
                round.refused.push((token.index, -completion.result()));
                return true;
            }
            stats.datagrams += outgoing.packets();
            if outgoing.was_cut {
                slots.get_mut(outgoing.socket).map(Socket::stop_segmenting);
            }
            true
        });
    }

    fn settle_refused(&mut self, core: &mut Core, index: u32, error: i32, resumed: Option<Key>) {
        let outgoing = &self.batch[index as usize];
        let Some(socket) = self.slots.get_mut(outgoing.socket) else { return };
        match error {
            libc::EAGAIN if resumed.is_some() => self.round.again.push(outgoing.clone()),
            libc::EAGAIN => {
                let key = outgoing.socket;
                socket.park(core, outgoing.clone());
                if !self.full.contains(&key) {
                    self.full.push(key);
                }
            }
            libc::EINTR => self.round.later.insert(0, index),
            // The path cannot cut trains (EIO: no checksum offload), or not this one.
            libc::EIO | libc::EINVAL | libc::EMSGSIZE if outgoing.is_train() && outgoing.segment > 0 => {
                let first = self.batch.len() as u32;
                let packets: Vec<Outgoing> = outgoing.clone().cut().collect();
                self.batch.extend(packets);
                // In front of what follows to the same destination.
                self.round.later.splice(0..0, first..self.batch.len() as u32);
            }
            error => {
                core.stats.datagrams_failed += outgoing.packets();
                let error = io::Error::from_raw_os_error(error);
                tracing::debug!(to = %outgoing.to, %error, "a datagram could not be sent");
            }
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

    /// Sheds what has waited too long.
    pub(super) fn shed(&mut self, core: &mut Core) {
        for &key in &self.full {
            let Some(socket) = self.slots.get_mut(key) else { continue };
            while let Some(oldest) = socket.parked.front()
                && core.now.since(oldest.since) >= socket.patience
            {
                core.stats.datagrams_shed += oldest.packets();
                socket.parked.pop_front();
            }
        }
    }

    /// When the next entry has waited too long.
    pub(super) fn deadline(&self) -> Option<Time> {
        let deadline = |key: &Key| {
            let socket = self.slots.get(*key)?;
            Some(socket.parked.front()?.since + socket.patience)
        };
        self.full.iter().filter_map(deadline).min()
    }

    /// Ends what is under way on sockets that close, once their queue has left.
    fn finish_closing(&mut self, core: &mut Core) {
        let slots = &self.slots;
        let ready = |key: &mut Key| slots.get(*key).is_none_or(|socket| socket.parked.is_empty());
        let mut closing = std::mem::take(&mut self.closing);
        for key in closing.extract_if(.., ready).collect::<Vec<_>>() {
            if let Some(socket) = self.slots.get(key) {
                if socket.is_receiving {
                    core.cancel(Token::new(Kind::Datagram, key));
                }
                if socket.is_polling {
                    core.cancel(Token::new(Kind::Writable, key));
                }
                self.settle(core, key);
            }
        }
        self.closing = closing;
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
        Some((socket._socket.as_raw_fd(), socket.is_segmenting))
    }

    fn remove(&mut self, core: &mut Core, key: Key) {
        if let Some(socket) = self.slots.remove(key) {
            core.ring.unregister_file(socket.file);
        }
    }
}

impl Socket {
    /// Lines an entry up behind those that wait.
    fn park(&mut self, core: &mut Core, entry: Outgoing) {
        if self.parked.len() >= PARKED_MAX
            && let Some(oldest) = self.parked.pop_front()
        {
            core.stats.datagrams_shed += oldest.packets();
        }
        self.parked.push_back(entry);
    }

    /// Sends packet by packet from here on, as that works where a train did not.
    fn stop_segmenting(&mut self) {
        if self.is_segmenting {
            self.is_segmenting = false;
            tracing::warn!("UDP trains are refused on this path (UDP_SEGMENT); packets leave one by one");
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
