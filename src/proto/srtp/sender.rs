//! What one sender protects: it knows how often its sequence numbers have come round.

use bytes::BytesMut;

use super::keys::{Keys, MasterKey};
use crate::rtp::batch::Batch;
use crate::rtp::header::HEADER_BYTES;

/// The packets of one synchronization source under one key.
///
/// Whatever is protected twice under one sequence number must be the same: who sees two different payloads under one
/// key stream knows what both have in common.
#[derive(Debug)]
pub struct Sender {
    keys: Keys,
    master: MasterKey,
    /// Behind the latest sequence number that was seen: how often it has come round, and itself. None before the first.
    next: Option<u32>,
    rtcp_index: u32,
}

impl Sender {
    /// A sender before its first packet.
    pub fn new(master: MasterKey) -> Sender {
        Sender { keys: Keys::new(&master), master, next: None, rtcp_index: 0 }
    }

    /// The same source under another key: its packets are counted on (RFC 3711 section 3.3.1), those of RTCP as well.
    pub fn renewed(&self, master: MasterKey) -> Sender {
        Sender { next: self.next, rtcp_index: self.rtcp_index, ..Sender::new(master) }
    }

    /// The key, for whoever is to read the packets.
    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// Behind the latest sequence number; None before the first.
    pub fn next_sequence(&self) -> Option<u16> {
        self.next.map(|next| next as u16)
    }

    /// Bytes that each packet becomes longer by.
    pub fn overhead_bytes(&self) -> usize {
        self.keys.overhead_bytes()
    }

    /// How often sequence numbers have come round before the next packet.
    pub fn roc(&self) -> u32 {
        self.next.map_or(0, |next| next >> 16)
    }

    /// Whether sequence numbers have come round: who joins knows nothing of that unless it is told.
    pub fn has_come_round(&self) -> bool {
        self.roc() != 0
    }

    /// Notes that the packets before a sequence number exist, whether they are protected or not.
    pub fn note(&mut self, next_sequence: u16) {
        let next = self.extended(next_sequence);
        self.next = Some(self.next.map_or(next, |known| known.max(next)));
    }

    /// Counts from the beginning: another synchronization source begins.
    pub fn restart(&mut self) {
        self.next = None;
    }

    /// A batch whose packets are protected, under headers that `header` gives for each packet, or their own.
    pub fn protect(&mut self, batch: &Batch, header: impl Fn(&[u8]) -> Option<[u8; HEADER_BYTES]>) -> Batch {
        let keys = &self.keys;
        let mut next = self.next;
        let protected = batch.map(keys.overhead_bytes(), |packet, out| {
            let start = out.len();
            match header(packet) {
                Some(header) => {
                    out.extend_from_slice(&header);
                    out[start] = packet[0];
                    out.extend_from_slice(&packet[HEADER_BYTES..]);
                }
                None => out.extend_from_slice(packet),
            }
            let sequence = u16::from_be_bytes([out[start + 2], out[start + 3]]);
            let index = extended(next, sequence);
            next = Some(next.map_or(index.wrapping_add(1), |known| known.max(index.wrapping_add(1))));
            keys.protect_rtp(out, start, index >> 16);
        });
        self.next = next;
        protected
    }

    /// Protects the compound packet of RTCP that begins at `start` of `out` and ends it.
    pub fn protect_rtcp(&mut self, out: &mut BytesMut, start: usize) {
        self.rtcp_index = self.rtcp_index.wrapping_add(1) & (u32::MAX >> 1);
        self.keys.protect_rtcp(out, start, self.rtcp_index);
    }

    fn extended(&self, sequence: u16) -> u32 {
        extended(self.next, sequence)
    }
}

/// The number with its rounds in the upper half that is nearest to what comes next.
fn extended(next: Option<u32>, sequence: u16) -> u32 {
    let Some(next) = next else { return sequence.into() };
    let away = i32::from(sequence.wrapping_sub(next as u16) as i16);
    // Before the beginning lies nothing.
    next.checked_add_signed(away).unwrap_or(sequence.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_counted_up_and_looked_back_at() {
        assert_eq!(extended(None, 65_000), 65_000);
        assert_eq!(extended(Some(65_530), 65_535), 65_535);
        assert_eq!(extended(Some(65_530), 2), 65_538);
        assert_eq!(extended(Some(65_538), 65_530), 65_530);
        assert_eq!(extended(Some(3), 65_535), 65_535);
    }
}
