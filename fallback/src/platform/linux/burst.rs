//! Many datagrams by one system call, split into packets by the kernel: a quarter cheaper than a call for each train.

use std::array;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use proto::io::Piece;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use smallvec::SmallVec;
use tokio::net::UdpSocket;

/// Datagrams or trains of one call. More gains nothing, and the call gives way to nobody.
pub const BURST_MAX: usize = 64;

/// Pieces of most calls.
const FEW: usize = 8;

/// Byte runs of one call: spliced pieces have two a packet, and at most 64 packets.
const RUNS_MAX: usize = 256;

/// Sets the size of the packets that larger sends are split into; 0 sends all as they are.
pub fn set_segment(socket: &UdpSocket, segment: u16) -> io::Result<()> {
    Ok(setsockopt(socket, UdpGsoSegment, &i32::from(segment))?)
}

/// Sends at most [`BURST_MAX`] pieces. The count of those that left; an error concerns the first, and tells nothing
/// of the others.
pub fn send_burst(socket: &UdpSocket, entries: &[(SocketAddr, &Piece)]) -> io::Result<usize> {
    // Most turns have few, and room for many costs as much as a packet does.
    if entries.len() <= FEW { send::<FEW>(socket, entries) } else { send::<BURST_MAX>(socket, entries) }
}

/// Sends at most `N` pieces.
fn send<const N: usize>(socket: &UdpSocket, entries: &[(SocketAddr, &Piece)]) -> io::Result<usize> {
    let mut runs = SmallVec::<[IoSlice<'_>; RUNS_MAX]>::new();
    let mut ends = SmallVec::<[usize; N]>::new();
    for (_, piece) in entries.iter().take(N) {
        // Those that do not fit any more leave by the next call; a single one always fits.
        let room = if ends.is_empty() { usize::MAX } else { RUNS_MAX - runs.len() };
        let before = runs.len();
        runs.extend(piece.slices().take(room).map(IoSlice::new));
        if runs.len() == before + room {
            runs.truncate(before);
            break;
        }
        ends.push(runs.len());
    }
    let mut addresses = SmallVec::<[SocketAddrAny; N]>::new();
    addresses.extend(entries.iter().take(ends.len()).map(|(to, _)| to.as_any()));
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; N] = array::from_fn(|_| Default::default());
    let mut messages = SmallVec::<[MMsgHdr<'_>; N]>::new();
    let mut first = 0;
    for ((end, address), control) in ends.iter().zip(&addresses).zip(&mut controls) {
        messages.push(MMsgHdr::new_with_addr(address, &runs[first..*end], control));
        first = *end;
    }
    Ok(sendmmsg(socket, &mut messages, SendFlags::DONTWAIT)?)
}
