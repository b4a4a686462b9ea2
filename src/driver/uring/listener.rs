//! Listening sockets: one accept that goes on, until descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use proto::io::{Event, Listener};
use proto::time::Time;

use super::ring::File;
use super::slots::{Key, Slots};
use super::tcp::Connections;
use super::token::{Kind, Token};
use super::{Core, error_of, socket};

/// How long a listener that had no descriptor waits for one that somebody else frees.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// All listening sockets of the driver.
pub(super) struct Listeners {
    slots: Slots<Listening>,
}

struct Listening {
    socket: OwnedFd,
    file: File,
    is_armed: bool,
    is_closing: bool,
    /// When to accept again, after descriptors had run out.
    retry_at: Option<Time>,
}

impl Listeners {
    pub(super) const fn new() -> Listeners {
        Listeners { slots: Slots::new() }
    }

    pub(super) fn listen(
        &mut self,
        core: &mut Core,
        address: SocketAddr,
    ) -> io::Result<(Listener, SocketAddr)> {
        let (socket, bound) = socket::listen(address)?;
        let file = core.ring.register_file(socket.as_raw_fd());
        let listening = Listening { socket, file, is_armed: false, is_closing: false, retry_at: None };
        let key = self.slots.insert(listening);
        let Some(name) = key.pack() else {
            self.remove(core, key);
            return Err(io::Error::other("more listeners than names"));
        };
        self.arm(core, key);
        Ok((Listener(name), bound))
    }

    pub(super) fn close(&mut self, core: &mut Core, listener: Listener) {
        let Some(key) = self.slots.unpack(listener.0) else { return };
        let Some(listening) = self.slots.get_mut(key) else { return };
        if listening.is_armed && !listening.is_closing {
            listening.is_closing = true;
            // Whoever connects from here on is refused at once.
            socket::shut_down(&listening.socket);
            core.cancel(Token::new(Kind::Accept, key));
        } else if !listening.is_armed {
            self.remove(core, key);
        }
    }

    /// When a listener wants to try again.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.slots.keys().filter_map(|key| self.slots.get(key)?.retry_at).min()
    }

    /// Accepts again where it was refused, if a descriptor became free or enough time went by.
    pub(super) fn retry(&mut self, core: &mut Core, connections: &mut Connections) {
        let has_freed = connections.take_freed();
        while let Some(key) = self.due(core.clock.now(), has_freed) {
            self.arm(core, key);
        }
    }

    pub(super) fn handle(
        &mut self,
        core: &mut Core,
        connections: &mut Connections,
        token: Token,
        completion: &cqueue::Entry,
    ) {
        let key = Key { index: token.index, generation: token.generation };
        let accepted = (completion.result() >= 0).then(|| {
            // SAFETY: the kernel has just made the descriptor for this completion; nobody else knows it.
            unsafe { OwnedFd::from_raw_fd(completion.result()) }
        });
        let Some(listening) = self.slots.get_mut(key) else { return };
        listening.is_armed = cqueue::more(completion.flags());
        let (is_armed, is_closing) = (listening.is_armed, listening.is_closing);
        let Some(name) = key.pack().map(Listener) else { return };
        match (accepted, error_of(completion)) {
            (Some(socket), _) if !is_closing => accept(core, connections, name, socket),
            (_, Some(error)) if !is_closing && !is_of_one_connection(&error) => {
                listening.retry_at = Some(core.clock.now() + RETRY_AFTER);
                core.events.push(Event::AcceptRefused { listener: name, error });
            }
            _ => {}
        }
        if is_closing && !is_armed {
            self.remove(core, key);
        } else if !is_armed && self.slots.get(key).is_some_and(|slot| slot.retry_at.is_none()) {
            self.arm(core, key);
        }
    }

    fn due(&self, now: Time, has_freed: bool) -> Option<Key> {
        self.slots.keys().find(|&key| {
            let retry_at = self.slots.get(key).and_then(|listening| listening.retry_at);
            retry_at.is_some_and(|at| has_freed || at <= now)
        })
    }

    fn arm(&mut self, core: &mut Core, key: Key) {
        let Some(listening) = self.slots.get_mut(key) else { return };
        listening.is_armed = true;
        listening.retry_at = None;
        let entry = opcode::AcceptMulti::new(Fd(listening.file.number)).flags(libc::SOCK_CLOEXEC).build();
        let entry = listening.file.name(entry).user_data(Token::new(Kind::Accept, key).pack());
        // SAFETY: the entry points to nothing.
        unsafe { core.ring.push(entry) };
    }

    fn remove(&mut self, core: &mut Core, key: Key) {
        if let Some(listening) = self.slots.remove(key) {
            core.ring.unregister_file(listening.file);
        }
    }
}

/// Takes an accepted socket in. One whose peer is gone already has no address and goes without a word.
fn accept(core: &mut Core, connections: &mut Connections, listener: Listener, socket: OwnedFd) {
    let fd = socket.as_raw_fd();
    let (Ok(peer), Ok(local)) = (socket::peer_address(fd), socket::local_address(fd)) else { return };
    let conn = connections.insert(core, socket);
    core.events.push(Event::Accepted { listener, conn, peer, local });
}

/// Whether an accept failed because of its one connection, so that the next may succeed at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    let transient =
        [libc::ECONNABORTED, libc::EINTR, libc::EAGAIN, libc::ECANCELED, libc::EPROTO, libc::EPERM];
    error.raw_os_error().is_some_and(|code| transient.contains(&code))
}
