//! What RTSP travels in between a client and the server: nothing, an HTTP tunnel, or WebSocket. An implementation
//! independent of the server's.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};

use crate::connection::DialogueError;
use crate::line::Line;
use crate::plan::Transport;
use crate::sockets::Ending;

/// The door of one connection.
pub enum Door {
    /// RTSP as it is.
    Plain,
    /// What is said goes by this other connection, in base64.
    Http(Box<Line>),
    /// Frames both ways.
    WebSocket(Unframer),
}

impl Door {
    /// Opens the door of that transport on a fresh connection; also what came behind the answer.
    pub async fn open(
        transport: Transport,
        server: SocketAddr,
        line: &mut Line,
    ) -> Result<(Door, Vec<u8>), DialogueError> {
        match transport {
            Transport::Udp | Transport::Tcp | Transport::Rtsps | Transport::Multicast | Transport::Mixed => {
                Ok((Door::Plain, Vec::new()))
            }
            Transport::Http | Transport::Https => {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
                let name =
                    format!("HTTP/1.1\r\nHost: {server}\r\nx-sessioncookie: {process:08x}{number:08x}\r\n");
                let get = format!("GET / {name}Accept: application/x-rtsp-tunnelled\r\n\r\n");
                line.send(get.into()).await?;
                let behind = answer(line, "HTTP/1.1 200").await?;
                let mut into = Line::open(server, transport.security(), 0, Ending::Orderly).await?;
                let post = format!(
                    "POST / {name}Content-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n\r\n"
                );
                into.send(post.into()).await?;
                Ok((Door::Http(Box::new(into)), behind))
            }
            Transport::Ws | Transport::Wss => {
                let get = format!(
                    "GET /websocket HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: bG9hZCBvZiBicm93c2Vycw==\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Protocol: rtsp.onvif.org\r\n\r\n"
                );
                line.send(get.into()).await?;
                let behind = answer(line, "HTTP/1.1 101").await?;
                Ok((Door::WebSocket(Unframer::default()), behind))
            }
        }
    }

    /// Sends bytes of RTSP, all of them.
    pub async fn send(&mut self, line: &mut Line, bytes: Bytes) -> io::Result<()> {
        match self {
            Door::Plain => line.send(bytes).await,
            Door::Http(into) => into.send(STANDARD.encode(&bytes).into()).await,
            Door::WebSocket(_) => line.send(framed(&bytes).freeze()).await,
        }
    }

    /// Hands on what of received bytes is RTSP.
    pub fn read(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        match self {
            Door::Plain | Door::Http(_) => take(bytes),
            Door::WebSocket(frames) => frames.read(bytes, take),
        }
    }
}

/// Reads the head of an answer that begins so; what came behind it.
async fn answer(line: &mut Line, begin: &str) -> Result<Vec<u8>, DialogueError> {
    let mut have = Vec::new();
    loop {
        if let Some(end) = have.windows(4).position(|window| window == b"\r\n\r\n") {
            let behind = have.split_off(end + 4);
            let is_open = have.starts_with(begin.as_bytes());
            return if is_open { Ok(behind) } else { Err(DialogueError::Incomplete("the door is closed")) };
        }
        let is_open = line.receive(|bytes| have.extend_from_slice(bytes)).await?;
        if !is_open || have.len() > HEAD_BYTES {
            return Err(DialogueError::Incomplete("the door has no answer"));
        }
    }
}

/// A message of a client, whose mask changes nothing.
fn framed(bytes: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(bytes.len() + 14);
    frame.put_u8(0x82);
    match bytes.len() {
        0..126 => frame.put_u8(0x80 | bytes.len() as u8),
        126..65_536 => {
            frame.put_u8(0x80 | 126);
            frame.put_u16(bytes.len() as u16);
        }
        _ => {
            frame.put_u8(0x80 | 127);
            frame.put_u64(bytes.len() as u64);
        }
    }
    frame.put_u32(0);
    frame.put_slice(bytes);
    frame
}

/// Takes the heads off a server's frames (RFC 6455 section 5.2), which are not masked.
#[derive(Debug, Default)]
pub struct Unframer {
    head: [u8; 10],
    have: usize,
    left: u64,
}

impl Unframer {
    /// Hands on the payload of binary frames; what control frames hold is passed over.
    pub fn read(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (payload, behind) = bytes.split_at((self.left as usize).min(bytes.len()));
                self.left -= payload.len() as u64;
                bytes = behind;
                if self.head[0] & 0x0f < 8 {
                    take(payload);
                }
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            let wanted = match (self.have, self.head[1]) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => 10,
                _ => 2,
            };
            if self.have == wanted {
                let size = if wanted == 2 { &self.head[1..2] } else { &self.head[2..wanted] };
                self.left = size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
                self.have = 0;
            }
        }
    }
}

/// An answer fits.
const HEAD_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_out_of_frames_however_the_bytes_come() {
        let mut bytes = b"\x82\x03abc\x8a\x02xx\x82\x00\x82\x7e\x01\x00".to_vec();
        bytes.extend([b'd'; 256]);
        bytes.extend(b"\x82\x7f\0\0\0\0\0\0\0\x01e");
        let expected = [&b"abc"[..], &[b'd'; 256], b"e"].concat();
        for step in 1..bytes.len() {
            let (mut frames, mut out) = (Unframer::default(), Vec::new());
            for piece in bytes.chunks(step) {
                frames.read(piece, |payload| out.extend_from_slice(payload));
            }
            assert_eq!(out, expected, "in steps of {step}");
        }
    }
}
