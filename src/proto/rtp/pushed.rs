//! RTP on a TCP connection that carries nothing else: a head of 4 bytes stands before each packet.
//!
//! ```text
//! |0x24|channel|  length  |  RTP or RTCP packet of that length ... |0x24|channel|  length  | ...
//! ```
//!
//! The length is in network order. Senders that write the head as their processor does have it the other way round:
//! that is recognised, but only where network order does not lead to the next head. What stands between two packets and
//! is none of them is skipped and counted.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr_iter;

use crate::rtcp::is_rtcp;

/// Bytes before each packet.
pub const HEAD_BYTES: usize = 4;

/// First byte of every head.
const MAGIC: u8 = 0x24;

/// The shortest packet: a receiver report about nobody. RTP has 12 bytes at least.
const PACKET_BYTES_MIN: usize = 8;

/// The largest packet with its head, as 16 bits can tell it.
const FRAME_BYTES_MAX: usize = HEAD_BYTES + u16::MAX as usize;

/// Packets of various sources that must follow each other where another reading is not refuted yet.
const STEPS: usize = 3;

/// Most bytes that wait between two calls of [`Deframer::handle_bytes`]: `STEPS` packets that are not believed yet and
/// the beginning of another, and an eighth more before they are looked at again. What is longer is not waited for.
pub const BUFFERED_MAX: usize = (STEPS + 1) * FRAME_BYTES_MAX * 9 / 8;

/// Order of the two bytes of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Most significant first, as the network has it.
    Network,
    /// Least significant first.
    Swapped,
}

/// One packet as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The head's second byte; senders have 0 there.
    pub channel: u8,
    /// RTP or RTCP; only its version has been looked at.
    pub packet: Bytes,
}

/// Finds the packets in the bytes of one connection.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: BytesMut,
    /// Order and source of the last media packet: a packet that looks the same is believed at once.
    last: Option<(ByteOrder, [u8; 4])>,
    /// Whether something was skipped since the last packet, or since the beginning.
    has_lost_step: bool,
    /// How many bytes must wait before they are searched again.
    search_at: usize,
    skipped_bytes: u64,
}

impl ByteOrder {
    /// Both, the one that is believed first in front.
    const BOTH: [ByteOrder; 2] = [ByteOrder::Network, ByteOrder::Swapped];

    fn read(self, bytes: [u8; 2]) -> usize {
        usize::from(match self {
            ByteOrder::Network => u16::from_be_bytes(bytes),
            ByteOrder::Swapped => u16::from_le_bytes(bytes),
        })
    }
}

/// The head of one packet of `size` bytes.
pub fn head(channel: u8, size: u16, order: ByteOrder) -> [u8; HEAD_BYTES] {
    let [first, second] = match order {
        ByteOrder::Network => size.to_be_bytes(),
        ByteOrder::Swapped => size.to_le_bytes(),
    };
    [MAGIC, channel, first, second]
}

impl Deframer {
    /// A connection of which nothing is known.
    pub fn new() -> Deframer {
        Deframer::default()
    }

    /// Takes what came. [`Deframer::poll`] it until there is nothing more, so that no more than [`BUFFERED_MAX`] waits.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet.
    pub fn poll(&mut self) -> Option<Pushed> {
        let order = self.like_last(&self.buffer).or_else(|| self.search())?;
        match Head::read(&self.buffer, order) {
            Head::Packet(size) if self.buffer.len() >= HEAD_BYTES + size => Some(self.take(order, size)),
            _ => None,
        }
    }

    /// The packet that waits for proof by the next one, of which there is none: the connection has ended.
    pub fn poll_last(&mut self) -> Option<Pushed> {
        let is_whole = |order: &ByteOrder| matches!(Head::read(&self.buffer, *order), Head::Packet(size) if self.buffer.len() == HEAD_BYTES + size);
        let order = ByteOrder::BOTH.into_iter().find(is_whole)?;
        Some(self.take(order, self.buffer.len() - HEAD_BYTES))
    }

