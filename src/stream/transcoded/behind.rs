//! Is a stream made anew as fast as it comes? Where it is not, pictures are left out and sound goes on, so that both stay
//! together and near to the present.

use std::time::{Duration, Instant};

use proto::time::MediaTime;

use crate::stream::catalog::StreamName;

/// So far behind, pictures are decoded and not encoded, which takes most of the time.
const LATE: Duration = Duration::from_millis(400);

/// Until it is no farther behind than this.
const CAUGHT_UP: Duration = Duration::from_millis(100);

/// So far behind, nothing is decoded before the next keyframe.
const LOST: Duration = Duration::from_secs(2);

/// Between two lines about it in the log.
const SAID_MIN: Duration = Duration::from_secs(10);

/// What is done with pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// They are made anew.
    Whole,
    /// They are decoded, for the sake of those that follow.
    Unseen,
    /// Nothing, until one comes that stands alone.
    Nothing,
}

/// How far a stream is behind.
pub struct Behind {
    name: StreamName,
    /// When something came that had been waited for, and what time it was of: nothing was behind then.
    anchor: Option<(Instant, MediaTime)>,
    pace: Pace,
    said: Option<Instant>,
}

impl Behind {
    pub fn new(name: StreamName) -> Behind {
        Behind { name, anchor: None, pace: Pace::Whole, said: None }
    }

    /// What came by then was of no later time.
    pub fn begin(&mut self, at: Instant, newest: MediaTime) {
        self.anchor = Some((at, newest));
    }

    /// What is to be done with what has come, of a decoding time; whether it had been waited for.
    pub fn pace(&mut self, was_waited_for: bool, dts: MediaTime) -> Pace {
        let now = Instant::now();
        let Some((then, time)) = self.anchor.filter(|_| !was_waited_for) else {
            self.anchor = Some((now, dts));
            self.pace = Pace::Whole;
            return self.pace;
        };
        let lag = (now - then).saturating_sub(dts.since(time));
        let before = self.pace;
        self.pace = match before {
            _ if lag > LOST => Pace::Nothing,
            Pace::Whole if lag > LATE => Pace::Unseen,
            Pace::Unseen | Pace::Nothing if lag > CAUGHT_UP => before,
            _ => Pace::Whole,
        };
        if self.pace != Pace::Whole
            && before == Pace::Whole
            && self.said.is_none_or(|said| said.elapsed() >= SAID_MIN)
        {
            self.said = Some(now);
            tracing::warn!(
                stream = %self.name,
                behind_ms = lag.as_millis() as u64,
                "the machine is too slow to make this stream anew: pictures are left out; ask for less, or set \
                 max_transcodes to fewer"
            );
        }
        self.pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(lag: Duration) -> Behind {
        let mut behind = Behind::new(StreamName::plain("a".into()));
        behind.anchor = Some((Instant::now() - lag, MediaTime::ZERO));
        behind
    }

    #[test]
    fn pictures_are_left_out_as_far_as_the_stream_is_behind() {
        let paces = [(50, Pace::Whole), (800, Pace::Unseen), (2_500, Pace::Nothing)];
        for (ms, pace) in paces {
            assert_eq!(behind(Duration::from_millis(ms)).pace(false, MediaTime::ZERO), pace, "{ms}");
        }
    }

    #[test]
    fn it_is_not_behind_when_it_had_to_wait_or_content_went_on_as_fast() {
        let mut late = behind(Duration::from_secs(5));
        assert_eq!(late.pace(false, MediaTime::from_secs_f64(4.95)), Pace::Whole);
        assert_eq!(late.pace(true, MediaTime::from_secs_f64(1.0)), Pace::Whole);
        assert_eq!(late.pace(false, MediaTime::from_secs_f64(1.0)), Pace::Whole);
    }

    #[test]
    fn pictures_come_back_only_when_the_present_is_near() {
        let mut late = behind(Duration::from_millis(800));
        assert_eq!(late.pace(false, MediaTime::ZERO), Pace::Unseen);
        assert_eq!(late.pace(false, MediaTime::from_secs_f64(0.5)), Pace::Unseen);
        assert_eq!(late.pace(false, MediaTime::from_secs_f64(0.75)), Pace::Whole);
    }
}
