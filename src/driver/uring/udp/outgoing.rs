//! One datagram or train on its way out, and the state of handing many over.

use std::net::SocketAddr;

use proto::io::Piece;
use proto::time::Time;

use super::super::slots::Key;

/// One datagram or train on its way out.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) socket: Key,
    pub(super) to: SocketAddr,
    pub(super) piece: Piece,
    pub(super) size: usize,
    pub(super) segment: u16,
    pub(super) since: Time,
    /// Whether it is a packet of a train that the kernel refused to cut.
    pub(super) was_cut: bool,
}

impl Outgoing {
    pub(super) fn is_train(&self) -> bool {
        self.size > usize::from(self.segment)
    }

    /// Whether it leaves as it should from a socket that is set to cut segments of this size, 0 for none.
    pub(super) fn leaves_by(&self, segment: u16) -> bool {
        match self.is_train() {
            true => self.segment == segment,
            false => segment == 0 || self.size <= usize::from(segment),
        }
    }

    /// Count of datagrams.
    pub(super) fn packets(&self) -> u64 {
        self.size.div_ceil(usize::from(self.segment.max(1))).max(1) as u64
    }

    /// The datagrams of a train, one by one.
    pub(super) fn cut(self) -> impl Iterator<Item = Outgoing> {
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
pub(super) struct Round {
    /// Indices into the batch, in order of leaving.
    pub(super) order: Vec<u32>,
    /// Those whose destination occurred before in this round.
    pub(super) later: Vec<u32>,
    /// What the kernel refused in one call: index and error.
    pub(super) refused: Vec<(u32, i32)>,
    /// What has to stay in front of the socket's parked entries.
    pub(super) again: Vec<Outgoing>,
    pub(super) seen: Seen,
    /// Count of entries with the ring.
    pub(super) under_way: usize,
    /// Calls so far.
    pub(super) calls: u64,
}

impl Round {
    pub(super) fn new() -> Round {
        Round {
            order: Vec::new(),
            later: Vec::new(),
            refused: Vec::new(),
            again: Vec::new(),
            seen: Seen::new(),
            under_way: 0,
            calls: 0,
        }
    }
}

/// Destinations of a round, a bit each by hash: one that is taken for another leaves a round later, which is harmless.
///
/// Between two batches the kernel copies megabytes, and whatever is touched by then is touched in memory. Bits for
/// 256 destinations lie in 32 lines that are cleared in one go; a word for each would be a line for each.
pub(super) struct Seen {
    bits: Box<[u64; Seen::WORDS]>,
}

impl Seen {
    const BITS: u32 = 14;
    const WORDS: usize = (1 << Self::BITS) / 64;

    fn new() -> Seen {
        Seen { bits: Box::new([0; Self::WORDS]) }
    }

    pub(super) fn forget_all(&mut self) {
        self.bits.fill(0);
    }

    /// Notes a destination; false when it was there.
    pub(super) fn insert(&mut self, socket: Key, to: SocketAddr) -> bool {
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
        let (word, bit) = (&mut self.bits[place as usize / 64], 1 << (place % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_train_is_cut_into_its_datagrams() {
        let socket = Key { index: 0, generation: 1 };
        let (to, since) = ("127.0.0.1:9".parse().unwrap(), Time::ZERO);
        let piece = Piece::Shared(Bytes::from_static(b"aaabbbc"));
        let train = Outgoing { socket, to, piece, size: 7, segment: 3, since, was_cut: false };
        assert_eq!(train.packets(), 3);
        let cut: Vec<_> =
            train.cut().map(|packet| packet.piece.slices().collect::<Vec<_>>().concat()).collect();
        assert_eq!(cut, [&b"aaa"[..], b"bbb", b"c"]);
    }

    #[test]
    fn a_destination_is_new_once_a_round() {
        let mut seen = Seen::new();
        let socket = Key { index: 0, generation: 1 };
        let to = "[2001:db8::1]:5000".parse().unwrap();
        for _ in 0..2 {
            seen.forget_all();
            assert!(seen.insert(socket, to));
            assert!(!seen.insert(socket, to));
        }
    }
}