    /// Bytes that belonged to no packet.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// Bytes that wait for more.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn take(&mut self, order: ByteOrder, size: usize) -> Pushed {
        let channel = self.buffer[1];
        // A length such as 0x0101 shows no order.
        let is_the_same_in_both = self.buffer[2] == self.buffer[3];
        self.buffer.advance(HEAD_BYTES);
        let packet = self.buffer.split_to(size).freeze();
        if !is_rtcp(&packet) && !is_the_same_in_both {
            self.last = source(&packet).map(|source| (order, source));
        }
        self.has_lost_step = false;
        self.search_at = 0;
        Pushed { channel, packet }
    }

    /// Goes to the first place from which packets follow each other; the order in which they do. What lies before it is
    /// dropped, and so is what can be no head whatever comes.
    fn search(&mut self) -> Option<ByteOrder> {
        if self.buffer.len() < self.search_at {
            return None;
        }
        let mut keep_from = None;
        let mut found = None;
        for at in memchr_iter(MAGIC, &self.buffer) {
            match self.believe(at, keep_from.is_none()) {
                Belief::Packet(order) => {
                    found = Some((at, order));
                    break;
                }
                Belief::Open => {
                    keep_from.get_or_insert(at);
                }
                Belief::Nothing => {}
            }
        }
        let (skipped, order) = match found {
            Some((at, order)) => (at, Some(order)),
            None => (keep_from.unwrap_or(self.buffer.len()), None),
        };
        self.buffer.advance(skipped);
        self.skipped_bytes += skipped as u64;
        self.has_lost_step |= skipped > 0;
        // Not at each byte anew: a search looks at everything that waits.
        self.search_at = self.buffer.len() + self.buffer.len() / 8 + 1;
        order
    }

    /// Whether a packet begins at a place; `is_first` of those where one may.
    fn believe(&self, at: usize, is_first: bool) -> Belief {
        let bytes = &self.buffer[at..];
        if let Some(order) = self.like_last(bytes) {
            return Belief::Packet(order);
        }
        let [network, swapped] = ByteOrder::BOTH.map(|order| Run::of(bytes, order));
        let wanted = match at {
            // Where a packet must begin, the next one is proof enough.
            0 if !self.has_lost_step => 1,
            _ if is_first => 2,
            // A packet that is not complete may lie around this place.
            _ => STEPS,
        };
        if network.is_of_one_source || network.followed >= wanted {
            Belief::Packet(ByteOrder::Network)
        } else if swapped.is_of_one_source || swapped.followed >= if network.is_open { STEPS } else { wanted }
        {
            Belief::Packet(ByteOrder::Swapped)
        } else if network.is_open || swapped.is_open {
            Belief::Open
        } else {
            Belief::Nothing
        }
    }

    /// The order of the last packet, when a head is followed by a packet of the same source.
    fn like_last(&self, bytes: &[u8]) -> Option<ByteOrder> {
        let (order, last) = self.last?;
        let is_packet = matches!(Head::read(bytes, order), Head::Packet(_));
        (is_packet && source(&bytes[HEAD_BYTES..]) == Some(last)).then_some(order)
    }
}

/// What a place looks like.
enum Belief {
    /// A packet begins.
    Packet(ByteOrder),
    /// What comes will tell.
    Open,
    /// No packet begins.
    Nothing,
}

/// What stands where a head should.
enum Head {
    /// The head of a packet of that size, and the packet's first byte.
    Packet(usize),
    /// It may become a head.
    Short,
    /// Something else.
    Wrong,
}

