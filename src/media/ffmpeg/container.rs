//! An open container as frames: its packets with complete times and with payloads as RTP wants them.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ffmpeg_next::codec::Id;
use proto::frame::Frame;
use proto::rtp::parameter_sets::begins_decoding;
use proto::rtsp::headers::date::Utc;
use proto::time::MediaTime;
use proto::track::{Codec, Kind, Track};

use super::config::Adts;
use super::foreign::{Unsupported, made_anew};
use super::pieces::{Piece, Pieces};
use super::places::Places;
use super::raw::{Input, Next, Packet, Stream};
use super::times::{Ordered, Scale, Shown, Times, Told, is_mpeg4_b_picture};
use super::tracks::{Conversion, track};
use crate::media::demux::Demux;
use crate::media::library::MediaError;
use crate::media::opener::{Foreign, Opened};

/// Packets that are read before the tracks are known, and their bytes. A stream without packet until then is left out
/// when its parameters stand in its packets only.
const PRELUDE_PACKETS_MAX: usize = 4_096;
const PRELUDE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Pictures that are looked at where the container does not tell when they are shown.
const ORDER_SAMPLE: usize = 32;

/// Keyframes of a bare stream that are remembered: 36 hours at one every 2 s.
const LANDINGS_MAX: usize = 65_536;

/// An open file.
pub struct Container {
    input: Input,
    // By stream index.
    lanes: Vec<Option<Lane>>,
    prelude: VecDeque<Packet>,
    ready: VecDeque<Frame>,
    has_ended: bool,
    has_exact_index: bool,
    // Keyframes of the leading track, for a container without times.
    landings: Option<Landings>,
    // Where what was read last lies, in a container with times and without index.
    places: Option<Places>,
    lead_stream: usize,
    // Where the samples begin in a file that holds nothing else.
    samples_start: Option<u64>,
    // Opens the file anew, to go back to its first packet.
    reopen: Box<dyn Fn() -> Result<Input, MediaError> + Send>,
}

/// One track on its way from packets to frames.
struct Lane {
    track: u8,
    scale: Scale,
    times: Times,
    conversion: Converter,
    kind: Kind,
    // Ticks of a picture; zero for sound.
    frame: i64,
    // Pictures that wait for the next reference picture, which tells when the first of them is shown.
    held: Vec<Frame>,
    // Of pictures that nobody has looked at before: they tell where decoding can begin, as containers do not always.
    unseen: Option<Codec>,
}

enum Converter {
    Keep,
    StripAdts,
    Pieces(Pieces),
}

/// Where keyframes of a bare stream lie.
#[derive(Default)]
struct Landings {
    known: Vec<Landing>,
    // Decoding index of the next picture.
    index: u64,
}

struct Landing {
    pts: i64,
    byte: u64,
    index: u64,
}

/// Opens a file whose name tells the format where its content does not.
pub fn open(file: File, path: &Path, unsupported: Unsupported) -> Result<Opened, MediaError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let reopen = move || {
        let file = file.try_clone().map_err(|error| MediaError::Broken(error.to_string()))?;
        open_input(file, &name)
    };
    let mut input = reopen()?;
    let streams = input.streams();
    let prelude = read_prelude(&mut input, &streams)?;
    let Sorted { tracks, mut lanes, left_out, foreign } =
        sort_streams(&mut input, &streams, &prelude, unsupported)?;
    let lead_stream = leading(&lanes);
    let is_bare = lanes[lead_stream].as_ref().is_some_and(|lane| matches!(lane.times, Times::Ordered(_)))
        && !has_times(&prelude, lead_stream);
    let has_exact_index = input.format_name().contains("mp4");
    let has_places = input.format_name() == "mpegts" && !is_bare;
    let recorded = input.said_of(c"creation_time").and_then(utc);
    let estimated = input.has_estimated_duration() && !is_constant(&streams[lead_stream]);
    let duration = input.duration_micros().filter(|_| !estimated && !is_bare).map(Duration::from_micros);
    let samples_start = samples_start(&input, &prelude, streams.len())
        .filter(|_| lanes[lead_stream].as_mut().is_some_and(Lane::count_samples));
    let container = Container {
        input,
        lanes,
        prelude,
        ready: VecDeque::new(),
        has_ended: false,
        has_exact_index,
        landings: is_bare.then(Landings::default),
        places: has_places.then(Places::default),
        lead_stream,
        samples_start,
        reopen: Box::new(reopen),
    };
    Ok(Opened {
        demux: Box::new(container),
        tracks,
        duration,
        recorded,
        seekable: true,
        left_out,
        foreign,
        made_anew: Vec::new(),
        is_transcoded: false,
    })
}

