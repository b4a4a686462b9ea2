//! What a completion belongs to, packed into the 64 bits that the kernel carries along.
//!
//! ```text
//! 63    56 55           32 31                    0
//! [ kind ][  generation  ][        index         ]
//! ```

/// Bits of a generation that fit beside kind and index; slots count within them.
pub(super) const GENERATION_MASK: u32 = 0x00ff_ffff;

/// Which operation a completion answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A cancellation: what it cancels answers for itself.
    Cancel,
    /// A multishot accept; the index names the listener.
    Accept,
    /// A multishot receive on a connection.
    Receive,
    /// A send on a connection.
    Send,
    /// A multishot receive on a UDP socket.
    Datagram,
    /// A send over UDP; the index is the entry's place in the batch of the turn.
    SendTo,
    /// A full UDP socket that can take more.
    Writable,
    /// The waker's descriptor.
    Wake,
    /// The connect of a connection.
    Connect,
    /// A send on a connection that lends its bytes; the index names the loan.
    Loan,
}

/// A completion's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl Token {
    pub(super) const CANCEL: Token = Token { kind: Kind::Cancel, generation: 0, index: 0 };
    pub(super) const WAKE: Token = Token { kind: Kind::Wake, generation: 0, index: 0 };

    pub(super) const fn new(kind: Kind, key: super::slots::Key) -> Token {
        Token { kind, generation: key.generation, index: key.index }
    }

    pub(super) const fn pack(self) -> u64 {
        let generation = self.generation & GENERATION_MASK;
        (self.kind as u64) << 56 | (generation as u64) << 32 | self.index as u64
    }

    pub(super) fn unpack(bits: u64) -> Token {
        let kind = match (bits >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Datagram,
            5 => Kind::SendTo,
            6 => Kind::Writable,
            7 => Kind::Wake,
            8 => Kind::Connect,
            9 => Kind::Loan,
            _ => Kind::Cancel,
        };
        Token { kind, generation: (bits >> 32) as u32 & GENERATION_MASK, index: bits as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_way_through_the_kernel() {
        let kinds = [
            Kind::Cancel,
            Kind::Accept,
            Kind::Receive,
            Kind::Send,
            Kind::Datagram,
            Kind::SendTo,
            Kind::Writable,
            Kind::Wake,
            Kind::Connect,
            Kind::Loan,
        ];
        for kind in kinds {
            let token = Token { kind, generation: GENERATION_MASK, index: u32::MAX };
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
