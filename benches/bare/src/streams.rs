//! One send to every viewer's connection through a ring.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

use crate::ring;

/// Sends of one io_uring_enter, where more are a little cheaper than 64.
const SENDS_A_CALL: usize = 256;

/// A send a viewer through a ring.
pub struct RingStreams {
    ring: IoUring,
}

impl RingStreams {
    /// A ring of its own.
    pub fn new() -> io::Result<RingStreams> {
        Ok(RingStreams { ring: ring::new()? })
    }

    /// Sends `bytes` to every one of `streams`, which takes until the slowest has taken them. Calls `each` with the
    /// index of every stream and how many bytes it took, or its negative error.
    pub fn send(
        &mut self,
        streams: &[impl AsFd],
        bytes: &[u8],
        mut each: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        self.send_with(streams, bytes, libc::MSG_WAITALL, &mut each)
    }

    /// The same without waiting for those whose buffer is full: they take a part, or fail with `EAGAIN`.
    pub fn offer(
        &mut self,
        streams: &[impl AsFd],
        bytes: &[u8],
        mut each: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        self.send_with(streams, bytes, libc::MSG_DONTWAIT, &mut each)
    }

    fn send_with(
        &mut self,
        streams: &[impl AsFd],
        bytes: &[u8],
        flags: i32,
        each: &mut impl FnMut(usize, i32),
    ) -> io::Result<()> {
        for (chunk, streams) in streams.chunks(SENDS_A_CALL).enumerate() {
            for (index, stream) in streams.iter().enumerate() {
                let entry =
                    opcode::Send::new(Fd(stream.as_fd().as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
                let entry = entry.flags(flags | libc::MSG_NOSIGNAL).build();
                let entry = entry.user_data((chunk * SENDS_A_CALL + index) as u64);
                // SAFETY: the bytes stay until the completions below.
                unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
            }
            ring::settle(&mut self.ring, streams.len(), |index, result| each(index as usize, result))?;
        }
        Ok(())
    }
}