/// A time of day as FFmpeg writes it: `2026-01-31T12:00:00.000000Z`. Containers that do not know it have one of the first
/// day of their era, which is none.
fn utc(text: &str) -> Option<Utc> {
    let plain: String = text.trim().chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
    let clock = plain.replacen(' ', "T", 1);
    let clock = if clock.ends_with('Z') { clock } else { clock + "Z" };
    Utc::parse_clock(&clock).filter(|utc| utc.0 > DAY)
}

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn open_input(mut file: File, name: &str) -> Result<Input, MediaError> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(0)).map_err(|error| MediaError::Broken(error.to_string()))?;
    let (format, options) = forced_format(name);
    Input::open(file, name, format, options)
        .map_err(|reason| MediaError::Unsupported(format!("{name} cannot be played: {reason}")))
}

/// Formats that have no signature, by the name's extension.
fn forced_format(name: &str) -> (Option<&'static CStr>, &'static [(&'static CStr, &'static CStr)]) {
    const TELEPHONE: &[(&CStr, &CStr)] = &[(c"sample_rate", c"8000")];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("mjpeg" | "mjpg") => (Some(c"mjpeg"), &[]),
        Some("g722") => (Some(c"g722"), &[]),
        Some("g726") => (Some(c"g726"), &[]),
        Some("g726le") => (Some(c"g726le"), &[]),
        Some("al" | "alaw") => (Some(c"alaw"), TELEPHONE),
        Some("ul" | "ulaw") => (Some(c"mulaw"), TELEPHONE),
        _ => (None, &[]),
    }
}

/// Reads until every stream that can be played had a packet, and more where times have to be made.
fn read_prelude(input: &mut Input, streams: &[Stream]) -> Result<VecDeque<Packet>, MediaError> {
    let mut prelude: VecDeque<Packet> = VecDeque::new();
    let mut counts = vec![0; streams.len()];
    // Program streams tell the times of some pictures only.
    let is_vague = input.format_name() == "mpeg";
    let mut wanted: Vec<usize> = streams
        .iter()
        .map(|stream| match stream.codec {
            Id::H264 | Id::HEVC if is_vague => ORDER_SAMPLE,
            _ => usize::from(stream.kind != Kind::Application && !stream.is_cover),
        })
        .collect();
    let mut bytes = 0;
    while prelude.len() < PRELUDE_PACKETS_MAX && bytes < PRELUDE_BYTES_MAX {
        if wanted.iter().zip(&counts).all(|(wanted, count)| count >= wanted) {
            break;
        }
        let packet = match input.read() {
            Next::Packet(packet) => packet,
            Next::End => break,
            Next::Failed(reason) => return Err(MediaError::Broken(reason)),
        };
        let index = packet.stream();
        let Some(stream) = streams.get(index) else { continue };
        if packet.pts().is_none() && matches!(stream.codec, Id::H264 | Id::HEVC | Id::MPEG4) {
            wanted[index] = ORDER_SAMPLE;
        }
        counts[index] += 1;
        bytes += packet.as_ref().len();
        prelude.push_back(packet);
    }
    Ok(prelude)
}

