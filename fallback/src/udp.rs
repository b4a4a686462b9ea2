//! A UDP socket: trains that leave in order, and what waits while it is full.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use proto::io::{DriverStats, Piece, Span, UdpOptions};
use proto::time::Time;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use smallvec::SmallVec;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::inbox::Inbox;
use crate::membership::Joining;
use crate::platform;

/// Trains in a row that the kernel took only as single packets before segmentation offload is given up.
const OFFLOAD_REFUSALS_MAX: u8 = 3;

/// Entries of one system call on any system, for a list without an allocation.
const ENTRIES_MAX: usize = 64;

/// Entries that wait for one full socket; the oldest are shed above it. At 1,000 viewers two seconds of video.
const QUEUE_MAX: usize = 65_536;

/// Errors, and datagrams of senders that are not wanted, that one look at a socket passes over in a row: the errors are
/// ICMP answers to what we sent.
const RECEIVE_ERRORS_MAX: usize = 64;

/// A UDP socket with what waits for it.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    /// What knows how to send trains. None where the system refuses an option that this wants: an emulation of Windows
    /// lacks some.
    state: Option<UdpSocketState>,
    patience: Duration,
    /// The only sender that is heard, where a group is received from one.
    source: Option<IpAddr>,
    queue: VecDeque<Waiting>,
    /// Whether to close once the queue has left.
    pub closing: bool,
    /// Whether the kernel splits trains.
    offload: bool,
    refusals: u8,
    /// Entries of one system call; 0 where each needs its own.
    burst_max: usize,
    /// The size of segment that the socket is set to; 0 for none.
    segment: u16,
}

/// A datagram or a train on its way.
#[derive(Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub piece: Piece,
    /// Bytes of each datagram.
    pub segment: u16,
}

impl Outgoing {
    /// Count of datagrams.
    fn packets(&self) -> u64 {
        packets(self.piece.size(), usize::from(self.segment))
    }
}

/// What the entries of one burst have in common.
#[derive(Debug, Default)]
struct Sizes {
    /// Segment of its trains.
    segment: Option<u16>,
    /// Bytes of its largest single datagram. The kernel takes one for a train if it is larger than the segment.
    single_bytes_max: usize,
}

impl Sizes {
    /// Adds an entry if it fits the others.
    fn take(&mut self, out: &Outgoing) -> bool {
        let size = out.piece.size();
        let segment = if out.packets() > 1 { Some(out.segment) } else { None };
        let single_bytes_max =
            if segment.is_none() { self.single_bytes_max.max(size) } else { self.single_bytes_max };
        let fits = match (self.segment, segment) {
            (Some(known), Some(new)) => known == new,
            (known, new) => known.or(new).is_none_or(|segment| single_bytes_max <= usize::from(segment)),
        };
        if fits {
            *self = Sizes { segment: self.segment.or(segment), single_bytes_max };
        }
        fits
    }
}

/// An entry of the queue.
#[derive(Debug)]
struct Waiting {
    out: Outgoing,
    /// Bytes that have left, where the train goes as single packets.
    sent: usize,
    since: Time,
}

/// What a read brought.
#[derive(Debug)]
pub enum Input {
    /// One datagram, or several of `segment` bytes with a shorter last one.
    Datagram {
        /// From whom.
        from: SocketAddr,
        /// Where it lies.
        span: Span,
        /// Size of each but the last.
        segment: u16,
    },
    /// Nothing; the waker will tell when there is more.
    Waiting,
    /// Nothing, for the inbox of this turn is full.
    Full,
}

