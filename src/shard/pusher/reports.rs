//! Sender reports of a pushed stream, used once every track has one.
//!
//! Many senders report on one track alone, or to a port where nobody hears them. Their wall clock may be seconds off:
//! a track that follows it beside one that follows its packets' arrival would have lost its lip sync.

use proto::rtcp::report::SenderInfo;
use proto::time::NtpTime;
use smallvec::SmallVec;

use crate::stream::relay::Relay;

/// Sources whose reports are kept; of more, the oldest that is no track's is forgotten.
const SOURCES_MAX: usize = 8;

/// The latest reports of all sources.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Each with our own wall clock when it came.
    latest: SmallVec<[(SenderInfo, NtpTime); 2]>,
    /// Whether every track follows its reports.
    is_settled: bool,
}

impl Reports {
    /// Takes one more report. A sender whose reports go to the port above its media's reaches the neighbour's track:
    /// the source that it names says whose it is.
    pub(super) fn handle(&mut self, info: SenderInfo, wall: NtpTime, relay: &mut Relay, track_count: u8) {
        let track_of = |ssrc| (0..track_count).find(|track| relay.source(*track) == Some(ssrc));
        let track = track_of(info.ssrc);
        self.latest.retain(|(other, _)| other.ssrc != info.ssrc);
        if self.latest.len() >= SOURCES_MAX {
            let oldest = self.latest.iter().position(|(other, _)| track_of(other.ssrc).is_none());
            self.latest.remove(oldest.unwrap_or(0));
        }
        self.latest.push((info, wall));
        if let Some(track) = track.filter(|_| self.is_settled) {
            relay.handle_report(track, &info, wall);
        }
    }

    /// Lets all tracks follow their reports, if there is one of each.
    pub(super) fn settle(&mut self, relay: &mut Relay, track_count: u8) {
        if self.is_settled || self.latest.len() < usize::from(track_count) {
            return;
        }
        let of = |track| self.latest.iter().find(|(info, _)| relay.source(track) == Some(info.ssrc)).copied();
        let Some(all) = (0..track_count).map(of).collect::<Option<SmallVec<[_; 2]>>>() else { return };
        for ((info, wall), track) in all.into_iter().zip(0..) {
            relay.handle_report(track, &info, wall);
        }
        self.is_settled = true;
    }

    /// A track has another sender than this source.
    pub(super) fn forget(&mut self, source: Option<u32>) {
        self.latest.retain(|(info, _)| Some(info.ssrc) != source);
        self.is_settled = false;
    }
    /// Whether every track follows its reports.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// How many sources have reported.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.latest.len()
    }
}