/// What is to become of the streams of a file.
#[derive(Default)]
struct Sorted {
    tracks: Vec<Track>,
    /// By stream.
    lanes: Vec<Option<Lane>>,
    left_out: Vec<String>,
    /// By track.
    foreign: Vec<Option<Foreign>>,
}

/// Makes tracks of the streams that can be carried or made anew, and sentences of the others.
fn sort_streams(
    input: &mut Input,
    streams: &[Stream],
    prelude: &VecDeque<Packet>,
    unsupported: Unsupported,
) -> Result<Sorted, MediaError> {
    let start_micros = input.start_micros().unwrap_or(0);
    let is_matroska = input.format_name().contains("matroska");
    let mut sorted = Sorted::default();
    for (index, stream) in streams.iter().enumerate() {
        let packets = || prelude.iter().filter(|packet| packet.stream() == index);
        let first = packets().find(|packet| packet.is_key()).or_else(|| packets().next());
        let first = first.map_or(Bytes::new(), |packet| Bytes::copy_from_slice(packet.as_ref()));
        let number = sorted.tracks.len() as u8;
        let made = match (track(stream, &first, number), unsupported) {
            (Ok((track, conversion)), _) => Ok((track, conversion, None)),
            (Err(reason), Unsupported::LeftOut) => Err(reason),
            (Err(reason), Unsupported::MadeAnew) => made_anew(input, index, stream, &first, number, reason)
                .map(|(track, foreign)| (track, Conversion::Keep, Some(foreign))),
        };
        match made {
            Ok((track, conversion, foreign)) if sorted.tracks.len() < TRACKS_MAX => {
                let mut lane = Lane::new(stream, &track, conversion, number, start_micros);
                lane.choose_times(stream, is_matroska, prelude, index);
                lane.unseen = Some(track.codec.clone()).filter(|_| input.is_unparsed());
                sorted.lanes.push(Some(lane));
                sorted.tracks.push(track);
                sorted.foreign.push(foreign);
            }
            Ok(_) => sorted.left_out.push(format!("track {index} is left out: there are too many")),
            Err(reason) => sorted.left_out.push(format!("track {index} is left out: {reason}")),
        }
        if sorted.lanes.len() == index {
            sorted.lanes.push(None);
            input.discard(index);
        }
    }
    if sorted.tracks.is_empty() {
        let left_out = sorted.left_out.join("; ");
        let reason = if left_out.is_empty() { "there is no track in it".into() } else { left_out };
        return Err(MediaError::Unsupported(reason));
    }
    Ok(sorted)
}

/// Most tracks of a presentation: interleaved channels are numbered to 255 in pairs, payload types to 127.
const TRACKS_MAX: usize = 16;

/// Where the samples begin, when the container holds nothing else. FFmpeg's own seeking is wrong by half for G.722.
fn samples_start(input: &Input, prelude: &VecDeque<Packet>, stream_count: usize) -> Option<u64> {
    const CONTAINERS: [&str; 9] = ["wav", "w64", "aiff", "au", "g722", "g726", "g726le", "alaw", "mulaw"];
    let is_plain = stream_count == 1 && CONTAINERS.contains(&input.format_name());
    prelude.front().filter(|_| is_plain)?.byte()
}

fn leading(lanes: &[Option<Lane>]) -> usize {
    let is = |kind| move |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| lane.kind == kind);
    let video = lanes.iter().position(is(Kind::Video));
    video.or_else(|| lanes.iter().position(Option::is_some)).unwrap_or(0)
}

fn has_times(prelude: &VecDeque<Packet>, stream: usize) -> bool {
    prelude
        .iter()
        .any(|packet| packet.stream() == stream && (packet.pts().is_some() || packet.dts().is_some()))
}

/// Whether a file's size tells its length.
fn is_constant(stream: &Stream) -> bool {
    stream.kind == Kind::Audio && !matches!(stream.codec, Id::AAC | Id::OPUS)
}

