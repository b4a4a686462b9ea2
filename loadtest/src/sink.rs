//! Reads that are cheap enough not to be what is measured.
//!
//! A read of the ring owns its buffer while it waits, one for each viewer, cold by the time that it is filled; and this
//! ring has no way to leave a payload behind (`MSG_TRUNC`) or to learn how merged datagrams are cut (`UDP_GRO`). So
//! the runtime only says that something is there, and all sockets of a thread are read into one buffer that stays in
//! the cache.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What came in one read of a datagram socket: one datagram, or several that the kernel merged.
#[derive(Clone, Copy, Debug)]
pub struct Merged<'a> {
    /// The first bytes, or all of them.
    pub bytes: &'a [u8],
    /// Bytes in all.
    pub size: usize,
    /// Bytes of every packet but the last.
    pub segment: usize,
}

/// How much of what comes is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Depth {
    /// The head of merged datagrams, once the viewer has its first keyframe; sizes tell the rest.
    Heads,
    /// Everything.
    Whole,
}

/// A datagram socket that is watched and emptied.
pub struct Datagrams {
    socket: UdpSocket,
}

impl Datagrams {
    /// Watches a socket in this thread's runtime.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Datagrams> {
        socket.set_nonblocking(true)?;
        Ok(Datagrams { socket: UdpSocket::from_std(socket)? })
    }

    /// Waits for datagrams and hands on all that are there; `depth` says before each read how much of it is wanted.
    pub async fn receive(
        &self,
        depth: impl Fn() -> Depth,
        mut take: impl FnMut(Merged<'_>),
    ) -> io::Result<()> {
        self.socket.readable().await?;
        loop {
            let result = self.socket.try_io(Interest::READABLE, || {
                SCRATCH.with_borrow_mut(|scratch| {
                    let room = match depth() {
                        Depth::Heads => &mut scratch[..HEAD_BYTES],
                        Depth::Whole => &mut scratch[..],
                    };
                    Ok(receive_merged(self.socket.as_raw_fd(), room).map(&mut take)?)
                })
            });
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Throws away all that is there.
    pub fn discard(&self) {
        discard(self.socket.as_raw_fd());
    }
}

/// Hands on what a connection has received, at most `most` bytes of it; nothing where there is nothing.
pub fn receive(
    connection: &impl AsRawFd,
    most: usize,
    take: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        let room = most.min(scratch.len());
        match recv(connection.as_raw_fd(), &mut scratch[..room], MsgFlags::MSG_DONTWAIT) {
            Ok(size) => take(&scratch[..size]),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// Throws away all that a socket has received.
pub fn discard(socket: RawFd) {
    // TCP copies nothing with this flag.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let more = || SCRATCH.with_borrow_mut(|scratch| recv(socket, scratch, flags));
    while more().is_ok_and(|size| size > 0) {}
}

fn receive_merged(fd: RawFd, room: &mut [u8]) -> Result<Merged<'_>, Errno> {
    let mut control = cmsg_space!(i32);
    let (size, segment) = {
        let mut list = [IoSliceMut::new(room)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let message = recvmsg::<()>(fd, &mut list, Some(&mut control), flags)?;
        let segment = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::UdpGroSegments(segment) => usize::try_from(segment).ok(),
                _ => None,
            })
        });
        (message.bytes, segment.unwrap_or(message.bytes))
    };
    let seen = size.min(room.len());
    Ok(Merged { bytes: &room[..seen], size, segment: segment.max(1) })
}

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// More than a large keyframe, and less than a cache.
const SCRATCH_BYTES: usize = 256 * 1024;

/// What is read of merged datagrams when their heads suffice: RTP's and the stamp.
const HEAD_BYTES: usize = 12 + crate::stamp::SEARCHED_BYTES;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn merged_datagrams_are_seen_with_their_size_and_their_cut() {
        let receiver = crate::sockets::ports(([127, 0, 0, 1], 0).into(), 1 << 20).unwrap();
        let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let mut loops =
            bare::Datagrams::new(sender, &[([127, 0, 0, 1], receiver.number).into()], bare::Call::Many)
                .unwrap();
        loops.send(&[7; 3_000], 1_400).unwrap();
        loops.send(&[8; 90], 1_400).unwrap();
        let mut room = [0; HEAD_BYTES];
        let merged = receive_merged(receiver.rtp.as_raw_fd(), &mut room).unwrap();
        assert_eq!((merged.bytes, merged.size, merged.segment), (&[7; HEAD_BYTES][..], 3_000, 1_400));
        let mut room = [0; HEAD_BYTES];
        let single = receive_merged(receiver.rtp.as_raw_fd(), &mut room).unwrap();
        assert_eq!((single.bytes, single.size, single.segment), (&[8; 90][..], 90, 90));
        assert_eq!(receive_merged(receiver.rtp.as_raw_fd(), &mut room).unwrap_err(), Errno::EAGAIN);
    }
}
