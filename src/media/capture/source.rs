//! A device, or one for pictures and one for sound, as a live stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Select};
use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Kind, Track};

use super::hub::{Event, Hub, Tap};
use super::{Device, Form, Taken};
use crate::media::format::{Choice, Format};
use crate::media::library::MediaError;
use crate::media::source::{Demand, Source};
use crate::media::transcode::plan::{self, AudioTarget, Decision, FRAMERATE_OF_SCREENS, VideoTarget};
use crate::media::transcode::{Convert, Keyframes, Makes};

/// How long a device may take to give something.
const START_MAX: Duration = Duration::from_secs(10);

/// Between two looks at whether anybody still watches, when nothing comes.
const IDLE: Duration = Duration::from_millis(200);

/// Between two tries to open a device that was lost.
const AGAIN: Duration = Duration::from_secs(1);

/// Ticks a second of pictures.
const PICTURE_CLOCK: u32 = 90_000;

/// Devices as one stream.
pub struct Captured {
    hub: Arc<Hub>,
    makes: Arc<dyn Makes + Send + Sync>,
    format: Format,
    keyframes: Keyframes,
    devices: Vec<Device>,
    lanes: Vec<Lane>,
    begins: Instant,
}

/// One device on its way into its track.
struct Lane {
    device: Device,
    tap: Option<Tap>,
    /// What it gave last, and what makes that anew; None where it passes.
    form: Form,
    way: Option<Box<dyn Convert>>,
    target: Target,
    index: u8,
    clock_rate: u32,
    /// What came before the stream began.
    first: Option<Taken>,
    lost: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Target {
    Passes,
    Pictures(VideoTarget),
    Sound(AudioTarget),
}

impl Captured {
    /// The stream of some devices in a format; what it does not say is H.264 and G.711, as large as it comes.
    pub fn new(
        hub: Arc<Hub>,
        makes: Arc<dyn Makes + Send + Sync>,
        keyframes: Keyframes,
        devices: Vec<Device>,
        mut format: Format,
    ) -> Captured {
        // A camera has a rate of its own.
        if devices.iter().any(|device| matches!(device, Device::Screen(_) | Device::Window(_))) {
            format.video.framerate = format.video.framerate.or(Some(FRAMERATE_OF_SCREENS));
        }
        Captured { hub, makes, format, keyframes, devices, lanes: Vec::new(), begins: Instant::now() }
    }

    fn is_wanted(&self, device: &Device) -> bool {
        match device.is_heard() {
            true => self.format.audio.codec != Choice::Drop,
            false => self.format.video.codec != Choice::Drop,
        }
    }