impl Head {
    fn read(bytes: &[u8], order: ByteOrder) -> Head {
        match *bytes {
            [] | [MAGIC] | [MAGIC, _] | [MAGIC, _, _] => Head::Short,
            [MAGIC, _, first, second, ref packet @ ..] => {
                let size = order.read([first, second]);
                match packet.first() {
                    _ if size < PACKET_BYTES_MIN => Head::Wrong,
                    None => Head::Short,
                    // Version 2 of RTP and RTCP.
                    Some(first) if first >> 6 == 2 => Head::Packet(size),
                    Some(_) => Head::Wrong,
                }
            }
            _ => Head::Wrong,
        }
    }
}

/// Packets that follow each other.
struct Run {
    /// How many are followed by another head; not counted beyond [`STEPS`].
    followed: usize,
    /// Whether the first is followed by another one of its source: no accident.
    is_of_one_source: bool,
    /// Whether what comes may make it longer.
    is_open: bool,
}

impl Run {
    fn of(bytes: &[u8], order: ByteOrder) -> Run {
        let mut run = Run { followed: 0, is_of_one_source: false, is_open: true };
        let first = bytes.get(HEAD_BYTES..).and_then(source);
        let mut rest = bytes;
        for passed in 0..=STEPS {
            match Head::read(rest, order) {
                Head::Packet(size) => {
                    run.followed = passed;
                    run.is_of_one_source |=
                        passed == 1 && first.is_some() && source(&rest[HEAD_BYTES..]) == first;
                    let Some(behind) = rest.get(HEAD_BYTES + size..) else { return run };
                    rest = behind;
                }
                Head::Short => return run,
                Head::Wrong => {
                    run.is_open = false;
                    return run;
                }
            }
        }
        run
    }
}

