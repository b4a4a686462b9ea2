//! Message headers, gather lists, names and control messages of entries that wait for the kernel, which copies
//! them when the entries are handed over. All places are made once and never move.

use std::mem;
use std::net::SocketAddr;

use libc::{c_int, cmsghdr, iovec, msghdr, sockaddr, socklen_t};
use proto::io::Piece;

use super::socket::Name;

/// Longest gather list the kernel takes (UIO_MAXIOV).
pub(super) const GATHER_LIST_MAX: usize = 1024;

/// Gather lists in all that may wait at once.
const GATHER_ENTRIES_MAX: usize = 8 * GATHER_LIST_MAX;

/// Gather lists with their message headers.
pub(super) struct GatherLists {
    headers: Box<[msghdr]>,
    headers_used: usize,
    entries: Box<[iovec]>,
    entries_used: usize,
}

// SAFETY: the pointers are data for the kernel; nothing here follows them.
unsafe impl Send for GatherLists {}

impl GatherLists {
    pub(super) fn new(messages: usize) -> GatherLists {
        let empty = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        GatherLists {
            headers: vec![empty_header(); messages].into(),
            headers_used: 0,
            entries: vec![empty; GATHER_ENTRIES_MAX].into(),
            entries_used: 0,
        }
    }

    /// Forgets all lists. The entries that point here are with the kernel.
    pub(super) fn clear(&mut self) {
        self.headers_used = 0;
        self.entries_used = 0;
    }

    /// A header for the bytes of `pieces` after the first `skip`, as far as one list reaches. None when there is no
    /// room before the next `clear`.
    pub(super) fn message(&mut self, pieces: &[Piece], skip: usize) -> Option<*const msghdr> {
        let (list, count) = self.list(pieces, skip)?;
        let header = self.headers.get_mut(self.headers_used)?;
        self.headers_used += 1;
        header.msg_iov = list.cast_mut();
        header.msg_iovlen = count as _;
        Some(header)
    }

    /// The gather list alone.
    pub(super) fn list(&mut self, pieces: &[Piece], mut skip: usize) -> Option<(*const iovec, usize)> {
        let free = &mut self.entries[self.entries_used..];
        if free.len() < GATHER_LIST_MAX {
            return None;
        }
        let list = free.as_ptr();
        let mut count = 0;
        for slice in pieces.iter().flat_map(Piece::slices) {
            if skip >= slice.len() {
                skip -= slice.len();
                continue;
            }
            if count == GATHER_LIST_MAX {
                break;
            }
            let rest = &slice[skip..];
            skip = 0;
            free[count] = iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
            count += 1;
        }
        self.entries_used += count;
        Some((list, count))
    }
}

/// Everything that the messages of one batch of datagrams need.
pub(super) struct Messages {
    lists: GatherLists,
    headers: Box<[msghdr]>,
    names: Box<[Name]>,
    controls: Box<[SegmentControl]>,
    used: usize,
    /// What the message before pointed to, for messages that carry the same.
    last: Last,
}

// SAFETY: as for the gather lists.
unsafe impl Send for Messages {}

#[derive(Clone, Copy)]
struct Last {
    bytes: *const u8,
    size: usize,
    list: *const iovec,
    segment: u16,
    control: *const SegmentControl,
}

impl Last {
    const NONE: Last = Last {
        bytes: std::ptr::null(),
        size: 0,
        list: std::ptr::null(),
        segment: 0,
        control: std::ptr::null(),
    };
}

/// The control message that has a train cut (UDP_SEGMENT), as `CMSG_SPACE` lays it out.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

impl Messages {
    pub(super) fn new(messages: usize) -> Messages {
        let header = cmsghdr {
            // CMSG_LEN: header and data without padding.
            cmsg_len: (size_of::<cmsghdr>() + size_of::<u16>()) as _,
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        };
        let control = SegmentControl { header, segment: 0, padding: [0; 6] };
        Messages {
            lists: GatherLists::new(0),
            headers: vec![empty_header(); messages].into(),
            names: vec![Name::default(); messages].into(),
            controls: vec![control; messages].into(),
            used: 0,
            last: Last::NONE,
        }
    }

