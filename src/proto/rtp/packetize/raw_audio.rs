//! Sound of a constant rate (RFC 3551): G.711, G.722, G.726 and L16, cut into packets of at most 20 ms.

use super::super::batch::BatchWriter;
use super::{PacketizeError, Room};
use crate::track::Codec;

/// The smallest piece that may be cut off: it ends on an octet and, where there are several channels, holds all.
pub(in crate::rtp) struct RawAudio {
    /// Bytes of a piece.
    unit_bytes: usize,
    /// Ticks of the RTP clock that a piece lasts.
    unit_ticks: u32,
    /// Pieces in 20 ms.
    packet_units: usize,
}

impl RawAudio {
    /// None when the codec is not of a constant rate.
    pub(in crate::rtp) fn new(codec: &Codec) -> Option<RawAudio> {
        let (unit_bytes, unit_ticks) = match codec {
            Codec::G711 { channels, .. } => (usize::from(*channels), 1),
            // An octet holds two samples of 16 kHz sound, which is one tick of the 8 kHz clock.
            Codec::G722 { channels } => (usize::from(*channels), 1),
            // Eight codewords end on an octet whatever their size.
            Codec::G726 { bits, .. } => (usize::from(*bits), 8),
            Codec::L16 { channels, .. } => (2 * usize::from(*channels), 1),
            _ => return None,
        };
        let packet_units = (codec.clock_rate() / unit_ticks / PACKETS_PER_SECOND).max(1) as usize;
        Some(RawAudio { unit_bytes, unit_ticks, packet_units })
    }

    pub(super) fn write(
        &self,
        samples: &[u8],
        room: Room,
        writer: &mut BatchWriter,
    ) -> Result<(), PacketizeError> {
        // Only G.726 may end within a piece: its octets hold whole codewords for 16 and 32 kbit/s.
        if self.unit_ticks == 1 && !samples.len().is_multiple_of(self.unit_bytes) {
            return Err(PacketizeError::Malformed("a frame ends within a sample"));
        }
        self.cut(samples, self.units_per_packet(room), false, writer);
        Ok(())
    }

    /// Writes a packet that came from elsewhere as the fewest that fit, all as long as the first; that one has the
    /// marker, which says that sound begins (RFC 3551 section 4.1).
    pub(in crate::rtp) fn split(
        &self,
        samples: &[u8],
        marker: bool,
        payload_max: usize,
        writer: &mut BatchWriter,
    ) {
        let units = samples.len().div_ceil(self.unit_bytes);
        let packets = units.div_ceil((payload_max / self.unit_bytes).max(1)).max(1);
        self.cut(samples, units.div_ceil(packets).max(1), marker, writer);
    }

    /// Writes packets of so many pieces each; the first has the marker.
    fn cut(&self, samples: &[u8], units: usize, marker: bool, writer: &mut BatchWriter) {
        let start = writer.numbering().timestamp;
        for (index, chunk) in samples.chunks(units * self.unit_bytes).enumerate() {
            let ticks = ((index * units) as u32).wrapping_mul(self.unit_ticks);
            writer.set_timestamp(start.wrapping_add(ticks));
            writer.packet(marker && index == 0, &[chunk]);
        }
    }

    /// Bytes of one packet and of what a packet adds, for the size of a buffer.
    pub(super) fn packet_bytes(&self, room: Room) -> usize {
        self.units_per_packet(room) * self.unit_bytes
    }

    /// 20 ms, or an even part of it where that does not fit a packet.
    fn units_per_packet(&self, room: Room) -> usize {
        let units_max = (room.payload_max / self.unit_bytes).max(1);
        self.packet_units.div_ceil(self.packet_units.div_ceil(units_max))
    }
}

/// Packets of 20 ms (RFC 3551 section 4.2).
const PACKETS_PER_SECOND: u32 = 50;

#[cfg(test)]
mod tests {
    use super::super::tests::{packetizer, payloads, video};
    use crate::rtp::header::Header;
    use crate::track::{BitOrder, Codec, Law};

    fn sizes_and_steps(codec: Codec, bytes: usize) -> (Vec<usize>, Vec<u32>) {
        let batch = packetizer(codec, 1_400).packetize(&video(&vec![1; bytes], true)).unwrap().unwrap();
        let times = batch
            .packets()
            .iter()
            .map(|packet| Header::parse(batch.packet(packet)).unwrap().0.timestamp - batch.timestamp());
        (payloads(&batch).iter().map(Vec::len).collect(), times.collect())
    }

    #[test]
    fn sound_is_cut_into_packets_of_20_ms_whose_times_advance() {
        let law = Law::Mu;
        let g711 = Codec::G711 { law, sample_rate: 8_000, channels: 1 };
        assert_eq!(sizes_and_steps(g711, 400), (vec![160, 160, 80], vec![0, 160, 320]));
        assert_eq!(sizes_and_steps(Codec::G722 { channels: 1 }, 320), (vec![160, 160], vec![0, 160]));
        let g726 = Codec::G726 { bits: 3, order: BitOrder::LeastFirst };
        assert_eq!(sizes_and_steps(g726, 90), (vec![60, 30], vec![0, 160]));
    }

    #[test]
    fn twenty_milliseconds_that_do_not_fit_are_cut_evenly_between_samples() {
        let l16 = Codec::L16 { sample_rate: 48_000, channels: 2 };
        assert_eq!(sizes_and_steps(l16, 3_840), (vec![1_280; 3], vec![0, 320, 640]));
    }

    #[test]
    fn half_a_sample_is_malformed() {
        let l16 = Codec::L16 { sample_rate: 48_000, channels: 2 };
        assert!(packetizer(l16, 1_400).packetize(&video(&[1; 6], true)).is_err());
    }
}