/// The synchronization source of a packet's sender; None when the packet is shorter than that.
fn source(packet: &[u8]) -> Option<[u8; 4]> {
    let at = if is_rtcp(packet) { 4 } else { 8 };
    packet.get(at..at + 4)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::header::Header;

    fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let header = Header { marker: false, payload_type: 96, sequence, timestamp: 7, ssrc: 0x2400_1234 };
        [&header.to_bytes()[..], payload].concat()
    }

    fn framed(packet: &[u8], order: ByteOrder) -> Vec<u8> {
        [&head(0, packet.len() as u16, order)[..], packet].concat()
    }

    /// What comes out of pieces of a stream, and what was skipped.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, u64) {
        let mut deframer = Deframer::new();
        let mut out = Vec::new();
        for piece in pieces {
            deframer.handle_bytes(piece);
            while let Some(pushed) = deframer.poll() {
                out.push(pushed.packet.to_vec());
            }
            assert!(deframer.buffered() <= BUFFERED_MAX, "{}", deframer.buffered());
        }
        (out, deframer.skipped_bytes())
    }

    /// Packets of sizes at which both orders of the length are plausible and of some at which one is not.
    fn packets() -> Vec<Vec<u8>> {
        [0, 200, 1_388, 12, 1_000, 244, 500, 20, 60_000, 3, 700]
            .into_iter()
            .enumerate()
            .map(|(index, size)| packet(index as u16, &vec![index as u8; size]))
            .collect()
    }

    #[test]
    fn packets_come_out_in_either_order_of_bytes_and_in_any_pieces() {
        let packets = packets();
        for order in ByteOrder::BOTH {
            let stream: Vec<u8> = packets.iter().flat_map(|packet| framed(packet, order)).collect();
            for piece in [1, 3, 1_460, stream.len()] {
                assert_eq!(read(stream.chunks(piece)), (packets.clone(), 0), "{order:?}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn the_swapped_order_is_known_long_before_network_order_is_refuted() {
        // 1404 bytes are 0x057c; as 0x7c05 they would be 31749.
        let packets: Vec<_> = (0..5).map(|sequence| packet(sequence, &[7; 1_392])).collect();
        let stream: Vec<u8> = packets.iter().flat_map(|packet| framed(packet, ByteOrder::Swapped)).collect();
        assert_eq!(read([&stream[..]]), (packets, 0));
    }

    #[test]
    fn what_stands_between_packets_is_skipped_and_takes_none_with_it() {
        let packets = packets();
        // Garbage like heads of packets that never end, in either order, and of short ones.
        let garbage: [&[u8]; 4] =
            [b"garbage", &[0x24, 0, 0xff, 0xff, 0x80], &[0x24, 0, 0, 12, 0x80, 1], &[0x24, 0, 9, 0, 0x80]];
        for order in ByteOrder::BOTH {
            let mut stream = Vec::new();
            let mut skipped = 0;
            for (index, packet) in packets.iter().enumerate() {
                if index > 1 {
                    stream.extend(garbage[index % garbage.len()]);
                    skipped += garbage[index % garbage.len()].len() as u64;
                }
                stream.extend(framed(packet, order));
            }
            for piece in [1, 1_460, stream.len()] {
                assert_eq!(read(stream.chunks(piece)), (packets.clone(), skipped), "{order:?}, {piece}");
            }
        }
    }

    #[test]
    fn a_connection_that_begins_within_a_packet_is_read_from_the_next_on() {
        let packets: Vec<_> = (0..6).map(|sequence| packet(sequence, &[7; 100])).collect();
        let stream: Vec<u8> = packets.iter().flat_map(|packet| framed(packet, ByteOrder::Network)).collect();
        assert_eq!(read([&stream[50..]]), (packets[1..].to_vec(), 116 - 50));
    }

    #[test]
    fn the_only_packet_of_a_connection_is_taken_at_its_end() {
        for order in ByteOrder::BOTH {
            let only = packet(1, b"only");
            let mut deframer = Deframer::new();
            deframer.handle_bytes(&framed(&only, order));
            assert_eq!(deframer.poll(), None);
            let last = deframer.poll_last().map(|pushed| pushed.packet.to_vec());
            assert_eq!((last, deframer.poll_last()), (Some(only), None));
        }
        let mut deframer = Deframer::new();
        deframer.handle_bytes(&framed(&packet(1, b"cut"), ByteOrder::Network)[..17]);
        assert_eq!((deframer.poll(), deframer.poll_last()), (None, None));
    }

    #[test]
    fn a_receiver_report_is_a_packet_too() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        let packets = [packet(1, b"abc"), report.to_vec(), packet(2, b"def")];
        let stream: Vec<u8> = packets.iter().flat_map(|packet| framed(packet, ByteOrder::Network)).collect();
        assert_eq!(read(stream.chunks(5)), (packets.to_vec(), 0));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_survived_within_bounds(
            bytes in prop::collection::vec(prop_oneof![Just(0x24), Just(0), Just(0x80), any::<u8>()], 0..3_000),
            piece in 1usize..500,
        ) {
            let (out, skipped) = read(bytes.chunks(piece));
            let taken: usize = out.iter().map(|packet| packet.len() + HEAD_BYTES).sum();
            prop_assert!(taken + skipped as usize <= bytes.len());
        }

        #[test]
        fn garbage_before_and_between_costs_no_packet_of_a_known_source(
            sizes in prop::collection::vec(0usize..2_000, 1..12),
            garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 12),
            piece in 1usize..2_000,
            swapped: bool,
        ) {
            let order = if swapped { ByteOrder::Swapped } else { ByteOrder::Network };
            let packets: Vec<_> = sizes.iter().enumerate()
                .map(|(index, size)| packet(index as u16, &vec![0x11; *size]))
                .collect();
            // Packets that make the source known.
            let known: Vec<_> = (0..4).map(|sequence| packet(900 + sequence, b"known")).collect();
            let mut stream: Vec<u8> = known.iter().flat_map(|packet| framed(packet, order)).collect();
            let mut skipped = 0;
            for (packet, garbage) in packets.iter().zip(&garbage) {
                stream.extend(garbage);
                skipped += garbage.len() as u64;
                stream.extend(framed(packet, order));
            }
            prop_assert_eq!(read(stream.chunks(piece)), ([known, packets].concat(), skipped));
        }
    }
}
