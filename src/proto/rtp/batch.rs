//! The packets of one access unit, made once and shared by everyone who receives them.
//!
//! ```text
//! rtp:          [header|payload][header|payload][header|payload]      back to back: one iovec is a GSO train
//! interleaved:  [$ ch len][header|payload][$ ch len][header|payload]  rendered at first use, then shared
//! ```

use std::ops::Range;
use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::header::{EXTENSION_BIT, HEADER_BYTES, Header};
use super::packetize::MTU_BYTES_DEFAULT;
use crate::time::MediaTime;

/// Bytes of the `$`, channel and length before a packet on an interleaved connection (RFC 2326 section 10.12).
pub const INTERLEAVED_HEAD_BYTES: usize = 4;

/// Segments the kernel takes in one UDP send (UDP_MAX_SEGMENTS of Linux 4.18 to 6.8).
const TRAIN_SEGMENTS_MAX: usize = 64;

/// Payload of the largest UDP datagram, and so of the largest train: 65,535 - 20 (IPv4) - 8 (UDP).
const TRAIN_BYTES_MAX: usize = 65_507;

/// Batches above this are paced: an unpaced large keyframe overruns the queue of a slower hop.
const UNPACED_BYTES_MAX: usize = 64 * 1024;

/// Packets of one paced train; one train leaves each millisecond.
const PACED_SEGMENTS_MAX: usize = 12;

/// The packets of one access unit (or of a part of it that a live source closed early).
#[derive(Debug)]
pub struct Batch {
    rtp: Bytes,
    packets: Box<[Packet]>,
    trains: SmallVec<[Train; 2]>,
    interleaved: OnceLock<Bytes>,
    meta: Meta,
}

/// What is known of a batch beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meta {
    /// Index of the track in its presentation.
    pub track: u8,
    /// Whether decoding can begin with this batch.
    pub keyframe: bool,
    /// Decoding time in the content.
    pub dts: MediaTime,
    /// Presentation time in the content.
    pub pts: MediaTime,
}

/// Where one packet lies in [`Batch::rtp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// First byte.
    pub offset: u32,
    /// Bytes, header included.
    pub size: u16,
}

/// Consecutive packets of one size with an optional shorter last one: one segmented send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// Index of its first packet.
    pub first: u32,
    /// Count of packets.
    pub count: u32,
    /// First byte in [`Batch::rtp`].
    pub offset: u32,
    /// Bytes in all.
    pub bytes: u32,
    /// Size of every packet but the last.
    pub segment: u16,
}

impl Batch {
    /// All packets back to back.
    pub fn rtp(&self) -> &Bytes {
        &self.rtp
    }

    /// Where each packet lies.
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// The sends that carry this batch over UDP. One a millisecond where [`Batch::is_paced`] says so.
    pub fn trains(&self) -> &[Train] {
        &self.trains
    }

    /// The bytes of one train.
    pub fn train_bytes(&self, train: &Train) -> Bytes {
        self.rtp.slice(train.offset as usize..(train.offset + train.bytes) as usize)
    }

    /// The bytes of one packet.
    pub fn packet(&self, packet: &Packet) -> &[u8] {
        &self.rtp[packet.offset as usize..packet.offset as usize + usize::from(packet.size)]
    }

    /// Whether the batch is so large that its trains leave a millisecond apart.
    pub fn is_paced(&self) -> bool {
        self.rtp.len() > UNPACED_BYTES_MAX
    }

    /// The canonical interleaved channel: twice the track's index.
    pub fn channel(&self) -> u8 {
        self.meta.track * 2
    }

    /// A batch of the same content whose packets are written anew, each up to `growth_bytes` longer.
    pub fn map(&self, growth_bytes: usize, mut write: impl FnMut(&[u8], &mut BytesMut)) -> Batch {
        let size = self.rtp.len() + growth_bytes * self.packets.len();
        let mut buffer = BytesMut::with_capacity(size);
        let packets = self.packets.iter().map(|packet| {
            let offset = buffer.len();
            write(self.packet(packet), &mut buffer);
            Packet { offset: offset as u32, size: (buffer.len() - offset) as u16 }
        });
        let packets: Vec<_> = packets.collect();
        Batch::of(buffer.freeze(), packets, self.meta)
    }

