//! What viewers say, heard where the server is: received, put in order, decoded and played.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use proto::frame::Frame;
use proto::rtp::depacketize::Depacketizer;
use proto::rtp::header::Header;
use proto::rtp::reorder::{Place, Reorder};
use proto::time::Time;
use proto::track::Track;

use super::library::MediaError;

/// Samples a second of what is played.
pub const SAMPLE_RATE: u32 = 48_000;

/// Channels of what is played.
pub const CHANNELS: u8 = 2;

/// Packets that wait to be played. What comes beyond is lost.
const WAITING_MAX: usize = 64;

/// What has waited for so long is too late to be heard.
const LATE: Duration = Duration::from_millis(400);

/// Threads beyond the talkers that may play at once: one that was just left may still be closing its device.
const CLOSING_MAX: usize = 1;

/// Packets in a row that find no room before nothing is played any more.
const FULL_MAX: usize = 250;

/// What is early waits, and silence is noticed, in steps of this.
const STEP: Duration = Duration::from_millis(20);

/// Silence before the first that is heard, so that what comes a little later is not missed.
const AHEAD: Duration = Duration::from_millis(80);

/// Who has said nothing for so long begins anew.
const PAUSE: Duration = Duration::from_millis(300);

/// Longest silence that is put where packets are missing.
const GAP_MAX: Duration = Duration::from_secs(1);

/// Something that makes sound.
pub trait Loudspeaker: Send {
    /// Plays samples of both channels by turns; waits while there is no room.
    fn play(&mut self, samples: &[i16]) -> Result<(), MediaError>;
}

/// Decodes what one talker says in one format.
pub trait Decode: Send {
    /// Samples of both channels by turns, at [`SAMPLE_RATE`].
    fn decode(&mut self, frame: &Frame) -> Result<Vec<i16>, MediaError>;
}

/// The loudspeakers of this machine.
pub trait Loudspeakers: Send + Sync + fmt::Debug {
    /// Opens one by its name; empty is the system's own choice.
    fn open(&self, name: &str) -> Result<Box<dyn Loudspeaker>, MediaError>;

    /// A decoder of a format.
    fn decoder(&self, format: &Track) -> Result<Box<dyn Decode>, MediaError>;

    /// Names and descriptions of all, or why they cannot be listed.
    fn list(&self) -> Result<Vec<(String, String)>, String>;
}

/// A build that can play nothing.
#[derive(Debug)]
pub struct NoLoudspeakers;

impl Loudspeakers for NoLoudspeakers {
    fn open(&self, _: &str) -> Result<Box<dyn Loudspeaker>, MediaError> {
        Err(MediaError::Unsupported("this build plays no sound; it lacks the feature ffmpeg".to_owned()))
    }

    fn decoder(&self, _: &Track) -> Result<Box<dyn Decode>, MediaError> {
        self.open("").and(Err(MediaError::NotFound))
    }

    fn list(&self) -> Result<Vec<(String, String)>, String> {
        Err("this build plays no sound; it lacks the feature ffmpeg".to_owned())
    }
}

/// The loudspeakers that this build can open.
#[cfg(feature = "ffmpeg")]
pub fn system() -> Arc<dyn Loudspeakers> {
    Arc::new(super::ffmpeg::playback::SystemLoudspeakers)
}

/// The loudspeakers that this build can open.
#[cfg(not(feature = "ffmpeg"))]
pub fn system() -> Arc<dyn Loudspeakers> {
    Arc::new(NoLoudspeakers)
}

/// One talker, played on a thread of its own until this is dropped.
#[derive(Debug)]
pub struct Voice {
    packets: Sender<(Instant, Bytes)>,
    /// Packets in a row that found no room.
    full: usize,
    failure: Arc<OnceLock<String>>,
}

/// All talkers that were played since the program began, to count those whose threads still run.
#[derive(Clone, Debug, Default)]
pub struct Voices(Arc<()>);

impl Voice {
    /// Begins to play what comes in these formats, on a loudspeaker by its name, beside other talkers of whom there may
    /// be `talkers` in all. An error when the system grants no thread, or those of earlier talkers hang.
    pub fn begin(
        voices: &Voices,
        talkers: usize,
        loudspeakers: Arc<dyn Loudspeakers>,
        name: &str,
        formats: Arc<[Track]>,
    ) -> Result<Voice, String> {
        if Arc::strong_count(&voices.0) > talkers + CLOSING_MAX {
            return Err("the loudspeaker does not answer".to_owned());
        }
        let (packets, received) = bounded(WAITING_MAX);
        let (name, counted) = (name.to_owned(), voices.clone());
        let failure = Arc::new(OnceLock::new());
        let told = failure.clone();
        let spawned = thread::Builder::new().name("loudspeaker".into()).spawn(move || {
            let _counted = counted;
            let mut playing = Playing::new(&*loudspeakers, &formats);
            if let Err(error) = playing.run(&name, &received) {
                tracing::error!(device = %name, %error, "what a viewer says cannot be played");
                let _ = told.set(error.to_string());
            }
        });
        spawned.map_err(|error| format!("no thread for sound: {error}"))?;
        Ok(Voice { packets, full: 0, failure })
    }

