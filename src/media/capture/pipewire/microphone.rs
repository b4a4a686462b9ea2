//! A microphone of PipeWire's.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use pipewire::keys;
use pipewire::spa::buffer::Data;
use pipewire::spa::param::audio::{AudioFormat, AudioInfoRaw};
use pipewire::spa::pod::Pod;
use proto::track::{Codec, Track};

use super::formats;
use super::nodes::Node;
use super::running::{Running, Taker, Wanted};
use crate::media::capture::samples::{SampleClock, push_big_endian};
use crate::media::capture::{Capture, Form, Taken, wanted};
use crate::media::library::MediaError;

/// Samples a second, which converters bring to what each viewer asks: one capture is for all of them.
const SAMPLE_RATE: u32 = 48_000;

/// Channels, which converters mix to what is asked.
const CHANNELS: u8 = 2;

/// Samples that shall come at once: 20 ms.
const PACKET_SAMPLES: u32 = SAMPLE_RATE / 50;

/// Bytes of one sample of all channels.
const SAMPLE_BYTES: usize = 2 * CHANNELS as usize;

/// Stretches of sound that wait for the thread of the capture. What comes beyond is left out.
const WAITING_MAX: usize = 32;

/// How long one that is silent is waited for, before its thread sees whether anybody listens.
const SILENCE: Duration = Duration::from_millis(200);

/// A microphone that is open.
pub(super) struct Microphone {
    running: Running,
    sounds: Receiver<(Instant, Bytes)>,
    form: Form,
}

impl Microphone {
    /// Opens one that is there.
    pub(super) fn open(node: &Node) -> Result<Microphone, MediaError> {
        let (sender, sounds) = bounded(WAITING_MAX);
        let properties = [
            (*keys::MEDIA_TYPE, "Audio".to_owned()),
            (*keys::MEDIA_CATEGORY, "Capture".to_owned()),
            (*keys::MEDIA_ROLE, "Production".to_owned()),
            (*keys::NODE_LATENCY, format!("{PACKET_SAMPLES}/{SAMPLE_RATE}")),
            (*keys::TARGET_OBJECT, node.name.clone()),
            // Another one in its place would be something else under the same path.
            (*keys::NODE_DONT_RECONNECT, "true".to_owned()),
        ];
        let wanted = Wanted {
            remote: None,
            properties: properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            target: None,
            watched: Some(node.id),
            format: formats::sound(SAMPLE_RATE, CHANNELS.into())?,
            buffers: Vec::new(),
        };
        let ear = Ear { sounds: sender, clock: SampleClock::default(), heard: BytesMut::new() };
        let running = Running::start(wanted, ear)?;
        let codec = Codec::L16 { sample_rate: SAMPLE_RATE, channels: CHANNELS };
        Ok(Microphone { running, sounds, form: Form::Track(Track::new(codec, 0)) })
    }
}

impl Capture for Microphone {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        match self.sounds.recv_timeout(SILENCE) {
            Ok((at, payload)) => Ok(Some(Taken { form: self.form.clone(), at, keyframe: true, payload })),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.running.reason()),
        }
    }

    /// It always comes in one form.
    fn suits(&mut self, _: &wanted::Wanted) -> bool {
        true
    }
}

/// What hears, on PipeWire's thread.
struct Ear {
    sounds: Sender<(Instant, Bytes)>,
    clock: SampleClock,
    /// What has come at once.
    heard: BytesMut,
}

impl Taker for Ear {
    fn agree(&mut self, format: &Pod) -> Result<(), String> {
        let mut sound = AudioInfoRaw::new();
        let is_read = sound.parse(format).is_ok();
        let found = (sound.format(), sound.rate(), sound.channels());
        if is_read && found == (AudioFormat::S16LE, SAMPLE_RATE, CHANNELS.into()) {
            return Ok(());
        }
        Err(format!("PipeWire gives other sound than is asked for: {found:?}"))
    }

    fn take(&mut self, data: &mut [Data]) -> Result<(), String> {
        let Some(data) = data.first_mut() else { return Ok(()) };
        let (offset, size) = (data.chunk().offset() as usize, data.chunk().size() as usize);
        let samples = data.data().and_then(|bytes| bytes.get(offset..offset.checked_add(size)?));
        push_big_endian(&mut self.heard, samples.unwrap_or_default());
        Ok(())
    }

    fn flush(&mut self) {
        let payload = self.heard.split().freeze();
        let samples = (payload.len() / SAMPLE_BYTES) as u32;
        if samples == 0 {
            return;
        }
        let at = self.clock.place(Instant::now(), Duration::from_secs(1) * samples / SAMPLE_RATE);
        let _ = self.sounds.try_send((at, payload));
    }
}