impl Lane {
    fn new(stream: &Stream, track: &Track, conversion: Conversion, number: u8, start_micros: i64) -> Lane {
        let framerate = stream.framerate.filter(|rate| (0.1..=1_000.0).contains(rate)).unwrap_or(25.0);
        let is_video = stream.kind == Kind::Video;
        let conversion = match conversion {
            Conversion::Keep => Converter::Keep,
            Conversion::StripAdts => Converter::StripAdts,
            Conversion::Pieces(samples) => Converter::Pieces(Pieces::new(samples, track.clock_rate)),
        };
        Lane {
            track: number,
            scale: Scale::new(stream.time_base, start_micros, track.clock_rate),
            times: Times::Told { end: 0 },
            conversion,
            kind: stream.kind,
            frame: if is_video { (f64::from(track.clock_rate) / framerate).round() as i64 } else { 0 },
            held: Vec::new(),
            unseen: None,
        }
    }

    fn choose_times(&mut self, stream: &Stream, is_matroska: bool, prelude: &VecDeque<Packet>, index: usize) {
        let packets = || prelude.iter().filter(|packet| packet.stream() == index);
        let untold = self.kind == Kind::Video && packets().any(|packet| packet.pts().is_none());
        let in_order = stream.reorder == 0 && packets().all(|packet| packet.dts().is_some());
        if untold && !in_order && matches!(stream.codec, Id::H264 | Id::HEVC) {
            let units = packets().map(AsRef::as_ref);
            if let Some(ordered) = Ordered::new(stream, self.frame, units) {
                self.times = Times::Ordered(Box::new(ordered));
            }
        } else if self.kind == Kind::Video && is_matroska && stream.reorder > 0 {
            self.times = Times::Shown(Shown::new(stream.reorder, self.frame));
        } else if untold && stream.codec == Id::MPEG4 && stream.reorder > 0 {
            self.times = Times::Held;
        }
    }

    /// Counts samples instead of believing the container's times. False when there are none.
    fn count_samples(&mut self) -> bool {
        let Converter::Pieces(pieces) = &self.conversion else { return false };
        self.times = Times::Counted { samples: pieces.samples(), next: 0 };
        true
    }

    fn is_key(&self, packet: &Packet) -> bool {
        let seen = self.unseen.as_ref().and_then(|codec| begins_decoding(codec, packet.as_ref()));
        self.kind == Kind::Audio || seen.unwrap_or_else(|| packet.is_key())
    }

    /// Makes frames of a packet; says where the last of them was put.
    fn convert(&mut self, packet: Packet, ready: &mut VecDeque<Frame>) {
        let told = Told {
            pts: packet.pts().map(|pts| self.scale.ticks(pts)),
            dts: packet.dts().map(|dts| self.scale.ticks(dts)),
            duration: self.scale.span(packet.duration()),
            keyframe: self.is_key(&packet),
        };
        let stamp = self.times.stamp(told, packet.as_ref());
        let duration = if told.duration == 0 { self.frame as u32 } else { told.duration };
        let frame = |payload| Frame {
            track: self.track,
            pts: stamp.pts,
            dts: stamp.dts.min(stamp.pts),
            duration,
            keyframe: told.keyframe,
            payload,
        };
        match &mut self.conversion {
            Converter::Pieces(pieces) => {
                let track = self.track;
                pieces.push(stamp.pts, packet.as_ref(), |piece| ready.push_back(of_piece(track, piece)));
            }
            Converter::StripAdts => {
                let size = Adts::parse(packet.as_ref()).map_or(0, |adts| adts.size);
                ready.push_back(frame(packet.into_bytes().slice(size..)));
            }
            Converter::Keep if matches!(self.times, Times::Held) => {
                let frame = frame(packet.into_bytes());
                self.hold(frame, ready);
            }
            Converter::Keep if matches!(self.times, Times::Shown(_)) => {
                let frame = frame(packet.into_bytes());
                self.hold_leading(frame, ready);
            }
            Converter::Keep => ready.push_back(frame(packet.into_bytes())),
        }
    }

