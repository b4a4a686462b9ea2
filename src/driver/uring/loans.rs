//! Large sends of which the network takes the pages in place of a copy (SEND_ZC): they are the kernel's until it says
//! that it has done with them, which may be long after the send is over and its connection is gone.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use io_uring::cqueue;
use proto::io::Pieces;

use super::error_of;
use super::slots::{Key, Slots};
use super::token::{Kind, Token};

/// Pinning pages costs more than the copy of fewer bytes.
pub(super) const LOAN_BYTES_MIN: usize = 32 * 1024;

/// Asks for word on whether the bytes were copied after all (IORING_SEND_ZC_REPORT_USAGE, Linux 6.2).
pub(super) const REPORT_USAGE: u16 = 1 << 3;

/// That word (IORING_NOTIF_USAGE_ZC_COPIED).
const COPIED: u32 = 1 << 31;

/// Peers that are remembered.
const COPYING_MAX: usize = 1_024;

/// All loans.
pub(super) struct Loans {
    slots: Slots<Loan>,
    /// Peers on whose way the kernel copies: their further connections need not find out.
    copying: HashSet<IpAddr>,
}

struct Loan {
    connection: Key,
    peer: IpAddr,
    /// Kept for the kernel, which reads them.
    _pieces: Pieces,
}

/// What a completion says of a loan.
pub(super) enum News {
    /// The send of this connection is answered, as one that copies would be.
    Answered(Key),
    /// Nothing was sent: this connection's kernel does not lend.
    Refused(Key),
    /// The kernel has done with the pages; whether it copied them.
    Returned(Key, bool),
}

impl Loans {
    pub(super) fn new() -> Loans {
        Loans { slots: Slots::new(), copying: HashSet::new() }
    }

    /// Remembers that the kernel copies what a peer is sent.
    fn note_copying(&mut self, peer: IpAddr) {
        if self.copying.len() >= COPYING_MAX {
            self.copying.clear();
        }
        self.copying.insert(peer);
    }

    /// Whether the kernel was seen to copy what a peer is sent.
    pub(super) fn is_copying(&self, peer: IpAddr) -> bool {
        self.copying.contains(&peer)
    }

    /// Keeps what a send of `connection` to `peer` is about to lend; the name of its completions.
    pub(super) fn lend(&mut self, connection: Key, peer: IpAddr, pieces: &Pieces) -> Token {
        Token::new(Kind::Loan, self.slots.insert(Loan { connection, peer, _pieces: pieces.clone() }))
    }

    /// Understands a completion. There are two: the answer, and the notification that follows where the answer says so.
    pub(super) fn handle(&mut self, token: Token, completion: &cqueue::Entry) -> Option<News> {
        let key = Key { index: token.index, generation: token.generation };
        let Loan { connection, peer, .. } = *self.slots.get(key)?;
        let flags = completion.flags();
        if cqueue::notif(flags) {
            self.slots.remove(key);
            let is_copied = completion.result() as u32 & COPIED != 0;
            // The connection may be gone by now, but the next from there finds it known.
            if is_copied {
                self.note_copying(peer);
            }
            return Some(News::Returned(connection, is_copied));
        }
        if !cqueue::more(flags) {
            self.slots.remove(key);
        }
        let is_refused = error_of(completion).is_some_and(|error| refuses(&error));
        Some(if is_refused { News::Refused(connection) } else { News::Answered(connection) })
    }
}

/// Whether an error is about lending: the kernel or the socket cannot, or no more memory may be locked.
fn refuses(error: &io::Error) -> bool {
    let about_lending = [libc::EINVAL, libc::EOPNOTSUPP, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|number| about_lending.contains(&number))
}