    fn of(rtp: Bytes, packets: Vec<Packet>, meta: Meta) -> Batch {
        let segments_max =
            if rtp.len() > UNPACED_BYTES_MAX { PACED_SEGMENTS_MAX } else { TRAIN_SEGMENTS_MAX };
        let trains = trains(&packets, segments_max);
        Batch { rtp, packets: packets.into(), trains, interleaved: OnceLock::new(), meta }
    }

    /// The packets with their `$` heads on the canonical channel. Rendered by the first who asks, then shared.
    pub fn interleaved(&self) -> Bytes {
        self.interleaved
            .get_or_init(|| {
                let size = self.rtp.len() + INTERLEAVED_HEAD_BYTES * self.packets.len();
                let mut out = BytesMut::with_capacity(size);
                for packet in &self.packets {
                    out.put_slice(&interleaved_head(self.channel(), packet.size));
                    out.put_slice(self.packet(packet));
                }
                out.freeze()
            })
            .clone()
    }

    /// Track, keyframe flag and times.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Sequence number of the first packet.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.rtp[2], self.rtp[3]])
    }

    /// RTP timestamp of the first packet.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.rtp[4], self.rtp[5], self.rtp[6], self.rtp[7]])
    }

    /// Synchronization source.
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.rtp[8], self.rtp[9], self.rtp[10], self.rtp[11]])
    }

    /// Octets that a sender report counts: payloads without headers and their extensions (RFC 3550 section 6.4.1).
    pub fn payload_octets(&self) -> u32 {
        self.rtp.len() as u32 - self.header_octets(0..self.packets.len())
    }

    /// Octets of the headers of some of its packets, extensions included.
    pub fn header_octets(&self, packets: Range<usize>) -> u32 {
        let fixed = (HEADER_BYTES * packets.len()) as u32;
        // Where the first has no extension, none has.
        match self.rtp[0] & EXTENSION_BIT {
            0 => fixed,
            _ => {
                fixed + self.packets[packets].iter().map(|it| extension_octets(self.packet(it))).sum::<u32>()
            }
        }
    }

    /// Bytes of memory that the batch holds, rendered forms included.
    pub fn memory_bytes(&self) -> usize {
        self.rtp.len()
            + self.interleaved.get().map_or(0, Bytes::len)
            + self.packets.len() * size_of::<Packet>()
            + size_of::<Batch>()
    }
}

/// Octets of the extension of a packet that has no contributing sources.
fn extension_octets(packet: &[u8]) -> u32 {
    match packet.get(HEADER_BYTES + 2..HEADER_BYTES + 4) {
        Some(words) if packet[0] & EXTENSION_BIT != 0 => {
            4 + 4 * u32::from(u16::from_be_bytes([words[0], words[1]]))
        }
        _ => 0,
    }
}

/// The head of one packet on an interleaved connection.
pub fn interleaved_head(channel: u8, size: u16) -> [u8; INTERLEAVED_HEAD_BYTES] {
    let [high, low] = size.to_be_bytes();
    [b'$', channel, high, low]
}

/// Numbers that the packets of one batch carry.
#[derive(Clone, Copy, Debug)]
pub struct Numbering {
    /// Synchronization source.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number of the next packet; advanced by every packet written.
    pub sequence: u16,
    /// RTP timestamp of the batch.
    pub timestamp: u32,
}

/// Writes the packets of one batch back to back.
pub struct BatchWriter {
    buffer: BytesMut,
    packets: Vec<Packet>,
    numbering: Numbering,
    open: Option<usize>,
}

impl BatchWriter {
    /// A writer whose packets are numbered from `numbering` on; `size_hint` is the expected count of bytes.
    pub fn new(numbering: Numbering, size_hint: usize) -> BatchWriter {
        BatchWriter::on(BytesMut::with_capacity(size_hint), numbering, size_hint)
    }

    /// Like [`BatchWriter::new`], with bytes at the front of `stock` where as many as `size_hint` are left of it. What
    /// the batch does not take is given back by [`BatchWriter::finish_on`].
    pub fn new_on(stock: &mut BytesMut, numbering: Numbering, size_hint: usize) -> BatchWriter {
        if stock.capacity() < size_hint {
            return BatchWriter::new(numbering, size_hint);
        }
        BatchWriter::on(std::mem::take(stock), numbering, size_hint)
    }