impl Datagrams {
    /// Binds `address`, and joins the group that it is. Needs the runtime's context.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<(Datagrams, SocketAddr)> {
        let joining = options.membership.as_ref().map(|wanted| Joining::new(address, wanted)).transpose()?;
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        let ttl = u32::from(options.multicast_ttl);
        match address.ip() {
            IpAddr::V4(ip) => {
                socket.set_multicast_ttl_v4(ttl)?;
                // By the interface that has the address; one that none has fails at bind, with a better error.
                let _ = socket.set_multicast_if_v4(&ip);
            }
            IpAddr::V6(ip) => {
                socket.set_only_v6(true)?;
                socket.set_multicast_hops_v6(ttl)?;
                // A group's own socket leaves it to its membership.
                if !ip.is_multicast()
                    && let Ok(interface) = platform::interface_index(ip)
                {
                    let _ = socket.set_multicast_if_v6(interface);
                }
            }
        }
        // Several may receive one group. Elsewhere two would take each other's datagrams, also by chance: the kernel
        // gives shared sockets that ask for any port one that another has.
        if address.ip().is_multicast() {
            socket.set_reuse_address(true)?;
        }
        platform::set_udp_buffers(&socket);
        // Also forbids fragmentation and lets the kernel merge what comes.
        let state = UdpSocketState::new(UdpSockRef::from(&socket));
        if let Err(error) = &state {
            tracing::debug!(%error, "datagrams are sent and received one by one");
            socket.set_nonblocking(true)?;
        }
        let state = state.ok();
        match &joining {
            Some(joining) => {
                socket.bind(&platform::group_address(joining.group()).into())?;
                joining.join(&socket)?;
            }
            None => socket.bind(&address.into())?,
        }
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        let offload = state.as_ref().is_some_and(|state| state.max_gso_segments() > 1);
        let datagrams = Datagrams {
            socket,
            state,
            patience: options.patience,
            source: options.membership.and_then(|membership| membership.source),
            queue: VecDeque::new(),
            closing: false,
            offload,
            refusals: 0,
            burst_max: platform::BURST_MAX,
            segment: 0,
        };
        Ok((datagrams, local))
    }

    /// Queues what [`Datagrams::poll_flush`] sends. Whether that is to be called.
    pub fn push(&mut self, out: Outgoing, now: Time, stats: &mut DriverStats) -> bool {
        let first = self.queue.is_empty();
        if self.queue.len() >= QUEUE_MAX {
            self.shed_front(stats);
        }
        self.queue.push_back(Waiting { out, sent: 0, since: now });
        first
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, scratch: &mut Vec<u8>, stats: &mut DriverStats) {
        while !self.queue.is_empty() {
            if self.send_front(scratch, stats) {
                continue;
            }
            self.note_not_ready(Interest::WRITABLE);
            if self.socket.poll_send_ready(cx).is_pending() {
                return;
            }
        }
    }

    /// Sheds what has waited longer than its patience.
    pub fn shed(&mut self, now: Time, stats: &mut DriverStats) {
        while self.shed_at().is_some_and(|at| at <= now) {
            self.shed_front(stats);
        }
    }

    /// When the entry at the front is to be shed; None while nothing waits.
    pub fn shed_at(&self) -> Option<Time> {
        self.queue.front().map(|entry| entry.since + self.patience)
    }

    /// Whether the socket was to be closed and has nothing left to send.
    pub fn is_over(&self) -> bool {
        self.closing && self.queue.is_empty()
    }

    /// Receives once.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox) -> Input {
        for _ in 0..RECEIVE_ERRORS_MAX {
            match self.socket.poll_recv_ready(cx) {
                Poll::Pending => return Input::Waiting,
                Poll::Ready(_) => {}
            }
            let Some(room) = inbox.room() else { return Input::Full };
            // An error here is a peer's answer to what we sent, as WSAECONNRESET is: the next call goes on.
            if let Ok((from, size, stride)) = self.receive(room) {
                if self.source.is_some_and(|source| source != from.ip()) {
                    continue;
                }
                let segment = u16::try_from(stride.min(size)).unwrap_or(u16::MAX);
                return Input::Datagram { from, span: inbox.keep(size), segment };
            }
        }
        Input::Full
    }

    /// One system call: from whom, how many bytes, and of how many each datagram is.
    fn receive(&self, room: &mut [u8]) -> io::Result<(SocketAddr, usize, usize)> {
        let Some(state) = &self.state else {
            let (size, from) = self.socket.try_recv_from(room)?;
            return Ok((from, size, size));
        };
        let mut meta = [RecvMeta::default()];
        self.socket.try_io(Interest::READABLE, || {
            state.recv(UdpSockRef::from(&self.socket), &mut [IoSliceMut::new(room)], &mut meta)
        })?;
        let [meta] = meta;
        Ok((meta.addr, meta.len, meta.stride))
    }

    /// Gives the first entries to the kernel: as many as one call takes, else one. False if the socket is full.
    fn send_front(&mut self, scratch: &mut Vec<u8>, stats: &mut DriverStats) -> bool {
        match self.send_burst() {
            Ok(count) if count > 0 => {
                stats.datagrams += self.queue.drain(..count).map(|entry| entry.out.packets()).sum::<u64>();
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // What is wrong with the first entry shows when it goes alone.
            _ => {}
        }
        if self.segment != 0 && platform::set_segment(&self.socket, 0).is_ok() {
            self.segment = 0;
        }
        let Some(mut entry) = self.queue.pop_front() else { return true };
        let left = self.transmit(&mut entry, scratch, stats);
        if !left {
            self.queue.push_front(entry);
        }
        left
    }

    /// Sends the first entries that have one size of segment by one call. None sent: they must go one by one.
    fn send_burst(&mut self) -> io::Result<usize> {
        let mut entries = SmallVec::<[(SocketAddr, &Piece); ENTRIES_MAX]>::new();
        let mut sizes = Sizes::default();
        for entry in self.queue.iter().take(self.burst_max) {
            let goes_whole = entry.sent == 0 && (self.offload || entry.out.packets() == 1);
            if !goes_whole || !sizes.take(&entry.out) {
                break;
            }
            entries.push((entry.out.to, &entry.out.piece));
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let segment = sizes.segment.unwrap_or_else(|| {
            if sizes.single_bytes_max <= usize::from(self.segment) { self.segment } else { 0 }
        });
        if segment != self.segment {
            platform::set_segment(&self.socket, segment)?;
            self.segment = segment;
        }
        platform::send_burst(&self.socket, &entries)
    }

    /// Gives one entry to the kernel. False if the socket is full.
    fn transmit(&mut self, entry: &mut Waiting, scratch: &mut Vec<u8>, stats: &mut DriverStats) -> bool {
        let Outgoing { to, piece, segment } = &entry.out;
        let contents = match piece {
            Piece::Shared(bytes) => &bytes[..],
            spliced => {
                scratch.clear();
                spliced.slices().for_each(|run| scratch.extend_from_slice(run));
                &scratch[..]
            }
        };
        let segment = if *segment == 0 { contents.len() } else { usize::from(*segment) };
        let count = entry.out.packets();
        if count > 1 && (entry.sent > 0 || !self.offload) {
            return self.transmit_singly(*to, contents, segment, &mut entry.sent, stats);
        }
        match self.call(*to, contents, segment) {
            Ok(()) => {
                self.refusals = 0;
                stats.datagrams += count;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // No port 0 can be reached: the refusal says nothing about offload.
            Err(_) if count > 1 && to.port() != 0 => {
                let before = stats.datagrams_failed;
                let done = self.transmit_singly(*to, contents, segment, &mut entry.sent, stats);
                if stats.datagrams_failed == before && entry.sent > 0 {
                    self.note_refusal();
                }
                done
            }
            Err(error) => {
                note_failure(stats, count, *to, &error);
                true
            }
        }
    }

    /// Sends the packets of a train one by one from `sent` on. False if the socket is full.
    fn transmit_singly(
        &self,
        to: SocketAddr,
        contents: &[u8],
        segment: usize,
        sent: &mut usize,
        stats: &mut DriverStats,
    ) -> bool {
        while *sent < contents.len() {
            let packet = &contents[*sent..contents.len().min(*sent + segment)];
            match self.call(to, packet, segment) {
                Ok(()) => stats.datagrams += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    // Nobody is there, or nothing of this size passes: the rest would fare no better.
                    note_failure(stats, packets(contents.len() - *sent, segment), to, &error);
                    return true;
                }
            }
            *sent += packet.len();
        }
        true
    }

    /// One system call, repeated once where it only told of an ICMP answer to an earlier one.
    fn call(&self, to: SocketAddr, contents: &[u8], segment: usize) -> io::Result<()> {
        let segment_size = (segment < contents.len()).then_some(segment);
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
        let send = || match &self.state {
            Some(state) => state.try_send(UdpSockRef::from(&self.socket), &transmit),
            None => SockRef::from(&self.socket).send_to(contents, &to.into()).map(drop),
        };
        match send() {
            Err(error) if is_peers_answer(&error) => send(),
            other => other,
        }
    }

    fn shed_front(&mut self, stats: &mut DriverStats) {
        let Some(entry) = self.queue.pop_front() else { return };
        let rest = entry.out.piece.size().saturating_sub(entry.sent);
        stats.datagrams_shed += packets(rest, usize::from(entry.out.segment));
    }

    fn note_refusal(&mut self) {
        self.refusals += 1;
        if self.refusals >= OFFLOAD_REFUSALS_MAX {
            self.offload = false;
            tracing::warn!("segmentation offload is refused; packets leave one by one");
        }
    }

    fn note_not_ready(&self, interest: Interest) {
        let _ = self.socket.try_io(interest, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    }
}

/// Datagrams that `size` bytes are.
fn packets(size: usize, segment: usize) -> u64 {
    if segment == 0 { 1 } else { size.div_ceil(segment).max(1) as u64 }
}

/// Counts datagrams that did not leave. The log has the first, second, fourth, eighth such send and so on.
fn note_failure(stats: &mut DriverStats, count: u64, to: SocketAddr, error: &io::Error) {
    let before = stats.datagrams_failed;
    stats.datagrams_failed += count;
    if before.checked_ilog2() != stats.datagrams_failed.checked_ilog2() {
        tracing::debug!(%to, %error, failed = stats.datagrams_failed, "datagrams do not leave");
    }
}

fn is_peers_answer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;

    fn train(to: SocketAddr, size: usize, segment: u16) -> Outgoing {
        let bytes: Vec<u8> = (0..size).map(|at| (at / usize::from(segment)) as u8).collect();
        Outgoing { to, piece: Piece::Shared(bytes.into()), segment }
    }

    /// Sends trains by a socket that `change` has changed; what arrives must be the packets, in order.
    fn trains_arrive(change: impl FnOnce(&mut Datagrams)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = peer.local_addr().unwrap();
        let (mut datagrams, _) =
            Datagrams::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        change(&mut datagrams);
        let mut stats = DriverStats::default();
        let trains = [(60, 60), (12_000, 1_400), (2_800, 1_400), (900, 900), (5_000, 700)];
        for (size, segment) in trains {
            datagrams.push(train(to, size, segment), Time::ZERO, &mut stats);
        }
        datagrams.poll_flush(&mut Context::from_waker(Waker::noop()), &mut Vec::new(), &mut stats);
        let mut count = 0;
        for (size, segment) in trains {
            let Piece::Shared(bytes) = train(to, size, segment).piece else { unreachable!() };
            for packet in bytes.chunks(segment.into()) {
                let mut buffer = [0; 2_000];
                let received = peer.recv(&mut buffer).expect("every packet arrives");
                assert_eq!(buffer[..received], *packet);
                count += 1;
            }
        }
        assert_eq!((stats.datagrams, stats.datagrams_failed), (count, 0));
    }

    #[test]
    fn trains_leave_in_bursts() {
        trains_arrive(|_| {});
    }

    #[test]
    fn trains_leave_by_a_call_each() {
        trains_arrive(|datagrams| datagrams.burst_max = 0);
    }

    #[test]
    fn trains_leave_as_single_packets_without_offload() {
        trains_arrive(|datagrams| datagrams.offload = false);
        trains_arrive(|datagrams| (datagrams.offload, datagrams.burst_max) = (false, 0));
    }

    #[test]
    fn trains_leave_without_what_knows_of_trains() {
        trains_arrive(|datagrams| {
            (datagrams.state, datagrams.offload, datagrams.burst_max) = (None, false, 0);
        });
    }

    #[test]
    fn datagrams_come_without_what_knows_of_trains() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        let (mut datagrams, local) =
            Datagrams::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        datagrams.state = None;
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for size in [1, 1_400] {
            peer.send_to(&vec![7; size], local).unwrap();
            let mut inbox = Inbox::new();
            let received =
                runtime.block_on(std::future::poll_fn(|cx| match datagrams.poll_receive(cx, &mut inbox) {
                    Input::Waiting => Poll::Pending,
                    other => Poll::Ready(other),
                }));
            let Input::Datagram { from, span, segment } = received else { panic!("{received:?}") };
            assert_eq!((from, usize::from(segment)), (peer.local_addr().unwrap(), size));
            assert_eq!(inbox.bytes(span), vec![7; size]);
        }
    }

    #[test]
    fn a_burst_has_trains_of_one_segment_and_no_larger_single() {
        let to = "127.0.0.1:9".parse().unwrap();
        let mut sizes = Sizes::default();
        assert!(sizes.take(&train(to, 60, 60)));
        assert!(sizes.take(&train(to, 2_800, 1_400)));
        assert!(!sizes.take(&train(to, 2_800, 1_300)));
        assert!(!sizes.take(&train(to, 1_401, 1_401)));
        assert!(sizes.take(&train(to, 1_400, 1_400)));
        let mut sizes = Sizes::default();
        assert!(sizes.take(&train(to, 1_401, 1_401)));
        assert!(!sizes.take(&train(to, 2_800, 1_400)));
    }

    #[test]
    fn what_waits_too_long_is_shed_by_packets() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        let options = UdpOptions { patience: Duration::from_millis(10), ..UdpOptions::default() };
        let (mut datagrams, _) = Datagrams::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let to = "127.0.0.1:9".parse().unwrap();
        let mut stats = DriverStats::default();
        assert!(datagrams.push(train(to, 2_900, 1_400), Time::ZERO, &mut stats));
        let empty = Outgoing { to, piece: Piece::Shared(Bytes::new()), segment: 0 };
        assert!(!datagrams.push(empty, Time::from_millis(5), &mut stats));
        datagrams.shed(Time::from_millis(9), &mut stats);
        assert_eq!(stats.datagrams_shed, 0);
        datagrams.shed(Time::from_millis(10), &mut stats);
        assert_eq!(stats.datagrams_shed, 3);
        assert_eq!(datagrams.shed_at(), Some(Time::from_millis(15)));
        datagrams.shed(Time::from_millis(15), &mut stats);
        assert_eq!((stats.datagrams_shed, datagrams.shed_at()), (4, None));
    }

    #[test]
    fn the_oldest_is_shed_where_too_much_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _context = runtime.enter();
        let options = UdpOptions::default();
        let (mut datagrams, _) = Datagrams::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let to = "127.0.0.1:9".parse().unwrap();
        let mut stats = DriverStats::default();
        for _ in 0..QUEUE_MAX + 2 {
            datagrams.push(train(to, 2_800, 1_400), Time::ZERO, &mut stats);
        }
        assert_eq!((datagrams.queue.len(), stats.datagrams_shed), (QUEUE_MAX, 4));
    }
}
