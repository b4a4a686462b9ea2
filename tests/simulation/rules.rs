//! What one seed's world is like: drawn once, known to everyone who judges.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::time::{NtpTime, Time};
use ringcaster::driver::sim::{Random, Weather};
use ringcaster::media::memory::Presentation;
use ringcaster::shard::limits::{Bounds, Limits};
use ringcaster::shard::settings::{Listen, Settings};

use super::content::Content;
use super::session::Over;
use super::{library, streams};

/// How long the players play.
pub const RUN: Duration = Duration::from_secs(60);

/// One world.
#[derive(Clone, Debug)]
pub struct Rules {
    pub shards: u16,
    pub players: usize,
    pub settings: Arc<Settings>,
    pub weather: Weather,
    /// Longest time that a shard stands still; zero for never.
    pub stall: Duration,
    /// Files by name.
    pub files: BTreeMap<String, Content>,
    pub live: Content,
    pub library: library::Temper,
    pub streams: streams::Temper,
    /// Whether the server is told to stop at the end, while players still play.
    pub ends_by_shutdown: bool,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Rules {
    /// The world that a seed names.
    pub fn draw(random: &mut Random) -> Rules {
        let stall = if random.chance(0.3) { MS(random.within(20..250) as u64) } else { Duration::ZERO };
        let library = library_temper(random);
        Rules {
            shards: random.within(1..4) as u16,
            players: random.within(3..8),
            settings: Arc::new(settings(random)),
            weather: weather(random),
            stall,
            files: files(random),
            live: Content { presentation: presentation(random), is_live: true },
            library,
            streams: streams_temper(random),
            ends_by_shutdown: random.chance(0.3),
        }
    }

    /// Wall-clock time of the simulated drivers at a point of their clock.
    pub fn wall(&self, at: Time) -> NtpTime {
        NtpTime::from_unix(Duration::from_secs(1_700_000_000)) + at.since(Time::ZERO)
    }

    /// How late media may be for a player who reads: the world's delays, not the other players'.
    pub fn lateness(&self, pace: f64) -> Duration {
        self.lateness_by_segments(SEGMENT, pace)
    }

    /// The same for what is played at a pace. No bound where the world cannot keep up with it.
    pub fn lateness_of(&self, content: &Content, pace: f64, over: Over) -> Duration {
        let keeps_up =
            self.is_read_in_time(content, pace) && (over == Over::Udp || self.has_room(content, pace));
        let lateness = self.lateness_by_segments(segment(content), pace);
        lateness + if keeps_up { Duration::ZERO } else { Duration::from_secs(3_600) }
    }

    fn lateness_by_segments(&self, segment: Duration, pace: f64) -> Duration {
        let held = if self.weather.delay > 0.0 { self.weather.hold.end * 6 } else { Duration::ZERO };
        // Two segments are read ahead.
        let library = if self.library.delay > 0.0 { self.library.delays.end.mul_f64(3.0) } else { MS(0) };
        let is_hidden = library.mul_f64(pace) < segment.mul_f64(0.8);
        let library = if is_hidden { MS(0) } else { library.mul_f64(4.0_f64.max(pace)) };
        self.stall * 2 + held + library + MS(30)
    }

    /// Whether a library, which is asked for one segment at a time, can keep up with a pace.
    fn is_read_in_time(&self, content: &Content, pace: f64) -> bool {
        let answer = (self.library.delays.start + self.library.delays.end).mul_f64(0.5 * self.library.delay);
        content.is_live || answer.mul_f64(2.0 * pace) < segment(content)
    }

    /// Whether a connection, which holds so much for as long as it travels, can keep up with a pace.
    fn has_room(&self, content: &Content, pace: f64) -> bool {
        let Presentation { framerate, gop_frames, keyframe_bytes, frame_bytes, .. } = content.presentation;
        let gop_bytes = keyframe_bytes + gop_frames as usize * frame_bytes;
        let gops_a_second = pace * f64::from(framerate) / f64::from(gop_frames);
        let needed = gop_bytes as f64 * gops_a_second * self.weather.latency.end.as_secs_f64();
        needed * 2.0 < self.weather.pipe_bytes as f64
    }

    /// Whether files can fail at any time.
    pub fn files_fail(&self) -> bool {
        self.library.failure > 0.0
    }

    pub fn server(&self) -> SocketAddr {
        self.settings.listen[0].address
    }

    pub fn content(&self, name: &str) -> Option<&Content> {
        if name == streams::PATH { Some(&self.live) } else { self.files.get(name) }
    }
}

/// Longest segment of a file.
const SEGMENT: Duration = Duration::from_millis(500);

/// Mean length of a segment, which reaches up to the next keyframe at most.
fn segment(content: &Content) -> Duration {
    let presentation = &content.presentation;
    let gop = Duration::from_secs(1) / presentation.framerate * presentation.gop_frames;
    let count = gop.as_nanos().div_ceil(SEGMENT.as_nanos()) as u32;
    if presentation.has_pictures && !content.is_live { gop / count } else { SEGMENT }
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        listen: vec![Listen::rtsp("192.0.2.1:554".parse().unwrap())],
        session_timeout: Duration::from_secs(random.within(4..20) as u64),
        slow_reader: MS(random.within(500..2_000) as u64),
        loops: *random.pick(&[Some(1), Some(1), Some(2), Some(3), None]),
        udp_ports: 20_000..=20_099,
        limits: Arc::new(Limits::new(Bounds {
            sessions: random.chance(0.15).then_some(2),
            ..Bounds::default()
        })),
        shutdown: Duration::from_secs(2),
        ..Settings::default()
    }
}

