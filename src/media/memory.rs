//! A library without files: presentations that are computed, for the simulation and for benches.
//!
//! Every access unit names its track and its index, so that a receiver can tell what it got.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proto::frame::Frame;
use proto::rtsp::headers::date::Utc;
use proto::time::MediaTime;
use proto::track::{Codec, Framing, Track};

use super::cut::Cutter;
use super::demux::Demux;
use super::format::Format;
use super::library::{Answer, FileInfo, Library, MediaError, ReplyTo, Ticket, Wanted};
use super::reader::Reader;
use super::segment::{Position, Segment};

/// What a computed file holds.
#[derive(Clone, Debug)]
pub struct Presentation {
    /// Its length, rounded down to whole pictures.
    pub duration: Duration,
    /// Pictures a second.
    pub framerate: u32,
    /// Pictures from keyframe to keyframe.
    pub gop_frames: u32,
    /// Bytes of a keyframe.
    pub keyframe_bytes: usize,
    /// Bytes of every other picture.
    pub frame_bytes: usize,
    /// Whether every second picture is decoded after the one that is shown behind it.
    pub has_b_frames: bool,
    /// Whether there is a track of AAC sound, 48 kHz in frames of 1024 samples.
    pub has_sound: bool,
    /// Whether there is a track of pictures.
    pub has_pictures: bool,
}

impl Default for Presentation {
    /// Ten seconds at 25 pictures a second and about 1 Mbit/s, with sound.
    fn default() -> Presentation {
        Presentation {
            duration: Duration::from_secs(10),
            framerate: 25,
            gop_frames: 50,
            keyframe_bytes: 20_000,
            frame_bytes: 4_500,
            has_b_frames: false,
            has_sound: true,
            has_pictures: true,
        }
    }
}

/// When the first moment of every computed file was recorded: 2026-01-01T00:00:00Z.
pub const RECORDED: Utc = Utc(Duration::from_secs(1_767_225_600));

/// Bytes of an AAC access unit: 96 kbit/s.
const SOUND_BYTES: usize = 256;

/// Samples of an AAC access unit.
const SOUND_SAMPLES: u64 = 1024;

/// Samples a second of the sound.
const SOUND_RATE: u32 = 48_000;

/// Most segments that are kept; with the default presentation 100 kB each.
const CACHED_MAX: usize = 512;

impl Presentation {
    /// Its tracks, pictures first.
    pub fn tracks(&self) -> Vec<Track> {
        let mut tracks = Vec::new();
        if self.has_pictures {
            // Baseline, level 3.1; receivers in memory do not decode.
            let sps = vec![Bytes::from_static(&[0x67, 0x42, 0xc0, 0x1f, 0xd9])];
            let pps = vec![Bytes::from_static(&[0x68, 0xcb, 0x83, 0xcb])];
            let mut track = Track::new(Codec::H264 { sps, pps, framing: Framing::Length(4) }, 0);
            (track.size, track.framerate) = (Some((1280, 720)), Some(f64::from(self.framerate)));
            tracks.push(track);
        }
        if self.has_sound {
            // AAC-LC, 48 kHz, stereo.
            let config = Bytes::from_static(&[0x11, 0x90]);
            let codec = Codec::Aac { config, sample_rate: SOUND_RATE, channels: 2 };
            tracks.push(Track::new(codec, tracks.len() as u8));
        }
        tracks
    }

    /// Its frames, from the first on.
    pub fn demux(&self) -> Box<dyn Demux> {
        Box::new(Computed { presentation: self.clone(), picture: 0, sound: 0 })
    }

    fn picture_count(&self) -> u64 {
        self.duration.as_nanos() as u64 * u64::from(self.framerate) / 1_000_000_000
    }

    fn sound_count(&self) -> u64 {
        self.duration.as_nanos() as u64 * u64::from(SOUND_RATE) / SOUND_SAMPLES / 1_000_000_000
    }

    fn picture_ticks(&self) -> i64 {
        90_000 / i64::from(self.framerate)
    }