    /// Takes one RTP packet. An error when nothing is played any more.
    pub fn say(&mut self, packet: Bytes) -> Result<(), String> {
        match self.packets.try_send((Instant::now(), packet)) {
            Ok(()) => self.full = 0,
            Err(TrySendError::Full(_)) if self.full < FULL_MAX => self.full += 1,
            Err(TrySendError::Full(_)) => return Err("the loudspeaker does not answer".to_owned()),
            Err(TrySendError::Disconnected(_)) => {
                let reason = self.failure.get().cloned();
                return Err(reason.unwrap_or_else(|| "what was said could not be played".to_owned()));
            }
        }
        Ok(())
    }
}

/// What is known of one talker.
struct Playing<'a> {
    loudspeakers: &'a dyn Loudspeakers,
    formats: &'a [Track],
    begun: Instant,
    /// Synchronization source of the packets.
    ssrc: Option<u32>,
    reorder: Reorder,
    /// By payload type.
    decoders: HashMap<u8, Format>,
    /// The RTP timestamp that would come next, and of which payload type.
    next: Option<(u8, u32)>,
    /// When something was played last.
    heard: Option<Instant>,
}

struct Format {
    depacketizer: Depacketizer,
    decoder: Box<dyn Decode>,
    clock_rate: u32,
}

impl Playing<'_> {
    fn new<'a>(loudspeakers: &'a dyn Loudspeakers, formats: &'a [Track]) -> Playing<'a> {
        Playing {
            loudspeakers,
            formats,
            begun: Instant::now(),
            ssrc: None,
            reorder: Reorder::new(),
            decoders: HashMap::new(),
            next: None,
            heard: None,
        }
    }

    fn run(&mut self, name: &str, received: &Receiver<(Instant, Bytes)>) -> Result<(), MediaError> {
        let mut loudspeaker = self.loudspeakers.open(name)?;
        loop {
            match received.recv_timeout(STEP) {
                // What follows is not early for that.
                Ok((came, _)) if came.elapsed() > LATE => self.begin_anew(),
                Ok((_, packet)) => self.place(packet, &mut *loudspeaker)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // What the system still has is heard before it is closed.
                    return loudspeaker.play(&vec![0; samples_of(PAUSE)]);
                }
            }
            while let Some(packet) = self.reorder.poll(self.now()) {
                self.play(&packet, &mut *loudspeaker)?;
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_nanos(self.begun.elapsed().as_nanos() as u64)
    }

    fn begin_anew(&mut self) {
        self.reorder = Reorder::new();
        self.decoders.clear();
        self.next = None;
    }

    fn place(&mut self, packet: Bytes, loudspeaker: &mut dyn Loudspeaker) -> Result<(), MediaError> {
        let Some((header, _)) = Header::parse(&packet) else { return Ok(()) };
        if self.ssrc.replace(header.ssrc).is_some_and(|before| before != header.ssrc) {
            self.begin_anew();
        }
        match self.reorder.place(header.sequence) {
            Place::Next => self.play(&packet, loudspeaker),
            Place::Early => {
                self.reorder.hold(self.now(), header.sequence, packet);
                Ok(())
            }
            Place::Late => Ok(()),
        }
    }

    fn play(&mut self, packet: &[u8], loudspeaker: &mut dyn Loudspeaker) -> Result<(), MediaError> {
        let Some((header, _)) = Header::parse(packet) else { return Ok(()) };
        let payload_type = header.payload_type;
        if !self.decoders.contains_key(&payload_type) {
            let format = self.formats.iter().find(|format| format.payload_type == payload_type);
            let Some(format) = format else { return Ok(()) };
            let decoder = match self.loudspeakers.decoder(format) {
                Ok(decoder) => decoder,
                Err(error) => {
                    tracing::debug!(%error, "what a viewer says is left out");
                    return Ok(());
                }
            };
            let depacketizer = Depacketizer::new(format);
            let format = Format { depacketizer, decoder, clock_rate: format.clock_rate };
            self.decoders.insert(payload_type, format);
        }
        let Some(format) = self.decoders.get_mut(&payload_type) else { return Ok(()) };
        if let Err(error) = format.depacketizer.handle_packet(packet) {
            tracing::debug!(%error, "what a viewer says is left out");
        }
        while let Some(received) = format.depacketizer.poll_frame() {
            let frame = Frame {
                track: 0,
                pts: received.timestamp.into(),
                dts: received.timestamp.into(),
                duration: 0,
                keyframe: true,
                payload: received.payload,
            };
            // A decoder that cannot read one frame may read the next.
            let samples = format.decoder.decode(&frame).unwrap_or_default();
            let is_new = self.heard.is_none_or(|heard| heard.elapsed() > PAUSE);
            let silence = match self.next.filter(|(of, _)| *of == payload_type && !is_new) {
                Some((_, next)) => missing(next, received.timestamp, format.clock_rate),
                None if is_new => AHEAD,
                None => Duration::ZERO,
            };
            if !silence.is_zero() {
                loudspeaker.play(&vec![0; samples_of(silence)])?;
            }
            loudspeaker.play(&samples)?;
            self.heard = Some(Instant::now());
            let moments = (samples.len() / usize::from(CHANNELS)) as u64;
            let ticks = moments * u64::from(format.clock_rate) / u64::from(SAMPLE_RATE);
            self.next = Some((payload_type, received.timestamp.wrapping_add(ticks as u32)));
        }
        Ok(())
    }
}

