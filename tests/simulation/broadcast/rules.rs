//! What one seed's world of publishers and viewers is like.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::time::{NtpTime, Time};
use ringcaster::config::GopCache;
use ringcaster::driver::sim::{Random, Weather};
use ringcaster::shard::settings::{Listen, Settings};
use ringcaster::stream::registry::OnRepublish;

use super::super::streams;

/// How long they publish and watch.
pub const RUN: Duration = Duration::from_secs(30);

/// A packet that is early waits so long for those before it, and a batch so long for its rest.
const WAITS: Duration = Duration::from_millis(60 + 5);

/// One world.
#[derive(Clone, Debug)]
pub struct Rules {
    pub shards: u16,
    pub publishers: usize,
    pub viewers: usize,
    pub paths: usize,
    pub settings: Arc<Settings>,
    pub weather: Weather,
    /// Longest time that a shard stands still; zero for never.
    pub stall: Duration,
    pub streams: streams::Temper,
    pub policy: OnRepublish,
    /// Longest time that a question about a path waits.
    pub claim_delay: Duration,
    /// Mean time between two mishaps of a publisher.
    pub calm: Duration,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Rules {
    /// The world that a seed names.
    pub fn draw(random: &mut Random) -> Rules {
        Rules {
            shards: random.within(1..4) as u16,
            publishers: random.within(1..4),
            viewers: random.within(2..5),
            paths: random.within(1..3),
            settings: Arc::new(settings(random)),
            weather: weather(random),
            stall: if random.chance(0.25) { MS(random.within(20..200) as u64) } else { Duration::ZERO },
            streams: streams::Temper {
                loss: None,
                refusal: 0.0,
                congestion: random.chance(0.25).then(|| Duration::from_secs(random.within(3..12) as u64)),
            },
            policy: *random.pick(&[OnRepublish::Stale, OnRepublish::Replace, OnRepublish::Refuse]),
            claim_delay: if random.chance(0.5) { MS(random.within(1..80) as u64) } else { Duration::ZERO },
            calm: MS(random.within(2_000..8_000) as u64),
        }
    }

    /// Wall-clock time of the simulated drivers at a point of their clock.
    pub fn wall(&self, at: Time) -> NtpTime {
        NtpTime::from_unix(Duration::from_secs(1_700_000_000)) + at.since(Time::ZERO)
    }

    /// How differently long two packets of a source may take to the stream.
    pub fn jitter(&self) -> Duration {
        let held = if self.weather.delay > 0.0 { self.weather.hold.end * 3 } else { Duration::ZERO };
        self.weather.latency.end + held + self.stall * 2 + WAITS
    }

    /// How late something may be that needs a way to the server, a question and a way back.
    pub fn lateness(&self) -> Duration {
        self.jitter() * 2 + self.weather.latency.end + self.claim_delay + MS(100)
    }

    /// Whether datagrams can come too late to be put in order.
    pub fn is_disorderly(&self) -> bool {
        self.weather.delay > 0.0 || !self.stall.is_zero()
    }

    pub fn server(&self) -> SocketAddr {
        self.settings.listen[0].address
    }
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        listen: vec![Listen::rtsp("192.0.2.1:554".parse().unwrap())],
        session_timeout: Duration::from_secs(random.within(4..8) as u64),
        slow_reader: MS(random.within(500..2_000) as u64),
        udp_ports: 20_000..=20_199,
        gop_cache: *random.pick(&[GopCache::Off, GopCache::CatchUp, GopCache::TrueTimes]),
        source_grace: Duration::from_secs(random.within(2..5) as u64),
        shutdown: Duration::from_secs(2),
        ..Settings::default()
    }
}

fn weather(random: &mut Random) -> Weather {
    let fastest = random.within(0..15) as u64;
    let often = |random: &mut Random, most: f64| {
        if random.chance(0.4) { random.fraction() * most } else { 0.0 }
    };
    Weather {
        latency: MS(fastest)..MS(fastest + random.within(1..25) as u64),
        loss: often(random, 0.05),
        duplication: often(random, 0.05),
        delay: often(random, 0.01),
        hold: MS(20)..MS(120),
        split: often(random, 0.2),
        refusal: often(random, 0.3),
        late_close: often(random, 0.8),
        pipe_bytes: random.within(96 * 1024..256 * 1024),
    }
}