    /// The picture that is decoded at `index`.
    fn picture(&self, index: u64) -> Frame {
        let in_gop = index % u64::from(self.gop_frames);
        let gop_start = index - in_gop;
        let gop_count = u64::from(self.gop_frames).min(self.picture_count() - gop_start);
        // I P b P b: the odd pictures of a group stand behind the even ones that follow them.
        let shown = match (self.has_b_frames, in_gop) {
            (false, _) | (true, 0) => in_gop,
            (true, odd) if odd % 2 == 1 && odd + 1 < gop_count => odd + 1,
            (true, odd) if odd % 2 == 1 => odd,
            (true, even) => even - 1,
        };
        let ticks = self.picture_ticks();
        let delay = if self.has_b_frames { ticks } else { 0 };
        let keyframe = in_gop == 0;
        let (size, kind) = if keyframe { (self.keyframe_bytes, 0x65) } else { (self.frame_bytes, 0x41) };
        let mut payload = BytesMut::with_capacity(size + 4);
        payload.put_u32(size as u32);
        put_unit(&mut payload, size, kind, index);
        Frame {
            track: 0,
            pts: (gop_start + shown) as i64 * ticks,
            dts: index as i64 * ticks - delay,
            duration: ticks as u32,
            keyframe,
            payload: payload.freeze(),
        }
    }

    fn sound(&self, index: u64) -> Frame {
        let mut payload = BytesMut::with_capacity(SOUND_BYTES);
        put_unit(&mut payload, SOUND_BYTES, 0x21, index);
        let pts = (index * SOUND_SAMPLES) as i64;
        let track = u8::from(self.has_pictures);
        Frame {
            track,
            pts,
            dts: pts,
            duration: SOUND_SAMPLES as u32,
            keyframe: true,
            payload: payload.freeze(),
        }
    }
}

/// A unit of `size` bytes: its kind, its index in five bytes of seven bits, and a pattern without zeros.
fn put_unit(payload: &mut BytesMut, size: usize, kind: u8, index: u64) {
    payload.put_u8(kind);
    for shift in [28, 21, 14, 7, 0] {
        payload.put_u8(0x80 | (index >> shift & 0x7f) as u8);
    }
    for place in 6..size {
        payload.put_u8((place % 251) as u8 + 1);
    }
}

/// The index that a unit of a computed file was made with; None when it is too short to be one.
pub fn index_of(unit: &[u8]) -> Option<u64> {
    let digits = unit.get(1..6)?;
    Some(digits.iter().fold(0, |index, digit| index << 7 | u64::from(digit & 0x7f)))
}

/// A presentation that is read.
struct Computed {
    presentation: Presentation,
    picture: u64,
    sound: u64,
}

impl Demux for Computed {
    fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        let presentation = &self.presentation;
        let has_picture = presentation.has_pictures && self.picture < presentation.picture_count();
        let has_sound = presentation.has_sound && self.sound < presentation.sound_count();
        let picture = has_picture.then(|| presentation.picture(self.picture));
        let sound_time = MediaTime::from_ticks((self.sound * SOUND_SAMPLES) as i64, SOUND_RATE);
        if let Some(frame) = picture
            && (!has_sound || MediaTime::from_ticks(frame.dts, 90_000) <= sound_time)
        {
            self.picture += 1;
            return Ok(Some(frame));
        }
        if !has_sound {
            return Ok(None);
        }
        self.sound += 1;
        Ok(Some(presentation.sound(self.sound - 1)))
    }

    fn seek(&mut self, time: MediaTime) -> Result<(), MediaError> {
        let presentation = &self.presentation;
        let ticks = time.to_ticks(90_000).max(0) / presentation.picture_ticks();
        let last = presentation.picture_count().saturating_sub(1);
        let picture = (ticks as u64).min(last);
        self.picture = picture - picture % u64::from(presentation.gop_frames);
        let from = if presentation.has_pictures {
            MediaTime::from_ticks(presentation.picture(self.picture).dts, 90_000)
        } else {
            time
        };
        self.sound = from.to_ticks(SOUND_RATE).max(0) as u64 / SOUND_SAMPLES;
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        (self.picture, self.sound) = (0, 0);
        Ok(())
    }

    fn has_exact_index(&self) -> bool {
        true
    }
}

/// The answer of a library that answers in-line.
#[cfg(test)]
pub fn asked(ask: impl FnOnce(&ReplyTo)) -> Answer {
    let kept = Arc::new(Mutex::new(None));
    let keeper = kept.clone();
    let reply: ReplyTo = Arc::new(move |answer| *keeper.lock().unwrap() = Some(answer));
    ask(&reply);
    kept.lock().unwrap().take().unwrap()
}

