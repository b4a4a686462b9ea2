//! Cuts raw samples into pieces of 20 ms whose bounds depend on their time alone, however they came in packets.

use bytes::{Bytes, BytesMut};

use super::tracks::Samples;

/// A piece of samples.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// When it begins, in ticks.
    pub time: i64,
    /// How long it is, in ticks.
    pub duration: u32,
    /// Its samples.
    pub payload: Bytes,
}

/// The samples of one track that wait for the rest of their piece.
pub struct Pieces {
    samples: Samples,
    // Ticks of a whole piece.
    piece: i64,
    waiting: BytesMut,
    // Time of the first waiting sample; None before the first.
    time: Option<i64>,
    // Whether a piece may begin between the bounds: only the very first does.
    anywhere: bool,
}

impl Pieces {
    /// `clock_rate` is the RTP clock in hertz.
    pub fn new(samples: Samples, clock_rate: u32) -> Pieces {
        let units = (i64::from(clock_rate) / 50 / samples.ticks).max(1);
        Pieces { samples, piece: units * samples.ticks, waiting: BytesMut::new(), time: None, anywhere: true }
    }

    /// How samples lie in bytes.
    pub fn samples(&self) -> Samples {
        self.samples
    }

    /// Forgets what waits. What comes next is from the start of the file, or from elsewhere.
    pub fn reset(&mut self, is_start: bool) {
        self.waiting.clear();
        self.time = None;
        self.anywhere = is_start;
    }

    /// Takes the samples of a packet that begins at `time`.
    pub fn push(&mut self, time: i64, packet: &[u8], mut emit: impl FnMut(Piece)) {
        let mut packet = &packet[..packet.len() - packet.len() % self.samples.bytes];
        let mut time = time;
        if let Some(begin) = self.time {
            let expected = begin + self.ticks(self.waiting.len());
            // Containers with coarse times are off by less than half a piece; more is a gap.
            if (time - expected).abs() <= self.piece / 2 {
                time = expected;
            } else {
                self.finish(&mut emit);
                self.anywhere = true;
            }
        }
        if self.time.is_none() {
            if !self.anywhere {
                let skip = self.bytes((-time).rem_euclid(self.piece));
                let Some(rest) = packet.get(skip..) else { return };
                packet = rest;
                time += self.ticks(skip);
            }
            self.time = Some(time);
        }
        self.append(packet);
        self.emit_whole(&mut emit);
    }

    /// Hands out what waits although its piece is not whole.
    pub fn finish(&mut self, mut emit: impl FnMut(Piece)) {
        self.emit_whole(&mut emit);
        let Some(time) = self.time.take() else { return };
        if !self.waiting.is_empty() {
            let duration = self.ticks(self.waiting.len()) as u32;
            emit(Piece { time, duration, payload: self.waiting.split().freeze() });
        }
    }

    fn append(&mut self, packet: &[u8]) {
        let from = self.waiting.len();
        self.waiting.extend_from_slice(packet);
        if self.samples.swap {
            self.waiting[from..].chunks_exact_mut(2).for_each(|sample| sample.swap(0, 1));
        }
    }

    fn emit_whole(&mut self, mut emit: impl FnMut(Piece)) {
        while let Some(time) = self.time {
            let duration = self.piece - time.rem_euclid(self.piece);
            let size = self.bytes(duration);
            if size == 0 || self.waiting.len() < size {
                return;
            }
            emit(Piece { time, duration: duration as u32, payload: self.waiting.split_to(size).freeze() });
            self.time = Some(time + duration);
            self.anywhere = false;
        }
    }

    fn ticks(&self, bytes: usize) -> i64 {
        (bytes / self.samples.bytes) as i64 * self.samples.ticks
    }

    /// Bytes of so many ticks, rounded up to whole units.
    fn bytes(&self, ticks: i64) -> usize {
        (ticks as u64).div_ceil(self.samples.ticks as u64) as usize * self.samples.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALAW: Samples = Samples { bytes: 1, ticks: 1, swap: false };

    fn cut(pieces: &mut Pieces, packets: &[(i64, usize)]) -> Vec<(i64, u32, usize)> {
        let mut found = Vec::new();
        for (time, size) in packets {
            let packet: Vec<u8> = (0..*size).map(|place| (*time as usize + place) as u8).collect();
            pieces
                .push(*time, &packet, |piece| found.push((piece.time, piece.duration, piece.payload.len())));
        }
        pieces.finish(|piece| found.push((piece.time, piece.duration, piece.payload.len())));
        found
    }

    #[test]
    fn packets_of_any_size_become_pieces_of_20_ms() {
        let mut pieces = Pieces::new(ALAW, 8_000);
        let found = cut(&mut pieces, &[(0, 100), (100, 300), (400, 10)]);
        assert_eq!(found, [(0, 160, 160), (160, 160, 160), (320, 90, 90)]);
    }

    #[test]
    fn behind_a_seek_the_first_piece_begins_at_a_bound() {
        let mut pieces = Pieces::new(ALAW, 8_000);
        pieces.reset(false);
        let packets = [(70, 30), (100, 400)];
        assert_eq!(cut(&mut pieces, &packets), [(160, 160, 160), (320, 160, 160), (480, 20, 20)]);
    }

    #[test]
    fn coarse_times_are_evened_out_and_gaps_are_kept() {
        let mut pieces = Pieces::new(ALAW, 8_000);
        let found = cut(&mut pieces, &[(0, 160), (163, 160), (8_000, 160)]);
        assert_eq!(found, [(0, 160, 160), (160, 160, 160), (8_000, 160, 160)]);
    }

    #[test]
    fn samples_change_their_byte_order() {
        let mut pieces = Pieces::new(Samples { bytes: 4, ticks: 1, swap: true }, 50);
        let mut found = Vec::new();
        pieces.push(0, &[1, 2, 3, 4, 5, 6, 7, 8], |piece| found.push(piece.payload));
        assert_eq!(found, [&[2, 1, 4, 3][..], &[6, 5, 8, 7][..]]);
    }

    #[test]
    fn codewords_of_g726_end_on_octets() {
        let mut pieces = Pieces::new(Samples { bytes: 5, ticks: 8, swap: false }, 8_000);
        assert_eq!(cut(&mut pieces, &[(0, 205)]), [(0, 160, 100), (160, 160, 100), (320, 8, 5)]);
    }
}
