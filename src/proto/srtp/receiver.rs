//! What one receiver takes: authentic packets, each once (RFC 3711 section 3.3).

use smallvec::SmallVec;

use super::SrtpError;
use super::keys::{Keys, MasterKey};

/// Synchronization sources that one receiver hears.
const SOURCES_MAX: usize = 8;

/// What has come of each source.
type Windows = SmallVec<[(u32, Window); 1]>;

/// The packets of a peer under its key.
#[derive(Debug)]
pub struct Receiver {
    keys: Keys,
    /// Counted on from key to key.
    rtp: Windows,
    /// Begins again with each key: some peers do.
    rtcp: Windows,
    /// The key before, under which packets may be on their way.
    previous: Option<Box<(Keys, Windows)>>,
}

/// Which packets have come, as far back as 64 (RFC 3711 section 3.3.2).
#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u64,
    /// Bit n: the one n before the highest has come.
    seen: u64,
}

impl Receiver {
    /// A receiver that has heard nothing yet.
    pub fn new(master: &MasterKey) -> Receiver {
        Receiver { keys: Keys::new(master), rtp: Windows::new(), rtcp: Windows::new(), previous: None }
    }

    /// Goes on under another key; what was on its way under the one before is still taken.
    pub fn renew(&mut self, master: &MasterKey) {
        let keys = std::mem::replace(&mut self.keys, Keys::new(master));
        self.previous = Some(Box::new((keys, std::mem::take(&mut self.rtcp))));
    }

    /// Adds the plain form of a packet of RTP to `plain`.
    pub fn handle_rtp(&mut self, packet: &[u8], plain: &mut Vec<u8>) -> Result<(), SrtpError> {
        let Some([_, _, high, low, _, _, _, _, ssrc @ ..]) = packet.first_chunk::<12>() else {
            return Err(SrtpError::Malformed);
        };
        let (ssrc, sequence) = (u32::from_be_bytes(*ssrc), u16::from_be_bytes([*high, *low]));
        let known = self.rtp.iter().position(|(source, _)| *source == ssrc);
        let index = match known {
            Some(place) => self.rtp[place].1.nearest(sequence),
            None => sequence.into(),
        };
        if known.is_some_and(|place| self.rtp[place].1.has(index)) {
            return Err(SrtpError::Replayed);
        }
        let roc = (index >> 16) as u32;
        match (self.keys.unprotect_rtp(packet, roc, plain), &self.previous) {
            (Ok(()), _) => {}
            (Err(_), Some(previous)) => previous.0.unprotect_rtp(packet, roc, plain)?,
            (Err(error), None) => return Err(error),
        }
        note(&mut self.rtp, known, ssrc, index)
    }

    /// Adds the plain form of a compound packet of RTCP to `plain`.
    pub fn handle_rtcp(&mut self, packet: &[u8], plain: &mut Vec<u8>) -> Result<(), SrtpError> {
        let Some([_, _, _, _, ssrc @ ..]) = packet.first_chunk::<8>() else {
            return Err(SrtpError::Malformed);
        };
        let ssrc = u32::from_be_bytes(*ssrc);
        match (take_rtcp(&self.keys, &mut self.rtcp, ssrc, packet, plain), &mut self.previous) {
            (Err(SrtpError::OtherKey | SrtpError::NotAuthentic | SrtpError::Malformed), Some(previous)) => {
                take_rtcp(&previous.0, &mut previous.1, ssrc, packet, plain)
            }
            (taken, _) => taken,
        }
    }
}

fn take_rtcp(
    keys: &Keys,
    windows: &mut Windows,
    ssrc: u32,
    packet: &[u8],
    plain: &mut Vec<u8>,
) -> Result<(), SrtpError> {
    let start = plain.len();
    let index = u64::from(keys.unprotect_rtcp(packet, plain)?);
    let known = windows.iter().position(|(source, _)| *source == ssrc);
    if known.is_some_and(|place| windows[place].1.has(index)) {
        plain.truncate(start);
        return Err(SrtpError::Replayed);
    }
    note(windows, known, ssrc, index)
}

/// Remembers what has come. Only what was authentic is, so that nobody else fills the list.
fn note(windows: &mut Windows, known: Option<usize>, ssrc: u32, index: u64) -> Result<(), SrtpError> {
    match known {
        Some(place) => windows[place].1.note(index),
        None if windows.len() < SOURCES_MAX => windows.push((ssrc, Window { highest: index, seen: 1 })),
        None => return Err(SrtpError::TooManySources),
    }
    Ok(())
}

impl Window {
    /// The index that a sequence number most likely means (RFC 3711 section 3.3.1).
    fn nearest(&self, sequence: u16) -> u64 {
        let away = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        self.highest.checked_add_signed(away).unwrap_or(sequence.into())
    }

    /// Whether it has come, or is too old to tell.
    fn has(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => false,
            Some(back @ 0..64) => self.seen >> back & 1 == 1,
            Some(_) => true,
        }
    }

    fn note(&mut self, index: u64) {
        match index.checked_sub(self.highest) {
            None | Some(0) => self.seen |= 1 << (self.highest - index).min(63),
            Some(ahead) => {
                self.seen = self.seen.checked_shl(ahead.min(64) as u32).unwrap_or(0) | 1;
                self.highest = index;
            }
        }
    }
}
