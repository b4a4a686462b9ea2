//! A microphone of Windows, on a thread of its own: what belongs to one must stay there.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use proto::track::{Codec, Track};
use wasapi::{AudioClient, Direction, WasapiError};

use super::sound::{self, BYTES_A_MOMENT};
use crate::media::capture::samples::push_big_endian;
use crate::media::capture::wanted::Wanted;
use crate::media::capture::{Capture, Form, Taken};
use crate::media::library::MediaError;
use crate::media::playback::{CHANNELS, SAMPLE_RATE};

/// One packet of sound.
const PACKET: Duration = Duration::from_millis(20);

/// Bytes of it.
const PACKET_BYTES: usize = SAMPLE_RATE as usize / 50 * BYTES_A_MOMENT;

/// Packets that wait to be taken: a second. What comes beyond is lost.
const WAITING_MAX: usize = 50;

/// While nothing comes it is looked for this often.
const LOOK: Duration = Duration::from_millis(5);

/// A microphone that gives nothing for so long is let go for a moment, so that its thread sees whether anybody listens.
const SILENCE: Duration = Duration::from_millis(200);

/// A microphone that is open. Its thread ends with it.
pub(super) struct Microphone {
    taken: Receiver<Result<(Instant, Bytes), String>>,
    form: Form,
}

impl Microphone {
    /// Opens one by its name.
    pub(super) fn open(name: &str) -> Result<Microphone, MediaError> {
        let (give, taken) = sync_channel(WAITING_MAX);
        let name = name.to_owned();
        let hear = move || {
            let heard = sound::open(Direction::Capture, &name).and_then(|client| hear(&client, &give));
            if let Err(error) = heard {
                // Nobody listens any more where it is not taken.
                let _ = give.try_send(Err(format!("{name} cannot be heard: {error}")));
            }
        };
        thread::Builder::new()
            .name("microphone".into())
            .spawn(hear)
            .map_err(|error| MediaError::Broken(format!("no thread for sound: {error}")))?;
        let codec = Codec::L16 { sample_rate: SAMPLE_RATE, channels: CHANNELS };
        Ok(Microphone { taken, form: Form::Track(Track::new(codec, 0)) })
    }
}

impl Capture for Microphone {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        match self.taken.recv_timeout(SILENCE) {
            Ok(Ok((at, payload))) => Ok(Some(Taken { form: self.form.clone(), at, keyframe: true, payload })),
            Ok(Err(error)) => Err(MediaError::Broken(error)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(MediaError::Broken("the microphone is lost".to_owned()))
            }
        }
    }

    fn suits(&mut self, _: &Wanted) -> bool {
        true
    }
}

/// Gives what is heard, packet by packet, until nobody takes it.
fn hear(
    client: &AudioClient,
    give: &SyncSender<Result<(Instant, Bytes), String>>,
) -> Result<(), WasapiError> {
    let capture = client.get_audiocaptureclient()?;
    let mut heard = VecDeque::new();
    client.start_stream()?;
    loop {
        while capture.get_next_packet_size()?.is_some_and(|moments| moments > 0) {
            capture.read_from_device_to_deque(&mut heard)?;
        }
        while heard.len() >= PACKET_BYTES {
            let packet: Vec<u8> = heard.drain(..PACKET_BYTES).collect();
            let mut samples = BytesMut::new();
            push_big_endian(&mut samples, &packet);
            let later = PACKET * (heard.len() / PACKET_BYTES) as u32 + PACKET;
            let now = Instant::now();
            let at = now.checked_sub(later).unwrap_or(now);
            if let Err(TrySendError::Disconnected(_)) = give.try_send(Ok((at, samples.freeze()))) {
                return client.stop_stream();
            }
        }
        thread::sleep(LOOK);
    }
}
