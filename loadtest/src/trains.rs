//! Cuts what UDP_GRO merged back into packets. The kernel names the segment size in a control message, which this
//! runtime cannot read; but the next packet of a train begins with a head that is known but for its sequence number.

/// Finds where the packets of merged datagrams begin. Remembers the last size, which is almost always the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cutter {
    segment: usize,
}

impl Cutter {
    /// Calls `each` with every packet of `merged`, in order.
    pub fn cut<'a>(&mut self, merged: &'a [u8], mut each: impl FnMut(&'a [u8])) {
        let mut rest = merged;
        while let Some(size) = self.first(rest) {
            each(&rest[..size]);
            rest = &rest[size..];
        }
        if !rest.is_empty() {
            each(rest);
        }
    }

    /// The size of the first packet; None when it is the last.
    fn first(&mut self, bytes: &[u8]) -> Option<usize> {
        let head = Head::of(bytes)?;
        if self.segment > 0 && head.is_followed_by(bytes.get(self.segment..).unwrap_or_default()) {
            return Some(self.segment);
        }
        let size = (HEAD_BYTES + 1..bytes.len()).find(|at| head.is_followed_by(&bytes[*at..]))?;
        self.segment = size;
        Some(size)
    }
}

/// The fixed RTP header's parts that do not change within a train.
struct Head {
    payload_type: u8,
    sequence: u16,
    ssrc: [u8; 4],
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Head> {
        let head = bytes.get(..HEAD_BYTES)?;
        let ssrc = [head[8], head[9], head[10], head[11]];
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        (head[0] >> 6 == 2).then_some(Head { payload_type: head[1] & 0x7f, sequence, ssrc })
    }

    fn is_followed_by(&self, bytes: &[u8]) -> bool {
        Head::of(bytes).is_some_and(|next| {
            next.sequence == self.sequence.wrapping_add(1)
                && next.payload_type == self.payload_type
                && next.ssrc == self.ssrc
        })
    }
}

/// RFC 3550 section 5.1.
const HEAD_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, size: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 0, 1, 2, 3, 4, 9, 8, 7, 6];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.resize(size, 0x80);
        packet
    }

    fn sizes(cutter: &mut Cutter, bytes: &[u8]) -> Vec<usize> {
        let mut sizes = Vec::new();
        cutter.cut(bytes, |packet| sizes.push(packet.len()));
        sizes
    }

    #[test]
    fn a_train_is_cut_into_its_packets() {
        let mut cutter = Cutter::default();
        let train = [packet(65_535, 100), packet(0, 100), packet(1, 40)].concat();
        assert_eq!(sizes(&mut cutter, &train), [100, 100, 40]);
        let other = [packet(7, 60), packet(8, 60)].concat();
        assert_eq!(sizes(&mut cutter, &other), [60, 60]);
    }

    #[test]
    fn a_single_packet_and_garbage_stay_whole() {
        let mut cutter = Cutter::default();
        assert_eq!(sizes(&mut cutter, &packet(1, 1_400)), [1_400]);
        assert_eq!(sizes(&mut cutter, &[1, 2, 3]), [3]);
        assert_eq!(sizes(&mut cutter, &[]), [0; 0]);
    }
}