    fn on(buffer: BytesMut, numbering: Numbering, size_hint: usize) -> BatchWriter {
        let packets = Vec::with_capacity(size_hint / MTU_BYTES_DEFAULT + 1);
        BatchWriter { buffer, packets, numbering, open: None }
    }

    /// Begins a packet; its payload follows by [`BatchWriter::put`].
    pub fn begin(&mut self, marker: bool) {
        debug_assert!(self.open.is_none(), "a packet is begun after the last one was ended");
        self.open = Some(self.buffer.len());
        let Numbering { ssrc, payload_type, sequence, timestamp } = self.numbering;
        let header = Header { marker, payload_type, sequence, timestamp, ssrc };
        self.buffer.put_slice(&header.to_bytes());
        self.numbering.sequence = sequence.wrapping_add(1);
    }

    /// Begins a packet whose header has an extension (RFC 3550 section 5.3.1): its first 16 bits, and whole words.
    pub fn begin_extended(&mut self, marker: bool, profile: u16, extension: &[u8]) {
        debug_assert!(extension.len().is_multiple_of(4), "an extension has whole words");
        self.begin(marker);
        if let Some(first) = self.open.and_then(|offset| self.buffer.get_mut(offset)) {
            *first |= EXTENSION_BIT;
        }
        self.buffer.put_u16(profile);
        self.buffer.put_u16((extension.len() / 4) as u16);
        self.buffer.put_slice(extension);
    }

    /// Adds bytes to the open packet.
    pub fn put(&mut self, payload: &[u8]) {
        self.buffer.put_slice(payload);
    }

    /// Ends the open packet.
    pub fn end(&mut self) {
        let Some(offset) = self.open.take() else { return };
        let size = self.buffer.len() - offset;
        debug_assert!(size <= usize::from(u16::MAX), "a packet fits a datagram");
        self.packets.push(Packet { offset: offset as u32, size: size as u16 });
    }

    /// Writes one whole packet whose payload is `parts` in order.
    pub fn packet(&mut self, marker: bool, parts: &[&[u8]]) {
        self.begin(marker);
        for part in parts {
            self.put(part);
        }
        self.end();
    }

    /// Writes a whole packet that came from elsewhere under the writer's numbers: contributing sources, extension,
    /// marker and padding stay as they are (RFC 3550 section 5.1). Bytes too short for a header are left out.
    pub fn forward(&mut self, packet: &[u8]) {
        let Some((head, rest)) = packet.split_first_chunk::<HEADER_BYTES>() else { return };
        let offset = self.buffer.len();
        let Numbering { ssrc, payload_type, sequence, timestamp } = self.numbering;
        let marker = head[1] & 0x80 != 0;
        let mut header = Header { marker, payload_type, sequence, timestamp, ssrc }.to_bytes();
        header[0] = head[0];
        self.buffer.put_slice(&header);
        self.buffer.put_slice(rest);
        self.packets.push(Packet { offset: offset as u32, size: packet.len() as u16 });
        self.numbering.sequence = sequence.wrapping_add(1);
    }

    /// Sets the RTP timestamp of the packets that follow (formats that split one frame over several times).
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.numbering.timestamp = timestamp;
    }

    /// The numbers of the next packet.
    pub fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// Bytes written.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Count of packets ended.
    pub fn packet_count(&self) -> usize {
        self.packets.len()
    }

    /// The finished batch; None when no packet was written.
    pub fn finish(self, meta: Meta) -> Option<Batch> {
        if self.packets.is_empty() {
            return None;
        }
        Some(Batch::of(self.buffer.freeze(), self.packets, meta))
    }

    /// Writes nothing: all bytes are stock for the next.
    pub fn abandon_on(mut self, stock: &mut BytesMut) {
        self.buffer.clear();
        self.give_back(stock);
    }

    fn give_back(&mut self, stock: &mut BytesMut) {
        if stock.capacity() == 0 {
            *stock = self.buffer.split_off(self.buffer.len());
        }
    }

    /// Like [`BatchWriter::finish`]; what the batch does not take of its buffer is the stock for the next.
    pub fn finish_on(mut self, stock: &mut BytesMut, meta: Meta) -> Option<Batch> {
        self.give_back(stock);
        self.finish(meta)
    }
}