/// One computed file that was asked for.
struct Opened {
    info: Arc<FileInfo>,
    cutter: Cutter,
    cached: HashMap<Position, Arc<Segment>>,
}

/// Computed files by name. It answers in-line.
pub struct MemoryLibrary {
    mtu_bytes: usize,
    has_metadata: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    presentations: HashMap<String, Presentation>,
    opened: HashMap<String, Opened>,
}

impl MemoryLibrary {
    /// A library without files; `mtu_bytes` is the largest RTP packet.
    pub fn new(mtu_bytes: usize) -> MemoryLibrary {
        MemoryLibrary { mtu_bytes, has_metadata: false, state: Mutex::default() }
    }

    /// The same, each file with a track of metadata.
    pub fn with_metadata(self) -> MemoryLibrary {
        MemoryLibrary { has_metadata: true, ..self }
    }

    /// Adds a file under a path without its leading slash.
    pub fn add(&self, name: &str, presentation: Presentation) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.presentations.insert(name.to_owned(), presentation);
    }

    fn described(&self, path: &str) -> Result<Arc<FileInfo>, MediaError> {
        let name = path.trim_start_matches('/');
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = state.opened.get(name) {
            return Ok(opened.info.clone());
        }
        let presentation = state.presentations.get(name).ok_or(MediaError::NotFound)?.clone();
        let opened = self.open(name, presentation, state.opened.len() as u64 + 1)?;
        let info = opened.info.clone();
        state.opened.insert(name.to_owned(), opened);
        Ok(info)
    }

    fn open(&self, name: &str, presentation: Presentation, id: u64) -> Result<Opened, MediaError> {
        let mut tracks = presentation.tracks();
        let reader = Reader::open(presentation.demux(), &tracks, Some(presentation.duration))?;
        if self.has_metadata {
            tracks.push(Track::metadata_behind(&tracks));
        }
        let numbers = 0..tracks.len() as u32;
        let info = Arc::new(FileInfo {
            id,
            name: name.to_owned(),
            format: Format::default(),
            ssrc: numbers.clone().map(|index| 0x1000_0000 + id as u32 * 16 + index).collect(),
            // Close to the wrap, which every receiver must survive.
            timestamp_base: numbers.map(|index| u32::MAX - 90_000 - index).collect(),
            duration: Some(presentation.duration),
            recorded: RECORDED,
            is_intra: reader.plan().is_intra(),
            bits_per_second: None,
            seekable: true,
            left_out: Vec::new(),
            tracks,
            is_transcoded: false,
        });
        let cutter = Cutter::new(reader, info.clone(), self.mtu_bytes, 65_000);
        Ok(Opened { info, cutter, cached: HashMap::new() })
    }

    fn read(&self, file: &FileInfo, wanted: Wanted) -> Result<Arc<Segment>, MediaError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = state.opened.get_mut(&file.name).ok_or(MediaError::NotFound)?;
        if let Wanted::At(position) = wanted
            && let Some(segment) = opened.cached.get(&position)
        {
            return Ok(segment.clone());
        }
        let position = opened.cutter.go_to(wanted)?;
        if let Some(segment) = opened.cached.get(&position) {
            return Ok(segment.clone());
        }
        let segment = opened.cutter.segment()?;
        let segment = Arc::new(segment.ok_or_else(|| MediaError::Broken("behind the end".into()))?);
        if opened.cached.len() >= CACHED_MAX {
            opened.cached.clear();
        }
        opened.cached.insert(position, segment.clone());
        Ok(segment)
    }
}