/// How much is missing between two RTP timestamps; nothing where that would be longer than is filled.
fn missing(expected: u32, timestamp: u32, clock_rate: u32) -> Duration {
    let ticks = timestamp.wrapping_sub(expected) as i32;
    let gap = Duration::from_secs_f64(f64::from(ticks.max(0)) / f64::from(clock_rate.max(1)));
    // Decoders give a sample more or less.
    if gap < Duration::from_millis(5) || gap > GAP_MAX { Duration::ZERO } else { gap }
}

fn samples_of(time: Duration) -> usize {
    (time.as_secs_f64() * f64::from(SAMPLE_RATE)) as usize * usize::from(CHANNELS)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proto::rtp::header::HEADER_BYTES;
    use proto::track::{Codec, Law};

    use super::*;

    /// Keeps what is played.
    #[derive(Clone, Debug, Default)]
    struct Tape(Arc<Mutex<Vec<i16>>>);

    impl Loudspeakers for Tape {
        fn open(&self, _: &str) -> Result<Box<dyn Loudspeaker>, MediaError> {
            Ok(Box::new(self.clone()))
        }

        fn decoder(&self, _: &Track) -> Result<Box<dyn Decode>, MediaError> {
            Ok(Box::new(self.clone()))
        }

        fn list(&self) -> Result<Vec<(String, String)>, String> {
            Ok(Vec::new())
        }
    }

    impl Loudspeaker for Tape {
        fn play(&mut self, samples: &[i16]) -> Result<(), MediaError> {
            self.0.lock().unwrap().extend_from_slice(samples);
            Ok(())
        }
    }

    impl Decode for Tape {
        /// Each byte is a moment of 8 kHz: six of ours.
        fn decode(&mut self, frame: &Frame) -> Result<Vec<i16>, MediaError> {
            Ok(frame.payload.iter().flat_map(|byte| [i16::from(*byte); 12]).collect())
        }
    }

    fn packet(sequence: u16, timestamp: u32, byte: u8) -> Bytes {
        let mut packet = vec![0_u8; HEADER_BYTES];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[byte; 160]);
        packet.into()
    }

    /// What is heard, in stretches of 20 ms, behind the silence that all begins with.
    fn heard(packets: &[(u16, u32, u8)]) -> Vec<i16> {
        let tape = Tape::default();
        let formats = [Track::new(Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 }, 0)];
        let mut playing = Playing::new(&tape, &formats);
        let mut loudspeaker = tape.clone();
        for (sequence, timestamp, byte) in packets {
            playing.place(packet(*sequence, *timestamp, *byte), &mut loudspeaker).unwrap();
            while let Some(packet) = playing.reorder.poll(playing.now()) {
                playing.play(&packet, &mut loudspeaker).unwrap();
            }
        }
        let played = tape.0.lock().unwrap().clone();
        let stretches = played[samples_of(AHEAD)..].chunks(samples_of(Duration::from_millis(20)));
        stretches.map(|stretch| stretch[0]).collect()
    }

    #[test]
    fn what_is_out_of_order_is_heard_in_order_and_what_is_missing_as_silence() {
        assert_eq!(heard(&[(1, 0, 1), (2, 160, 2), (3, 320, 3)]), [1, 2, 3]);
        assert_eq!(heard(&[(1, 0, 1), (3, 320, 3), (2, 160, 2), (4, 480, 4)]), [1, 2, 3, 4]);
        // Somebody who is silent sends nothing for a while.
        assert_eq!(heard(&[(1, 0, 1), (2, 480, 2)]), [1, 0, 0, 2]);
        // The clock was set: nothing is filled.
        assert_eq!(heard(&[(1, 0, 1), (2, 900_000, 2), (3, 900_160, 3)]), [1, 2, 3]);
    }

    #[test]
    fn what_comes_twice_or_in_no_format_is_not_heard() {
        assert_eq!(heard(&[(1, 0, 1), (1, 0, 1), (2, 160, 2)]), [1, 2]);
    }
}
