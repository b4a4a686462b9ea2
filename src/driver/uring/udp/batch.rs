//! Batches of datagrams out: in rounds, each destination once a round, parked in order where a socket is full.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use proto::io::Piece;
use proto::time::Time;

use super::super::ring::ENTER_ENTRIES_MAX;
use super::super::slots::Key;
use super::super::token::{Kind, Token};
use super::super::{Core, socket};
use super::outgoing::Outgoing;
use super::{Datagrams, Socket};

/// Entries that wait for one full socket; the oldest are shed above it. At 1,000 viewers two seconds of video.
const PARKED_MAX: usize = 65_536;

/// Entries tried at once when a full socket can take more.
const RESUMED_AT_ONCE: usize = 128;

impl Datagrams {
    /// Hands everything to the kernel: first what was parked and may go on, then what is new.
    pub(in crate::driver::uring) fn hand_over(&mut self, core: &mut Core) -> io::Result<()> {
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
        socket.set_segment(outgoing);
        let mut entry = self.entry(core, index);
        if entry.is_none() {
            // The gather lists are full: what lies in them is with the kernel after this.
            self.call(core, resumed)?;
            entry = self.entry(core, index);
        }
        let Some(entry) = entry else { return Ok(()) };
        let token = Token { kind: Kind::SendTo, generation: 0, index };
        // SAFETY: the message stays until `call` has handed it over, the piece in the batch until the call has seen
        // its completion.
        unsafe { core.ring.push(entry.user_data(token.pack())) };
        self.round.under_way += 1;
        Ok(())
    }

    /// The entry of one datagram or train; None when there is no room for what it points to. Where the socket is set to
    /// the segment's size, and bytes lie in one place, address and bytes are all that the kernel needs: it copies no
    /// header, list and control message, and a train costs 5 % less.
    fn entry(&mut self, core: &Core, index: u32) -> Option<squeue::Entry> {
        let outgoing = &self.batch[index as usize];
        let socket = self.slots.get(outgoing.socket)?;
        let fd = Fd(socket.file.number);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let is_set = outgoing.leaves_by(socket.segment);
        let entry = match &outgoing.piece {
            Piece::Shared(bytes) if is_set && core.ring.sends_to_addresses() => {
                let (name, size) = self.messages.name(outgoing.to)?;
                let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32);
                send.dest_addr(name).dest_addr_len(size).flags(flags).build()
            }
            piece => {
                let segment = if outgoing.is_train() { outgoing.segment } else { 0 };
                let segment = (!is_set).then_some(segment);
                let message = self.messages.message(outgoing.to, piece, segment)?;
                opcode::SendMsg::new(fd, message).flags(flags as u32).build()
            }
        };
        Some(socket.file.name(entry))
    }

    /// Hands over what is queued, and settles every entry of it.
    fn call(&mut self, core: &mut Core, resumed: Option<Key>) -> io::Result<()> {
        if self.round.under_way == 0 {
            return Ok(());
        }
        self.round.calls += 1;
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
            // A socket set to a segment's size refuses single datagrams, too, where it cannot cut.
            libc::EIO | libc::EINVAL | libc::EMSGSIZE if socket.was_set(self.round.calls) => {
                socket.stop_setting(self.round.calls);
                self.round.later.insert(0, index);
            }
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

    /// Sheds what has waited too long.
    pub(in crate::driver::uring) fn shed(&mut self, core: &mut Core) {
        for &key in &self.full {
            let Some(socket) = self.slots.get_mut(key) else { continue };
            while let Some(oldest) = socket.parked.front()
                && core.clock.now().since(oldest.since) >= socket.patience
            {
                core.stats.datagrams_shed += oldest.packets();
                socket.parked.pop_front();
            }
        }
    }

    /// When the next entry has waited too long.
    pub(in crate::driver::uring) fn deadline(&self) -> Option<Time> {
        let deadline = |key: &Key| {
            let socket = self.slots.get(*key)?;
            Some(socket.parked.front()?.since + socket.patience)
        };
        self.full.iter().filter_map(deadline).min()
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

    /// Sets the socket to the segments of its first train.
    fn set_segment(&mut self, outgoing: &Outgoing) {
        if !self.may_set || !outgoing.is_train() {
            return;
        }
        self.may_set = false;
        let segment = outgoing.segment;
        let fd = self.socket.as_raw_fd();
        if socket::set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, i32::from(segment)).is_ok() {
            self.segment = segment;
        }
    }

    /// Whether the socket was set to a segment's size when entries of a call were handed over.
    fn was_set(&self, call: u64) -> bool {
        self.segment > 0 || self.unset_in == Some(call)
    }

    /// Sets the socket to no segments, and leaves it so: trains say how they are cut.
    fn stop_setting(&mut self, call: u64) {
        self.segment = 0;
        self.unset_in = Some(call);
        let _ = socket::set(self.socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0);
    }

    /// Sends packet by packet from here on, as that works where a train did not.
    fn stop_segmenting(&mut self) {
        if self.is_segmenting {
            self.is_segmenting = false;
            tracing::warn!("UDP trains are refused on this path (UDP_SEGMENT); packets leave one by one");
        }
    }
}