/// Cuts packets that lie back to back into trains of at most `segments_max`.
fn trains(packets: &[Packet], segments_max: usize) -> SmallVec<[Train; 2]> {
    let mut trains = SmallVec::new();
    let mut rest: Range<usize> = 0..packets.len();
    while !rest.is_empty() {
        let first = rest.start;
        let segment = packets[first].size;
        let mut bytes = 0;
        let mut count = 0;
        for packet in &packets[rest.clone()] {
            let fits = packet.size <= segment
                && count < segments_max
                && bytes + usize::from(packet.size) <= TRAIN_BYTES_MAX;
            if !fits {
                break;
            }
            count += 1;
            bytes += usize::from(packet.size);
            if packet.size < segment {
                break;
            }
        }
        // A single packet always makes a train, whatever its size.
        let count = count.max(1);
        let bytes = if bytes == 0 { usize::from(segment) } else { bytes };
        trains.push(Train {
            first: first as u32,
            count: count as u32,
            offset: packets[first].offset,
            bytes: bytes as u32,
            segment,
        });
        rest.start += count;
    }
    trains
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta { track: 1, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };

    fn batch(sizes: &[usize]) -> Batch {
        let numbering = Numbering { ssrc: 7, payload_type: 96, sequence: 65_535, timestamp: 9 };
        let mut writer = BatchWriter::new(numbering, 0);
        for (index, size) in sizes.iter().enumerate() {
            writer.packet(index + 1 == sizes.len(), &[&vec![index as u8; size - HEADER_BYTES]]);
        }
        writer.finish(META).unwrap()
    }

    #[test]
    fn equal_packets_with_a_shorter_last_one_are_one_train() {
        let batch = batch(&[1400, 1400, 1400, 500]);
        assert_eq!(batch.trains(), [Train { first: 0, count: 4, offset: 0, bytes: 4700, segment: 1400 }]);
        assert_eq!(batch.train_bytes(&batch.trains()[0]), batch.rtp());
    }

    #[test]
    fn a_longer_packet_and_one_behind_a_short_one_begin_a_train() {
        let trains: Vec<_> =
            batch(&[60, 1400, 1400, 300, 300]).trains().iter().map(|t| (t.first, t.count)).collect();
        assert_eq!(trains, [(0, 1), (1, 3), (4, 1)]);
    }

    #[test]
    fn a_large_batch_is_paced_in_trains_of_twelve() {
        let batch = batch(&[1400; 50]);
        assert!(batch.is_paced());
        let counts: Vec<_> = batch.trains().iter().map(|t| t.count).collect();
        assert_eq!(counts, [12, 12, 12, 12, 2]);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let batch = batch(&[100, 100]);
        assert_eq!(batch.sequence(), 65_535);
        let second = Header::parse(batch.packet(&batch.packets()[1])).unwrap().0;
        assert_eq!((second.sequence, second.marker), (0, true));
    }

    #[test]
    fn a_forwarded_packet_keeps_all_but_its_numbers() {
        let numbering = Numbering { ssrc: 7, payload_type: 97, sequence: 5, timestamp: 9 };
        let mut writer = BatchWriter::new(numbering, 0);
        // Padding, extension, one contributing source, marker.
        let mut packet = vec![0xb1, 0x80 | 33, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        packet.extend([1, 1, 1, 1, 0xbe, 0xde, 0, 0, b'x', 0, 2]);
        writer.forward(&packet);
        writer.forward(&[0x80; 11]);
        let batch = writer.finish(META).unwrap();
        assert_eq!(batch.rtp()[..12], [0xb1, 0x80 | 97, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7]);
        assert_eq!(batch.rtp()[12..], packet[12..]);
    }

    #[test]
    fn interleaved_form_carries_every_packet_behind_its_head() {
        let batch = batch(&[100, 40]);
        let bytes = batch.interleaved();
        assert_eq!(bytes[..4], [b'$', 2, 0, 100]);
        assert_eq!(bytes[4..104], batch.rtp()[..100]);
        assert_eq!(bytes[104..108], [b'$', 2, 0, 40]);
        assert_eq!(bytes.len(), 100 + 40 + 8);
        assert_eq!(bytes.as_ptr(), batch.interleaved().as_ptr());
    }
}