    /// A reference picture is shown when the next one is decoded.
    fn hold(&mut self, frame: Frame, ready: &mut VecDeque<Frame>) {
        if !is_mpeg4_b_picture(&frame.payload) {
            self.release(frame.dts, ready);
        }
        self.held.push(frame);
        if self.held.len() > HELD_MAX {
            ready.extend(self.held.drain(..));
        }
    }

    /// A keyframe waits for the pictures that are shown before it: their number tells when it is decoded.
    fn hold_leading(&mut self, mut frame: Frame, ready: &mut VecDeque<Frame>) {
        let is_leading = self.held.first().is_some_and(|key| frame.pts < key.pts);
        if !is_leading || self.held.len() > HELD_MAX {
            self.release_leading(ready);
        }
        if frame.keyframe || !self.held.is_empty() {
            self.held.push(frame);
        } else if let Times::Shown(shown) = &mut self.times {
            frame.dts = shown.decoded(frame.pts);
            ready.push_back(frame);
        }
    }

    fn release_leading(&mut self, ready: &mut VecDeque<Frame>) {
        let (Times::Shown(shown), Some(key)) = (&mut self.times, self.held.first()) else { return };
        shown.begin(key.pts, self.held.len() - 1);
        for mut frame in self.held.drain(..) {
            frame.dts = shown.decoded(frame.pts);
            ready.push_back(frame);
        }
    }

    fn release(&mut self, shown: i64, ready: &mut VecDeque<Frame>) {
        if let Some(first) = self.held.first_mut()
            && !is_mpeg4_b_picture(&first.payload)
        {
            first.pts = shown.max(first.dts);
        }
        ready.extend(self.held.drain(..));
    }

    fn finish(&mut self, ready: &mut VecDeque<Frame>) {
        let track = self.track;
        if let Converter::Pieces(pieces) = &mut self.conversion {
            pieces.finish(|piece| ready.push_back(of_piece(track, piece)));
        }
        self.release_leading(ready);
        let shown = self.held.last().map_or(0, |frame| frame.dts + self.frame);
        self.release(shown, ready);
    }

    fn reset(&mut self, is_start: bool) {
        self.held.clear();
        self.times.reset();
        if let Converter::Pieces(pieces) = &mut self.conversion {
            pieces.reset(is_start);
        }
    }
}

/// Most pictures between two reference pictures.
const HELD_MAX: usize = 16;

fn of_piece(track: u8, piece: Piece) -> Frame {
    let Piece { time, duration, payload } = piece;
    Frame { track, pts: time, dts: time, duration, keyframe: true, payload }
}

impl Container {
    fn next_packet(&mut self) -> Result<Option<Packet>, MediaError> {
        if let Some(packet) = self.prelude.pop_front() {
            return Ok(Some(packet));
        }
        match self.input.read() {
            Next::Packet(packet) => Ok(Some(packet)),
            Next::End => Ok(None),
            Next::Failed(reason) => Err(MediaError::Broken(reason)),
        }
    }

    fn take(&mut self, packet: Packet) {
        let stream = packet.stream();
        let Some(Some(lane)) = self.lanes.get_mut(stream) else { return };
        // The last packet of a truncated file is not whole; raw sound needs not be.
        let is_whole = !packet.is_corrupt() || !self.input.is_at_end();
        if !is_whole && !matches!(lane.conversion, Converter::Pieces(_)) {
            return;
        }
        let (byte, is_key) = (packet.byte(), packet.is_key());
        lane.convert(packet, &mut self.ready);
        if stream == self.lead_stream
            && let Some(landings) = &mut self.landings
        {
            if is_key && let (Some(byte), Some(frame)) = (byte, self.ready.back()) {
                landings.learn(Landing { pts: frame.pts, byte, index: landings.index });
            }
            landings.index += 1;
        }
        if let (Some(places), Some(byte), Some(frame)) = (&mut self.places, byte, self.ready.back()) {
            places.learn(frame, lane.scale.rate(), byte);
        }
    }

