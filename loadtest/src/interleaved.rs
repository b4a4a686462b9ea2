//! Finds the packets on an interleaved connection without keeping them: heads are read, payloads are counted.

use crate::stamp::SEARCHED_BYTES;

/// What one `$` frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Channel of the frame.
    pub channel: u8,
    /// Bytes of the packet.
    pub size: u16,
    /// The packet's first bytes, all of them where there are few.
    pub head: &'a [u8],
}

/// How much of a packet is shown: RTP's header and what may hold a stamp.
const HEAD_BYTES: usize = 12 + SEARCHED_BYTES;

/// Channel and size before a packet.
const PREFIX_BYTES: usize = 4;

/// Walks through a stream of `$` frames and RTSP messages in pieces of any size.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    gathered: [u8; PREFIX_BYTES + HEAD_BYTES],
    have: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Gathering the frame's four bytes and the packet's head.
    Head,
    /// Within a payload, with that many bytes to come.
    Payload(usize),
    /// Within a message; so many bytes of its empty line were seen.
    Message(usize),
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter { state: State::Head, gathered: [0; PREFIX_BYTES + HEAD_BYTES], have: 0 }
    }
}

impl Splitter {
    /// Reads the next bytes of the connection and calls `each` with every frame whose head is complete.
    pub fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Payload(left) => self.skip_payload(left, bytes),
                State::Message(matched) => self.skip_message(matched, bytes),
                State::Head => self.gather(bytes, &mut each),
            };
            bytes = &bytes[used..];
        }
    }

    fn skip_payload(&mut self, left: usize, bytes: &[u8]) -> usize {
        let used = left.min(bytes.len());
        self.state = if used == left { State::Head } else { State::Payload(left - used) };
        used
    }

    /// Answers to keep-alives have no body, so a message ends at its empty line.
    fn skip_message(&mut self, mut matched: usize, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            matched = match (matched, byte) {
                (0 | 2, b'\r') => matched + 1,
                (1, b'\n') => 2,
                (3, b'\n') => {
                    self.state = State::Head;
                    return at + 1;
                }
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        self.state = State::Message(matched);
        bytes.len()
    }

    fn gather(&mut self, bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) -> usize {
        if self.have == 0 && bytes[0] != b'$' {
            self.state = State::Message(0);
            return 0;
        }
        // The usual case: prefix and head lie in one piece, and nothing is copied.
        if let (0, [_, channel, high, low, rest @ ..]) = (self.have, bytes) {
            let size = u16::from_be_bytes([*high, *low]);
            if let Some(head) = rest.get(..HEAD_BYTES.min(usize::from(size))) {
                each(Frame { channel: *channel, size, head });
                self.end_head(usize::from(size) - head.len());
                return PREFIX_BYTES + head.len();
            }
        }
        let wanted = if self.have < PREFIX_BYTES { PREFIX_BYTES } else { self.head_end() };
        let used = (wanted - self.have).min(bytes.len());
        self.gathered[self.have..self.have + used].copy_from_slice(&bytes[..used]);
        self.have += used;
        if self.have >= PREFIX_BYTES && self.have == self.head_end() {
            let head = &self.gathered[PREFIX_BYTES..self.have];
            each(Frame { channel: self.gathered[1], size: self.size() as u16, head });
            self.end_head(self.size() - (self.have - PREFIX_BYTES));
        }
        used
    }

    fn end_head(&mut self, left: usize) {
        self.state = if left == 0 { State::Head } else { State::Payload(left) };
        self.have = 0;
    }

    fn head_end(&self) -> usize {
        PREFIX_BYTES + self.size().min(HEAD_BYTES)
    }

    fn size(&self) -> usize {
        usize::from(u16::from_be_bytes([self.gathered[2], self.gathered[3]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = b"RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n".to_vec();
        for (channel, size) in [(0, 1_000_u16), (1, 4), (2, 0), (0, 13)] {
            bytes.extend([b'$', channel]);
            bytes.extend(size.to_be_bytes());
            bytes.extend((0..size).map(|at| at as u8));
        }
        bytes.extend(b"RTSP/1.0 200 OK\r\n\r\n$\x03\0\x01x");
        bytes
    }

    #[test]
    fn frames_are_found_however_the_bytes_come() {
        let bytes = stream();
        for step in 1..bytes.len() {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                splitter.read(piece, |frame| found.push((frame.channel, frame.size, frame.head.len())));
            }
            assert_eq!(
                found,
                [(0, 1_000, HEAD_BYTES), (1, 4, 4), (2, 0, 0), (0, 13, 13), (3, 1, 1)],
                "in steps of {step}"
            );
        }
    }
}
