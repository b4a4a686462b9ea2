//! What was received in this turn: one buffer that is filled from the front and emptied as a whole.

use proto::io::Span;

/// Bytes received in one turn. What finds no room is read in the next turn.
///
/// Untouched pages of it cost nothing: the allocator maps them at first use.
const INBOX_BYTES: usize = 1024 * 1024;

/// The largest datagram, and the largest run of merged ones: shorter room would cut it.
const ROOM_BYTES: usize = 64 * 1024;

/// The receive buffer of a driver.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    filled: usize,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Inbox {
        Inbox { bytes: vec![0; INBOX_BYTES], filled: 0 }
    }

    /// Forgets what was received in the turn before.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Room for one read; None when this turn has received enough.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.bytes.get_mut(self.filled..self.filled + ROOM_BYTES)
    }

    /// Keeps the first `size` bytes of the room that was given last.
    pub fn keep(&mut self, size: usize) -> Span {
        let size = size.min(ROOM_BYTES);
        let span = Span { buffer: 0, offset: self.filled as u32, size: size as u32 };
        self.filled += size;
        span
    }

    /// The bytes of `span`; none for a span that this buffer never gave.
    pub fn bytes(&self, span: Span) -> &[u8] {
        let first = span.offset as usize;
        self.bytes.get(first..first + span.size as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_one_another_until_the_turn_is_full() {
        let mut inbox = Inbox::new();
        inbox.room().unwrap()[..3].copy_from_slice(b"abc");
        let first = inbox.keep(3);
        inbox.room().unwrap()[..2].copy_from_slice(b"de");
        let second = inbox.keep(2);
        assert_eq!((inbox.bytes(first), inbox.bytes(second)), (&b"abc"[..], &b"de"[..]));
        while inbox.room().is_some() {
            inbox.keep(ROOM_BYTES);
        }
        assert!(inbox.filled + ROOM_BYTES > INBOX_BYTES);
        inbox.clear();
        assert!(inbox.room().is_some());
    }
}
