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
        /// Ticks from `from` to somewhere near what is mapped: at 90 kHz a timestamp alone comes round in 13 hours.
        near: i64,
    },
}

impl TimestampMap {
    /// The viewer's timestamp for a canonical one.
    pub fn apply(self, canonical: u32) -> u32 {
        match self {
            TimestampMap::Offset(offset) => canonical.wrapping_add(offset),
            TimestampMap::Scaled { from, to, scale, near } => {
                let beyond = canonical.wrapping_sub(from.wrapping_add(near as u32)) as i32;
                // Below 2^53, so that a float holds it: three thousand years at 90 kHz.
                let ticks = (near + i64::from(beyond)) as f64 / scale;
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
        let map = TimestampMap::Scaled { from: u32::MAX - 10, to: 1_000, scale: 2.0, near: 0 };
        assert_eq!(map.apply((u32::MAX - 10).wrapping_add(3_600)), 2_800);
        assert_eq!(map.apply((u32::MAX - 10).wrapping_sub(3_600)), 1_000u32.wrapping_sub(1_800));
    }

    /// Thirty days at 90 kHz.
    const LONG: i64 = 30 * 24 * 3_600 * 90_000;

    /// Half of a round of timestamps, less one.
    const HALF: i64 = i32::MAX as i64;

    proptest::proptest! {
        #[test]
        fn days_are_mapped_as_exactly_as_seconds_from_wherever_they_are_looked_at(
            (from, to) in proptest::prelude::any::<(u32, u32)>(),
            scale in 0.5..16.0,
            elapsed in -LONG..LONG,
            away in -HALF..HALF,
        ) {
            let map = TimestampMap::Scaled { from, to, scale, near: elapsed + away };
            let expected = to.wrapping_add((elapsed as f64 / scale).round() as i64 as u32);
            assert_eq!(map.apply(from.wrapping_add(elapsed as u32)), expected);
        }
    }
}