fn weather(random: &mut Random) -> Weather {
    let fastest = random.within(0..20) as u64;
    let often = |random: &mut Random, most: f64| {
        if random.chance(0.5) { random.fraction() * most } else { 0.0 }
    };
    Weather {
        latency: MS(fastest)..MS(fastest + random.within(1..30) as u64),
        loss: often(random, 0.1),
        duplication: often(random, 0.05),
        delay: often(random, 0.02),
        hold: MS(20)..MS(150),
        split: often(random, 0.3),
        refusal: often(random, 0.5),
        late_close: often(random, 0.8),
        pipe_bytes: random.within(48 * 1024..256 * 1024),
    }
}

fn library_temper(random: &mut Random) -> library::Temper {
    let delay = if random.chance(0.4) { random.fraction() } else { 0.0 };
    let failure = if random.chance(0.16) { 0.01 + 0.1 * random.fraction() } else { 0.0 };
    library::Temper { delay, delays: MS(1)..MS(random.within(5..400) as u64), failure }
}

fn streams_temper(random: &mut Random) -> streams::Temper {
    let seconds = |random: &mut Random, range| Duration::from_secs(random.within(range) as u64);
    streams::Temper {
        loss: random.chance(0.5).then(|| seconds(random, 4..30)),
        refusal: if random.chance(0.3) { 0.4 } else { 0.0 },
        congestion: random.chance(0.4).then(|| seconds(random, 2..15)),
    }
}

fn files(random: &mut Random) -> BTreeMap<String, Content> {
    let mut files = BTreeMap::new();
    for name in ["film", "song", "clip"] {
        let mut presentation = presentation(random);
        match name {
            "song" => presentation.has_pictures = false,
            "clip" => presentation.duration = MS(random.within(1_000..4_000) as u64),
            _ => {}
        }
        presentation.has_sound |= name == "song";
        files.insert(name.to_owned(), Content { presentation, is_live: false });
    }
    files
}

fn presentation(random: &mut Random) -> Presentation {
    let framerate = *random.pick(&[5, 10, 12, 15, 25]);
    Presentation {
        duration: MS(random.within(4_000..40_000) as u64),
        framerate,
        gop_frames: random.within(2..40) as u32,
        // Above 64 KiB a picture is paced.
        keyframe_bytes: *random.pick(&[100, 1_200, 3_000, 9_000, 20_000, 70_000]),
        frame_bytes: random.within(60..2_500),
        has_b_frames: random.chance(0.4),
        has_sound: random.chance(0.6),
        has_pictures: true,
    }
}
