//! One WebSocket: its frames to the parser's bytes, and the head in front of the bytes of each send.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use proto::io::{Piece, Pieces};
use proto::rtsp::parse::Parser;
use proto::tunnel::websocket::frame::{CloseCode, put_binary_head, put_close, put_pong};
use proto::tunnel::websocket::reader::{Control, Reader};

use crate::egress::heads::Heads;

/// Answers to pings that may wait: of more than fit here the rest stays unanswered (RFC 6455 section 5.5.3 asks for the
/// latest alone).
const OWN_BYTES_MAX: usize = 1_024;

/// The state of one WebSocket.
#[derive(Debug)]
pub struct Frames {
    reader: Reader,
    /// Whole frames, and the answer to the handshake before them, that leave with the next send.
    own: BytesMut,
    /// Why it ends; None while nobody has said so.
    end: Option<CloseCode>,
    /// Whether the last frame is written or has left.
    has_left: bool,
}

impl Frames {
    /// A WebSocket whose handshake is answered so.
    pub(super) fn new(answer: Bytes) -> Frames {
        Frames { reader: Reader::default(), own: BytesMut::from(answer), end: None, has_left: false }
    }

    /// Passes what frames carry to the parser. False when the client has said its last or has broken the protocol.
    pub(super) fn take_in(&mut self, mut bytes: &[u8], parser: &mut Parser, peer: SocketAddr) -> bool {
        if self.end.is_some() {
            return false;
        }
        loop {
            let read = parser.handle_with(|buffer| self.reader.read(&mut bytes, buffer));
            match read {
                None | Some(Ok(None)) => return true,
                Some(Ok(Some(Control::Ping(payload)))) => {
                    if self.own.len() <= OWN_BYTES_MAX {
                        put_pong(&mut self.own, &payload);
                    }
                }
                Some(Ok(Some(Control::Close))) => {
                    self.end = Some(CloseCode::Normal);
                    return false;
                }
                Some(Err(violation)) => {
                    tracing::debug!(%peer, %violation, "not a WebSocket of RTSP");
                    self.end = Some(violation.code());
                    return false;
                }
            }
        }
    }

    /// Makes one message of the pieces of a send: a head before them, and no byte of theirs is touched.
    pub(super) fn wrap(&mut self, pieces: &mut Pieces, heads: &mut Heads) {
        let size: usize = pieces.iter().map(Piece::size).sum();
        if size == 0 && self.own.is_empty() {
            return;
        }
        let head = heads.own(|slab| {
            slab.put_slice(&self.own);
            if size > 0 {
                put_binary_head(slab, size);
            }
        });
        // An idle connection holds no buffer.
        self.own = BytesMut::new();
        pieces.insert(0, Piece::Shared(head));
    }

    /// Whether frames of its own wait to leave.
    pub(super) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Writes the frame that ends it; false when that was done before.
    pub(super) fn take_leave(&mut self) -> bool {
        if std::mem::replace(&mut self.has_left, true) {
            return false;
        }
        put_close(&mut self.own, self.end.unwrap_or(CloseCode::GoingAway));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_stands_before_the_shared_bytes_of_a_send() {
        let mut frames = Frames::new(Bytes::from_static(b"HTTP/1.1 101\r\n\r\n"));
        let media = Bytes::from(vec![7; 300]);
        let (mut heads, mut pieces) = (Heads::default(), Pieces::new());
        pieces.push(Piece::Shared(media.clone()));
        frames.wrap(&mut pieces, &mut heads);
        let [Piece::Shared(first), Piece::Shared(second)] = &pieces[..] else { panic!("{pieces:?}") };
        assert_eq!(&first[..], b"HTTP/1.1 101\r\n\r\n\x82\x7e\x01\x2c");
        assert_eq!(second.as_ptr(), media.as_ptr());
        let mut pieces = Pieces::new();
        frames.wrap(&mut pieces, &mut heads);
        assert!(pieces.is_empty());
        assert!(frames.take_leave() && !frames.take_leave());
        frames.wrap(&mut pieces, &mut heads);
        assert!(matches!(&pieces[0], Piece::Shared(bytes) if bytes[..] == [0x88, 2, 3, 0xe9]));
    }
}
