//! A screen that a portal has handed out, at the rate that is asked for: a desktop sends a picture when something has
//! changed, and a player waits for the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipewire::keys;

use super::formats;
use super::pictures::{Eye, Latest};
use super::portal::{Portal, Session};
use super::running::{Running, Wanted};
use crate::media::capture::{Capture, Form, Taken, wanted};
use crate::media::format::Framerate;
use crate::media::library::MediaError;
use crate::media::transcode::plan::FRAMERATE_OF_SCREENS;

/// Pictures a second that a desktop may send where fewer are asked for: somebody else may want more.
const RATE_MAX: u32 = 30;

/// The first picture is looked for this often.
const LOOK: Duration = Duration::from_millis(10);

/// What the desktop says when it ends a session may come behind the end of the pictures.
const GOODBYE: Duration = Duration::from_millis(300);

/// How long nothing comes before the thread of a capture sees whether anybody watches.
const SILENCE: Duration = Duration::from_millis(200);

/// A screen that is open. What is declared first is closed first.
pub(super) struct Screen {
    running: Running,
    session: Session,
    portal: Arc<Portal>,
    index: u32,
    latest: Latest,
    rate: Framerate,
    /// None before the first picture.
    clock: Option<Clock>,
    /// Pictures a second that the desktop was asked for.
    rate_max: u32,
}

impl Screen {
    /// Opens the screen of an index, once the desktop's user has chosen it.
    pub(super) fn open(portal: &Arc<Portal>, index: u32, rate: Framerate) -> Result<Screen, MediaError> {
        let mut session = portal.session(index)?;
        let rate_max = rate.thousandths().div_ceil(1_000).max(RATE_MAX);
        let latest = Latest::default();
        let properties = [
            (*keys::MEDIA_TYPE, "Video"),
            (*keys::MEDIA_CATEGORY, "Capture"),
            (*keys::MEDIA_ROLE, "Screen"),
            // Another screen in its place would be something else under the same path.
            (*keys::NODE_DONT_RECONNECT, "true"),
        ];
        let wanted = Wanted {
            remote: session.remote.take(),
            properties: properties
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            target: Some(session.node),
            watched: Some(session.node),
            format: formats::pictures(rate_max)?,
            buffers: formats::memory()?,
        };
        let running = Running::start(wanted, Eye::new(latest.clone()))?;
        let portal = portal.clone();
        Ok(Screen { running, session, portal, index, latest, rate, clock: None, rate_max })
    }
}

impl Screen {
    /// The desktop's user has ended it.
    fn withdrawn(&self) -> MediaError {
        self.portal.was_withdrawn(self.index);
        MediaError::Broken("the desktop has ended it".to_owned())
    }
}

impl Capture for Screen {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        if self.session.is_withdrawn_within(Duration::ZERO) {
            return Err(self.withdrawn());
        }
        if self.clock.is_none() && self.latest.picture().is_some() {
            self.clock = Some(Clock::new(Instant::now(), self.rate));
        }
        let wait = self.clock.as_ref().map_or(LOOK, |clock| clock.wait(Instant::now()).min(SILENCE));
        if let Some(error) = self.running.lost_within(wait) {
            let is_withdrawn = self.session.is_withdrawn_within(GOODBYE);
            return Err(if is_withdrawn { self.withdrawn() } else { error });
        }
        let Some(at) = self.clock.as_mut().and_then(|clock| clock.tick(Instant::now())) else {
            return Ok(None);
        };
        let Some((shape, payload)) = self.latest.picture() else { return Ok(None) };
        Ok(Some(Taken { form: Form::Pixels(shape), at, keyframe: true, payload }))
    }

    /// As many pictures a second as are wanted, up to those that the desktop sends: it is not asked again for that.
    fn suits(&mut self, wanted: &wanted::Wanted) -> bool {
        let rate = wanted.video.framerate.unwrap_or(FRAMERATE_OF_SCREENS);
        if rate.thousandths() <= self.rate.thousandths() {
            return true;
        }
        let is_sent = rate.thousandths() <= self.rate_max * 1_000;
        if is_sent {
            self.rate = rate;
        }
        if let Some(clock) = self.clock.as_mut().filter(|_| is_sent) {
            clock.interval = interval(rate);
        }
        is_sent
    }
}

/// When pictures are due.
struct Clock {
    interval: Duration,
    due: Instant,
}

impl Clock {
    fn new(begin: Instant, rate: Framerate) -> Clock {
        Clock { interval: interval(rate), due: begin }
    }

    fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// When the picture that is due was due; None while none is. Those that were missed are left out.
    fn tick(&mut self, now: Instant) -> Option<Instant> {
        let late = now.checked_duration_since(self.due)?;
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        let due = self.due + self.interval * u32::try_from(missed).unwrap_or(u32::MAX);
        self.due = due + self.interval;
        Some(due)
    }
}

fn interval(rate: Framerate) -> Duration {
    Duration::from_secs(1_000) / rate.thousandths().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_due_as_far_from_each_other_however_late_they_are_looked_for() {
        let begin = Instant::now();
        let mut clock = Clock::new(begin, Framerate::whole(10));
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(clock.tick(at(3)), Some(at(0)));
        assert_eq!(clock.tick(at(99)), None);
        assert_eq!(clock.wait(at(99)), Duration::from_millis(1));
        assert_eq!(clock.tick(at(130)), Some(at(100)));
        // The machine slept: what was missed is not made up for.
        assert_eq!(clock.tick(at(555)), Some(at(500)));
        assert_eq!(clock.tick(at(556)), None);
        assert_eq!(clock.tick(at(600)), Some(at(600)));
    }
}