    /// Forgets all messages. The entries that point here are with the kernel.
    pub(super) fn clear(&mut self) {
        self.lists.clear();
        self.used = 0;
        self.last = Last::NONE;
    }

    /// A header for one datagram, or for a train of datagrams of `segment` bytes where given; 0 overrides what the socket
    /// is set to. None when there is no room before the next `clear`. Messages in a row that carry the same bytes share list and control message.
    pub(super) fn message(
        &mut self,
        to: SocketAddr,
        piece: &Piece,
        segment: Option<u16>,
    ) -> Option<*const msghdr> {
        if self.used == self.headers.len() {
            return None;
        }
        let (list, count) = self.list(piece)?;
        let control = self.control(segment);
        let header = &mut self.headers[self.used];
        let name = &mut self.names[self.used];
        self.used += 1;
        header.msg_namelen = name.set(to);
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_iov = list.cast_mut();
        header.msg_iovlen = count as _;
        header.msg_control = control.cast_mut().cast();
        header.msg_controllen = if segment.is_some() { size_of::<SegmentControl>() as _ } else { 0 };
        Some(header)
    }

    /// An address alone, with its size. None when there is no room before the next `clear`.
    pub(super) fn name(&mut self, to: SocketAddr) -> Option<(*const sockaddr, socklen_t)> {
        let name = self.names.get_mut(self.used)?;
        self.used += 1;
        let size = name.set(to);
        Some((name.as_ptr().cast(), size))
    }

    fn list(&mut self, piece: &Piece) -> Option<(*const iovec, usize)> {
        let Piece::Shared(bytes) = piece else {
            self.last = Last { segment: self.last.segment, control: self.last.control, ..Last::NONE };
            return self.lists.list(std::slice::from_ref(piece), 0);
        };
        let is_same = bytes.as_ptr() == self.last.bytes && bytes.len() == self.last.size;
        if !is_same {
            let (list, _) = self.lists.list(std::slice::from_ref(piece), 0)?;
            self.last.bytes = bytes.as_ptr();
            self.last.size = bytes.len();
            self.last.list = list;
        }
        Some((self.last.list, usize::from(!bytes.is_empty())))
    }

    fn control(&mut self, segment: Option<u16>) -> *const SegmentControl {
        let Some(segment) = segment else { return std::ptr::null() };
        if segment != self.last.segment || self.last.control.is_null() {
            let control = &mut self.controls[self.used];
            control.segment = segment;
            self.last.segment = segment;
            self.last.control = control;
        }
        self.last.control
    }
}

const _: () = assert!(size_of::<SegmentControl>() == size_of::<cmsghdr>() + 8);
const _: () = assert!(align_of::<SegmentControl>() >= align_of::<cmsghdr>());

fn empty_header() -> msghdr {
    // SAFETY: the header is plain integers and pointers, for which zero is a value.
    unsafe { mem::zeroed() }
}

/// A header that tells a multishot receive how much room name and control messages have.
pub(super) fn receive_header(control_bytes: usize) -> msghdr {
    let mut header = empty_header();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as _;
    header.msg_controllen = control_bytes as _;
    header
}

/// Room for the size of merged datagrams (UDP_GRO), as `CMSG_SPACE` has it.
pub(super) const MERGED_CONTROL_BYTES: usize = size_of::<cmsghdr>() + 8;

/// The size of merged datagrams among received control messages; None when nothing was merged.
pub(super) fn merged_size(mut control: &[u8]) -> Option<u16> {
    const HEADER: usize = size_of::<cmsghdr>();
    loop {
        let size = usize::from_ne_bytes(control.first_chunk().copied()?);
        let level = c_int::from_ne_bytes(control.get(size_of::<usize>()..)?.first_chunk().copied()?);
        let kind = c_int::from_ne_bytes(control.get(size_of::<usize>() + 4..)?.first_chunk().copied()?);
        if level == libc::SOL_UDP && kind == libc::UDP_GRO {
            let merged = c_int::from_ne_bytes(control.get(HEADER..)?.first_chunk().copied()?);
            return u16::try_from(merged).ok();
        }
        let aligned = size.max(HEADER).checked_next_multiple_of(size_of::<usize>())?;
        control = control.get(aligned..)?;
    }
}
