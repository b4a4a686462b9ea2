//! How one viewer's packet numbers follow from the shared ones: an affine map.

use proto::rtp::batch::Batch;

/// From canonical numbers to one viewer's. The identity costs nothing: the shared bytes leave as they lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbering {
    /// The viewer's synchronization source.
    pub ssrc: u32,
    /// Added to every canonical sequence number.
    pub sequence_delta: u16,
    /// How timestamps are mapped.
    pub timestamp: TimestampMap,
}

/// From canonical RTP timestamps to one viewer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimestampMap {
    /// Content runs at its own speed: a constant is added.
    Offset(u32),
    /// Content runs faster or slower: ticks since `from` are divided by `scale` and counted on from `to`.
    Scaled {
        /// Canonical timestamp where this stretch of playing began.
        from: u32,
        /// The viewer's timestamp of the same moment.
        to: u32,
        /// Content seconds a second.
        scale: f64,
    },
}

impl TimestampMap {
    /// The viewer's timestamp for a canonical one.
    pub fn apply(self, canonical: u32) -> u32 {
        match self {
            TimestampMap::Offset(offset) => canonical.wrapping_add(offset),
            TimestampMap::Scaled { from, to, scale } => {
                let ticks = f64::from(canonical.wrapping_sub(from) as i32) / scale;
                to.wrapping_add(ticks.round() as i64 as u32)
            }
        }
    }
}

impl Numbering {
    /// The canonical numbers themselves.
    pub fn identity(ssrc: u32) -> Numbering {
        Numbering { ssrc, sequence_delta: 0, timestamp: TimestampMap::Offset(0) }
    }

    /// Whether this viewer receives the batch's bytes unchanged.
    pub fn is_identity_for(&self, batch: &Batch) -> bool {
        self.sequence_delta == 0 && self.timestamp == TimestampMap::Offset(0) && self.ssrc == batch.ssrc()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_wraps() {
        assert_eq!(TimestampMap::Offset(10).apply(u32::MAX), 9);
    }

    #[test]
    fn twice_the_speed_halves_the_ticks() {
        let map = TimestampMap::Scaled { from: u32::MAX - 10, to: 1_000, scale: 2.0 };
        assert_eq!(map.apply((u32::MAX - 10).wrapping_add(3_600)), 2_800);
        assert_eq!(map.apply((u32::MAX - 10).wrapping_sub(3_600)), 1_000u32.wrapping_sub(1_800));
    }
}
