//! A device, or one for pictures and one for sound, as a live stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Select};
use proto::frame::Frame;
use proto::rtp::packetize::jpeg;
use proto::time::MediaTime;
use proto::track::{Codec, Kind, Track};

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
        let target = self.target(&first)?;
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
    fn target(&self, first: &Taken) -> Result<Target, MediaError> {
        let Format { video, audio } = &self.format;
        match &first.form {
            Form::Pixels(shape) => Ok(Target::Pictures(plan::pictures((shape.width, shape.height), video))),
            Form::Track(track) if track.kind() == Kind::Audio => {
                Ok(Target::Sound(plan::sound_of_device(audio)))
            }
            Form::Track(track) => {
                match plan::pictures_of_device(track, video).map_err(MediaError::Unsupported)? {
                    Decision::Keep if can_be_sent(first) => Ok(Target::Passes),
                    Decision::Keep => {
                        let size = track.size.unwrap_or((640, 480));
                        Ok(Target::Pictures(plan::pictures(size, video)))
                    }
                    Decision::Video(target) => Ok(Target::Pictures(target)),
                    Decision::Drop | Decision::Audio(_) => Ok(Target::Passes),
                }
            }
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
            if lane.way.is_none() && !goes_on(&lane.form, &taken.form) {
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

/// Whether RTP has a way to say what a device has coded.
fn can_be_sent(first: &Taken) -> bool {
    let Form::Track(Track { codec: Codec::Jpeg, .. }) = first.form else { return true };
    let checked = jpeg::check(&first.payload);
    if let Err(reason) = checked {
        tracing::info!(reason, "pictures of a camera are made anew");
    }
    checked.is_ok()
}

/// Whether viewers who get something as it is can go on with something else: parameter sets that differ stand in it.
fn goes_on(before: &Form, after: &Form) -> bool {
    let (Form::Track(before), Form::Track(after)) = (before, after) else { return false };
    std::mem::discriminant(&before.codec) == std::mem::discriminant(&after.codec) && before.size == after.size
}

fn clock_rate(form: &Form) -> u32 {
    match form {
        Form::Pixels(_) => PICTURE_CLOCK,
        Form::Track(track) => track.clock_rate,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use proto::track::Framing;

    use super::super::wanted::Wanted;
    use super::super::{Capture, Devices, Found};
    use super::*;
    use crate::media::transcode::Absent;

    /// A camera that gives what it is told to, and is unplugged and plugged in again behind each run of it.
    struct Camera(Mutex<Vec<Vec<Taken>>>);

    struct Run(std::vec::IntoIter<Taken>);

    impl Devices for Camera {
        fn open(&self, _: &Device, _: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
            let run = self.0.lock().unwrap().pop().ok_or(MediaError::NotFound)?;
            Ok(Box::new(Run(run.into_iter())))
        }

        fn list(&self) -> Vec<Result<Found, String>> {
            Vec::new()
        }
    }

    impl Capture for Run {
        fn take(&mut self) -> Result<Option<Taken>, MediaError> {
            self.0.next().map(Some).ok_or_else(|| MediaError::Broken("unplugged".to_owned()))
        }

        fn suits(&mut self, _: &Wanted) -> bool {
            true
        }
    }

    fn taken(codec: Codec, size: (u32, u32), payload: &'static [u8]) -> Taken {
        let mut track = Track::new(codec, 0);
        track.size = Some(size);
        let (form, payload) = (Form::Track(track), Bytes::from_static(payload));
        Taken { form, at: Instant::now(), keyframe: true, payload }
    }

    fn h264(set: u8) -> Codec {
        let sets = |kind| vec![Bytes::from(vec![kind, set])];
        Codec::H264 { sps: sets(0x67), pps: sets(0x68), framing: Framing::AnnexB }
    }

    /// What comes of a camera's runs until it has ended, or so many frames have come.
    fn played(mut runs: Vec<Vec<Taken>>, asked: &str, frames: usize) -> (Vec<Bytes>, Result<(), MediaError>) {
        runs.reverse();
        let hub = Arc::new(Hub::new(Arc::new(Camera(Mutex::new(runs)))));
        let parameters: Vec<_> = asked
            .split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let format = Format::default().with_parameters(&parameters).unwrap();
        let devices = vec![Device::Camera(0)];
        let mut source = Box::new(Captured::new(hub, Arc::new(Absent), Keyframes::OnGrid, devices, format));
        let mut payloads = Vec::new();
        let result = source.tracks().and_then(|_| {
            source.run(&mut |frame| {
                payloads.extend(frame.map(|frame| frame.payload));
                if payloads.len() >= frames { Demand::Nothing } else { Demand::More }
            })
        });
        (payloads, result)
    }

    #[test]
    fn what_a_camera_has_coded_passes_also_when_it_comes_back_with_other_parameter_sets() {
        let runs = vec![
            vec![taken(h264(1), (640, 480), b"one"), taken(h264(1), (640, 480), b"two")],
            vec![taken(h264(2), (640, 480), b"three")],
        ];
        let (payloads, result) = played(runs, "", 3);
        assert_eq!(payloads, ["one", "two", "three"]);
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn a_camera_that_comes_back_with_another_size_ends_what_was_passed_on() {
        let runs = vec![vec![taken(h264(1), (640, 480), b"one")], vec![taken(h264(1), (320, 240), b"two")]];
        let (payloads, result) = played(runs, "", 2);
        assert_eq!(payloads, ["one"]);
        let reason = "videodevice gives something else than before";
        assert_eq!(result, Err(MediaError::Broken(reason.to_owned())));
    }

    #[test]
    fn pictures_in_another_codec_than_is_asked_for_are_made_anew() {
        let run = |codec| vec![vec![taken(codec, (640, 480), b"\xff\xd8\xff\xd9")]];
        // They would be, if this build could.
        for (codec, asked) in [
            (Codec::Jpeg, ""),
            (Codec::Jpeg, "w=320"),
            (Codec::Jpeg, "ve=H264"),
            (h264(1), "ve=JPEG"),
            (h264(1), "w=320"),
        ] {
            let (_, result) = played(run(codec), asked, 1);
            assert!(matches!(result, Err(MediaError::Unsupported(_))), "{asked}: {result:?}");
        }
    }

    #[test]
    fn a_jpeg_that_rtp_cannot_say_is_not_passed_on() {
        let run = || vec![vec![taken(Codec::Jpeg, (640, 480), b"\xff\xd8\xff\xd9")]];
        // It would be made anew, if this build could.
        assert!(matches!(played(run(), "ve=JPEG", 1), (_, Err(MediaError::Unsupported(_)))));
    }
}