    fn reset(&mut self, is_start: bool) {
        self.prelude.clear();
        self.ready.clear();
        self.places = self.places.take().map(|_| Places::default());
        self.has_ended = false;
        self.lanes.iter_mut().flatten().for_each(|lane| lane.reset(is_start));
    }

    /// Goes to the sample at `time`.
    fn seek_sample(&mut self, start: u64, time: MediaTime) -> Result<(), MediaError> {
        self.reset(false);
        let Some(Lane { times: Times::Counted { samples, next }, scale, .. }) =
            &mut self.lanes[self.lead_stream]
        else {
            return self.rewind();
        };
        let units = time.to_ticks(scale.rate()).max(0) / samples.ticks;
        *next = units * samples.ticks;
        let byte = start.saturating_add((units as u64).saturating_mul(samples.bytes as u64));
        self.input.seek_byte(byte).map_err(MediaError::Broken)
    }

    /// Goes to a keyframe of a bare stream that was seen before, or to the furthest of them.
    fn land(&mut self, time: MediaTime) -> Result<(), MediaError> {
        let Some(lane) = &self.lanes[self.lead_stream] else { return self.rewind() };
        let ticks = time.to_ticks(lane.scale.rate());
        let landing = self.landings.as_ref().and_then(|landings| landings.find(ticks));
        let Some((pts, byte, index)) = landing else { return self.rewind() };
        self.reset(false);
        self.input.seek_byte(byte).map_err(MediaError::Broken)?;
        if let Some(landings) = &mut self.landings {
            landings.index = index;
        }
        if let Some(Lane { times: Times::Ordered(ordered), .. }) = &mut self.lanes[self.lead_stream] {
            ordered.land(index, pts);
        }
        Ok(())
    }
}

impl Landings {
    fn learn(&mut self, landing: Landing) {
        let is_new = self.known.last().is_none_or(|last| landing.byte > last.byte);
        if is_new && self.known.len() < LANDINGS_MAX {
            self.known.push(landing);
        }
    }

    fn find(&self, ticks: i64) -> Option<(i64, u64, u64)> {
        let behind = self.known.partition_point(|landing| landing.pts <= ticks);
        let landing = self.known.get(behind.checked_sub(1)?)?;
        Some((landing.pts, landing.byte, landing.index))
    }
}

impl Demux for Container {
    fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.next_packet()? {
                Some(packet) => self.take(packet),
                None => {
                    self.has_ended = true;
                    self.lanes.iter_mut().flatten().for_each(|lane| lane.finish(&mut self.ready));
                }
            }
        }
    }

    fn seek(&mut self, time: MediaTime) -> Result<(), MediaError> {
        if self.landings.is_some() {
            return self.land(time);
        }
        if let Some(start) = self.samples_start {
            return self.seek_sample(start, time);
        }
        let Some(lane) = &self.lanes[self.lead_stream] else { return self.rewind() };
        let target = lane.scale.time_at(time.0);
        self.reset(false);
        self.input.seek(self.lead_stream, target).map_err(MediaError::Broken)
    }

    fn place(&self, key: MediaTime) -> Option<u64> {
        let lead = self.lanes[self.lead_stream].as_ref()?.track;
        self.places.as_ref()?.of_key(lead, key)
    }

    fn seek_place(&mut self, byte: u64) -> Result<(), MediaError> {
        self.reset(false);
        self.input.seek_byte(byte).map_err(MediaError::Broken)
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        self.input = (self.reopen)()?;
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.is_none() {
                self.input.discard(index);
            }
        }
        self.reset(true);
        if let Some(landings) = &mut self.landings {
            landings.index = 0;
        }
        if let Some(Lane { times: Times::Ordered(ordered), .. }) = &mut self.lanes[self.lead_stream] {
            ordered.rewind();
        }
        Ok(())
    }

    fn has_exact_index(&self) -> bool {
        self.has_exact_index
    }
}