    fn lane(&self, device: &Device, index: u8) -> Result<(Lane, Track), MediaError> {
        let tap = self.hub.tap(device, &self.format)?;
        let first = match tap.events.recv_timeout(START_MAX) {
            Ok(Event::Taken(taken)) => taken,
            Ok(Event::Lost(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout) => {
                return Err(MediaError::Broken(format!("{device} gives nothing")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(MediaError::Broken(format!("{device} was lost")));
            }
        };
        let target = self.target(&first.form)?;
        let way = self.way(&first.form, target, index)?;
        let track = match (&way, &first.form) {
            (Some(converter), _) => converter.track().clone(),
            (None, Form::Track(track)) => track.moved_to(index),
            (None, Form::Pixels(_)) => return Err(MediaError::Broken("pixels do not pass".to_owned())),
        };
        let clock_rate = clock_rate(&first.form);
        let form = first.form.clone();
        let (device, tap, first) = (device.clone(), Some(tap), Some(first));
        Ok((Lane { device, tap, form, way, target, index, clock_rate, first, lost: None }, track))
    }

    /// What becomes of something that comes in a form.
    fn target(&self, form: &Form) -> Result<Target, MediaError> {
        let Format { video, audio } = &self.format;
        match form {
            Form::Pixels(shape) => Ok(Target::Pictures(plan::pictures((shape.width, shape.height), video))),
            Form::Track(track) if track.kind() == Kind::Audio => {
                Ok(Target::Sound(plan::sound_of_device(audio)))
            }
            Form::Track(track) => match plan::decide(track, &self.format).map_err(MediaError::Unsupported)? {
                Decision::Keep if plan::is_of_device(&track.codec, video) => Ok(Target::Passes),
                Decision::Keep => {
                    let size = track.size.unwrap_or((640, 480));
                    Ok(Target::Pictures(plan::pictures(size, video)))
                }
                Decision::Video(target) => Ok(Target::Pictures(target)),
                Decision::Drop | Decision::Audio(_) => Ok(Target::Passes),
            },
        }
    }

    fn way(&self, form: &Form, target: Target, index: u8) -> Result<Option<Box<dyn Convert>>, MediaError> {
        let made = match (form, target) {
            (_, Target::Passes) => return Ok(None),
            (Form::Pixels(shape), Target::Pictures(target)) => {
                self.makes.pixels(*shape, index, &target, self.keyframes)?
            }
            (Form::Track(track), Target::Pictures(target)) => {
                self.makes.video(track, index, &target, self.keyframes)?
            }
            (Form::Track(track), Target::Sound(target)) => self.makes.audio(track, index, &target)?,
            (Form::Pixels(_), Target::Sound(_)) => {
                return Err(MediaError::Broken("a microphone gives pictures".to_owned()));
            }
        };
        Ok(Some(made))
    }

    /// Passes on what a device gave.
    fn take(&self, lane: &mut Lane, taken: Taken, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        if lane.lost.take().is_some() {
            tracing::info!(device = %lane.device, "device is back");
        }
        if taken.form != lane.form {
            if lane.way.is_none() {
                return Err(MediaError::Broken(format!("{} gives something else than before", lane.device)));
            }
            lane.way = self.way(&taken.form, lane.target, lane.index)?;
            lane.clock_rate = clock_rate(&taken.form);
            lane.form = taken.form;
        }
        let since = taken.at.saturating_duration_since(self.begins);
        let pts = MediaTime(since.as_nanos() as i64).to_ticks(lane.clock_rate);
        let (keyframe, payload) = (taken.keyframe, taken.payload);
        let frame = Frame { track: lane.index, pts, dts: pts, duration: 0, keyframe, payload };
        match &mut lane.way {
            None => {
                out(frame);
                Ok(())
            }
            Some(converter) => {
                let index = lane.index;
                converter.push(&frame, &mut |made| out(Frame { track: index, ..made }))
            }
        }
    }

    /// Opens a device that was lost, now and then.
    fn try_again(&self, lane: &mut Lane) {
        let Some(lost) = lane.lost else { return };
        if lane.tap.is_none() && lost.elapsed() >= AGAIN {
            lane.lost = Some(Instant::now());
            lane.tap = self.hub.tap(&lane.device, &self.format).ok();
        }
    }
}

impl Source for Captured {
    fn tracks(&mut self) -> Result<Vec<Track>, MediaError> {
        let mut devices = std::mem::take(&mut self.devices);
        devices.retain(|device| self.is_wanted(device));
        let mut tracks = Vec::new();
        for device in devices {
            let (lane, track) = self.lane(&device, tracks.len() as u8)?;
            tracks.push(track);
            self.lanes.push(lane);
        }
        if tracks.is_empty() {
            let reason = "nothing of it is asked for: its codec is NONE";
            return Err(MediaError::Unsupported(reason.to_owned()));
        }
        self.begins =
            self.lanes.iter().filter_map(|lane| Some(lane.first.as_ref()?.at)).max().unwrap_or(self.begins);
        Ok(tracks)
    }

    fn run(mut self: Box<Self>, sink: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError> {
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut demand = Demand::More;
        let mut give = |frame: Option<Frame>, demand: &mut Demand| {
            let heard = sink(frame);
            // The latest word counts: somebody may have come after nobody was there.
            if (*demand, heard) != (Demand::Keyframe, Demand::More) {
                *demand = heard;
            }
        };
        for lane in &mut lanes {
            if let Some(taken) = lane.first.take() {
                self.take(lane, taken, &mut |frame| give(Some(frame), &mut demand))?;
            }
        }
        loop {
            match next(&lanes) {
                Some((at, Some(Event::Taken(taken)))) => {
                    self.take(&mut lanes[at], taken, &mut |frame| give(Some(frame), &mut demand))?;
                }
                Some((at, Some(Event::Lost(_)) | None)) => {
                    lanes[at].tap = None;
                    lanes[at].lost.get_or_insert_with(Instant::now);
                }
                None => give(None, &mut demand),
            }
            for lane in &mut lanes {
                self.try_again(lane);
                if demand == Demand::Keyframe
                    && let Some(converter) = &mut lane.way
                {
                    converter.want_keyframe();
                }
            }
            if std::mem::replace(&mut demand, Demand::More) == Demand::Nothing {
                return Ok(());
            }
        }
    }
}

/// What comes next, and of which lane; None when nothing came for a while. A lane whose capture has ended has no event.
fn next(lanes: &[Lane]) -> Option<(usize, Option<Event>)> {
    let mut select = Select::new();
    let mut places = Vec::with_capacity(lanes.len());
    for (at, lane) in lanes.iter().enumerate() {
        if let Some(tap) = &lane.tap {
            select.recv(&tap.events);
            places.push((at, &tap.events));
        }
    }
    if places.is_empty() {
        std::thread::sleep(IDLE);
        return None;
    }
    let ready = select.select_timeout(IDLE).ok()?;
    let (at, events) = places[ready.index()];
    Some((at, ready.recv(events).ok()))
}

fn clock_rate(form: &Form) -> u32 {
    match form {
        Form::Pixels(_) => PICTURE_CLOCK,
        Form::Track(track) => track.clock_rate,
    }
}
