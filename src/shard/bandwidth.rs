//! Whether there is room for one more who plays (`max_bitrate_mbps`).
//!
//! What a viewer is expected to take is the average of the file, or the rate at which the live stream has come of late;
//! it is promised with PLAY and given back with PAUSE, the end, or the session. Beside the promises stands what was sent
//! within the last second: neither may go beyond the bound with the newcomer. What the rate of is not known yet, such as
//! a stream that has just begun, is let in while there is any room, and counts once it is sent.
//!
//! Whoever is sent a recording as fast as it can come has what it takes on average promised, and is held to a fair part of
//! what nobody was promised beside that. That part is taken back from whom the next one needs it.

use std::time::Duration;

use proto::rtsp::status::Status;
use proto::time::{MediaTime, Time};

use super::connection::Refusal;
use super::file::Pace;
use super::limits::LimitReached;
use super::session::{SessionKey, Source};
use super::turn::Shard;

/// Content over which the rate of a live stream is reckoned.
const METERED: Duration = Duration::from_secs(2);

/// Less content than this tells nothing of a rate.
const METERED_MIN: Duration = Duration::from_millis(500);

/// Above this scale a file is not sent faster, because only keyframes are left.
const SCALE_MAX: f64 = 2.0;

/// The rate of a live stream, by the times of its content.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    bytes: u64,
    since: Option<MediaTime>,
    latest: MediaTime,
    bits_per_second: Option<u64>,
}

impl Meter {
    /// Counts what came, with its decoding time.
    pub fn count(&mut self, bytes: usize, at: MediaTime) {
        let since = *self.since.get_or_insert(at);
        self.latest = self.latest.max(at);
        // What stands at the end belongs to the next stretch.
        if self.latest.since(since) >= METERED {
            self.bits_per_second = rate(self.bytes, self.latest.since(since));
            *self = Meter { bytes: 0, since: Some(at), latest: at, ..*self };
        }
        self.bytes += bytes as u64;
    }

    /// Bits a second; None when too little has come.
    pub fn bits_per_second(&self) -> Option<u64> {
        let span = self.latest.since(self.since?);
        self.bits_per_second.or_else(|| rate(self.bytes, span).filter(|_| span >= METERED_MIN))
    }
}

/// What the shard has sent, as it was last measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    at: Time,
    bits_per_second: u64,
}

impl Shard {
    /// Promises a session what its playing is expected to take.
    pub(super) fn promise(&mut self, key: SessionKey, pace: Pace) -> Result<(), Refusal> {
        let limits = &self.settings.limits;
        if !limits.has_bitrate() {
            return Ok(());
        }
        let session = &self.sessions[key];
        let rate = match &session.source {
            Source::File(file) => file.info.bits_per_second,
            Source::Replay(replay) => replay.info.bits_per_second,
            Source::Live(cursor) => {
                self.live.get(cursor.stream).and_then(|stream| stream.meter.bits_per_second())
            }
            // Whoever sends to the groups has it promised.
            Source::Member(_) | Source::Ingest(_) => return Ok(()),
        };
        let faster = pace.speed * if pace.scale <= SCALE_MAX { pace.scale } else { 1.0 };
        let needed = (rate.unwrap_or(0) as f64 * faster) as u64;
        let peer = session.peer;
        let promised = match &mut self.sessions[key].promise {
            Some(promise) => promise.raise(needed),
            none => limits.promise(needed).map(|promise| *none = Some(Box::new(promise))),
        };
        promised.map_err(|reached| self.over_limit(reached, peer))
    }

    /// Counts a client that a bound keeps out; what it is told.
    pub(super) fn over_limit(&mut self, reached: LimitReached, peer: std::net::SocketAddr) -> Refusal {
        self.refused.note(reached, peer);
        let status = match reached {
            LimitReached::Connections => Status::SERVICE_UNAVAILABLE,
            LimitReached::Sessions | LimitReached::SessionsPerIp | LimitReached::Bitrate => {
                Status::NOT_ENOUGH_BANDWIDTH
            }
        };
        Refusal::new(status, reached.to_string())
    }

    /// Measures what was sent since the last time, and says whom the bounds have kept out.
    pub(super) fn keep_limits(&mut self) {
        for (reached, count, last) in self.refused.take() {
            self.counted.refused += count;
            tracing::warn!(count, %last, "{reached}: clients are refused");
        }
        if let Some((count, error)) = self.refused.take_unaccepted() {
            tracing::warn!(count, %error, "connections wait: raise the limit of open files (ulimit -n)");
        }
        if !self.settings.limits.has_bitrate() {
            return;
        }
        let mut bytes = 0;
        for session in self.sessions.values_mut().filter(|it| !matches!(it.source, Source::Ingest(_))) {
            let sent = session.numbers.bytes - session.numbers.measured;
            session.numbers.measured = session.numbers.bytes;
            let taker = session.promise.as_ref().filter(|promise| promise.takes_rest());
            bytes += taker.map_or(sent, |taker| {
                let promised = u128::from(taker.bits_per_second()) * self.now.since(self.sent.at).as_nanos();
                sent.min((promised / 8 / 1_000_000_000) as u64)
            });
        }
        let before = self.sent.bits_per_second;
        let now = rate(bytes, self.now.since(self.sent.at)).unwrap_or(before);
        self.sent = Sent { at: self.now, bits_per_second: now };
        self.settings.limits.note_sent(before, now);
    }
}

fn rate(bytes: u64, over: Duration) -> Option<u64> {
    let nanos = over.as_nanos();
    (nanos > 0).then(|| (u128::from(bytes) * 8 * 1_000_000_000 / nanos) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_stream_is_that_of_its_content() {
        let mut meter = Meter::default();
        let at = |meter: &mut Meter, frame: i64| meter.count(5_000, MediaTime(frame * 40_000_000));
        at(&mut meter, 0);
        assert_eq!(meter.bits_per_second(), None);
        for frame in 1..25 {
            at(&mut meter, frame);
        }
        // 25 frames within 0.96 s: the first stands at no time of its own.
        assert!(meter.bits_per_second().is_some_and(|rate| (1_000_000..1_050_000).contains(&rate)));
        for frame in 25..200 {
            at(&mut meter, frame);
        }
        assert_eq!(meter.bits_per_second(), Some(1_000_000));
    }
}