impl Library for MemoryLibrary {
    fn describe(&self, path: &str, _: &[(String, String)], ticket: Ticket, reply: &ReplyTo) {
        reply(Answer::Described(ticket, self.described(path)));
    }

    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) {
        reply(Answer::Segment(ticket, self.read(file, wanted)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::segment::{SEGMENT_BYTES_MAX, SEGMENT_NANOS_MAX};

    fn opened(presentation: Presentation) -> (MemoryLibrary, Arc<FileInfo>) {
        let library = MemoryLibrary::new(1_400);
        library.add("film", presentation);
        let info = library.described("/film").unwrap();
        (library, info)
    }

    fn whole(library: &MemoryLibrary, info: &FileInfo) -> Vec<Arc<Segment>> {
        let mut segments = vec![library.read(info, Wanted::Seek(MediaTime::ZERO)).unwrap()];
        while let Some(next) = segments.last().unwrap().next {
            segments.push(library.read(info, Wanted::At(next)).unwrap());
        }
        segments
    }

    fn batch_facts(segment: &Segment) -> Vec<(u8, MediaTime, MediaTime, usize)> {
        let fact = |entry: &super::super::segment::Entry| {
            let meta = entry.batch.meta();
            (meta.track, meta.dts, meta.pts, entry.batch.rtp().len())
        };
        segment.entries.iter().map(fact).collect()
    }

    #[test]
    fn every_frame_is_in_one_segment_and_numbers_run_on() {
        let presentation = Presentation { has_b_frames: true, ..Presentation::default() };
        let (library, info) = opened(presentation.clone());
        let segments = whole(&library, &info);
        let count = |track| {
            let entries = segments.iter().flat_map(|segment| &segment.entries);
            entries.filter(|entry| entry.batch.meta().track == track).count() as u64
        };
        assert_eq!((count(0), count(1)), (presentation.picture_count(), presentation.sound_count()));
        for pair in segments.windows(2) {
            for track in 0..2 {
                let first = pair[0].first[track];
                assert_eq!(first.sequence.wrapping_add(first.packets as u16), pair[1].first[track].sequence);
            }
        }
        assert_eq!(segments.last().unwrap().end, MediaTime(10_000_000_000));
    }

    #[test]
    fn segments_keep_their_bounds() {
        let presentation =
            Presentation { frame_bytes: 40_000, keyframe_bytes: 300_000, ..Default::default() };
        let (library, info) = opened(presentation);
        for segment in whole(&library, &info) {
            let of_lead = || segment.entries.iter().filter(|entry| entry.batch.meta().track == 0);
            let bytes: usize = of_lead().map(|entry| entry.batch.payload_octets() as usize).sum();
            assert!(bytes < SEGMENT_BYTES_MAX + 8_192 || of_lead().count() == 1, "{bytes}");
            let (first, last) = (segment.entries.first().unwrap(), segment.entries.last().unwrap());
            assert!(last.due.0 - first.due.0 < SEGMENT_NANOS_MAX);
            assert!(of_lead().skip(1).all(|entry| !entry.batch.meta().keyframe));
        }
    }

    #[test]
    fn a_position_yields_the_same_segment_however_it_was_reached() {
        let presentation = Presentation { has_b_frames: true, ..Presentation::default() };
        let (library, info) = opened(presentation.clone());
        let segments = whole(&library, &info);
        for segment in segments.iter().rev() {
            let (fresh, info) = opened(presentation.clone());
            let again = fresh.read(&info, Wanted::At(segment.position)).unwrap();
            assert_eq!(batch_facts(&again), batch_facts(segment), "{:?}", segment.position);
            assert_eq!((again.next, again.end), (segment.next, segment.end), "{:?}", segment.position);
        }
    }

    #[test]
    fn seeking_finds_the_last_keyframe_at_or_before_the_time() {
        for has_b_frames in [false, true] {
            let (library, info) = opened(Presentation { has_b_frames, ..Presentation::default() });
            for (asked, expected) in
                [(-1.0, 0.0), (0.0, 0.0), (1.99, 0.0), (2.0, 2.0), (7.3, 6.0), (99.0, 8.0)]
            {
                let segment = library.read(&info, Wanted::Seek(MediaTime::from_secs_f64(asked))).unwrap();
                assert_eq!(segment.position.keyframe, MediaTime::from_secs_f64(expected), "asked {asked}");
                let lead = segment.entries.iter().find(|entry| entry.batch.meta().track == 0).unwrap();
                assert!(lead.batch.meta().keyframe);
            }
        }
    }

    #[test]
    fn sound_alone_is_cut_on_a_grid() {
        let (library, info) = opened(Presentation { has_pictures: false, ..Presentation::default() });
        let segments = whole(&library, &info);
        assert_eq!(segments.len(), 20);
        let sought = library.read(&info, Wanted::Seek(MediaTime::from_secs_f64(3.7))).unwrap();
        assert_eq!(batch_facts(&sought), batch_facts(&segments[7]));
    }
}
