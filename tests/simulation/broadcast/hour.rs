//! An hour of one publisher whose clocks drift, and of viewers who come and go: nothing grows, and sound stays with its
//! pictures.

use std::sync::Arc;
use std::time::Duration;

use proto::time::Time;
use ringcaster::config::GopCache;
use ringcaster::driver::sim::{Random, Weather};
use ringcaster::shard::settings::{Listen, Settings};
use ringcaster::stream::registry::OnRepublish;

use super::super::streams::Temper;
use super::rules::Rules;
use super::source::Style;
use super::world::Run;

const MINUTE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    Rules {
        shards: 2,
        publishers: 1,
        viewers: 3,
        paths: 1,
        settings: Arc::new(Settings {
            listen: vec![Listen::rtsp("192.0.2.1:554".parse().unwrap())],
            gop_cache: GopCache::TrueTimes,
            udp_ports: 20_000..=20_199,
            ..Settings::default()
        }),
        weather: Weather::default(),
        stall: Duration::ZERO,
        streams: Temper { loss: None, refusal: 0.0, congestion: None },
        policy: OnRepublish::Stale,
        claim_delay: Duration::ZERO,
        // Longer than the hour.
        calm: Duration::from_secs(1_000_000),
    }
}

/// What is held at the moment: batches of all windows, and what viewers were sent since they were last asked.
struct Minute {
    batches: usize,
    packets: u64,
}

#[test]
fn an_hour_of_drifting_clocks_keeps_tracks_in_step_and_memory_and_latency_flat() {
    for drift in [[1e-4, 1e-4], [-1e-4, -1e-4], [1e-4, -1e-4]] {
        let mut run = Run::new(rules(), Random::new(3), false);
        let style = Style {
            framerate: 20,
            gop: 40,
            key_packets: 3,
            frame_packets: 1,
            packet_bytes: 100,
            has_b_frames: false,
            is_sliced: false,
        };
        run.publishers[0].drift(style, drift);
        let mut minutes = Vec::new();
        let mut before = 0;
        for minute in 1..=60 {
            run.run_until(Time::from_millis(1_000) + MINUTE * minute);
            let batches = run.shards.iter().map(|shard| shard.census().batches).sum();
            let watches = || run.viewers.iter().flat_map(|viewer| &viewer.watches);
            let packets = watches().map(|watch| watch.packets).sum::<u64>();
            minutes.push(Minute { batches, packets: packets - before });
            before = packets;
        }
        let watches = || run.viewers.iter().flat_map(|viewer| &viewer.watches);
        let apart = watches().map(|watch| watch.apart).max().unwrap_or_default();
        let late = watches().map(|watch| watch.latest).max().unwrap_or_default();
        let most = minutes[5..].iter().map(|minute| minute.batches).max().unwrap_or_default();
        println!("{drift:?}: {apart} ns apart, {late:?} late, {most} batches, {before} packets");
        assert!(apart > 0 && apart < 20_000_000, "tracks were {apart} ns apart");
        assert!(late < Duration::from_millis(60), "a packet took {late:?}");
        // A group of pictures, what came in the second before it, and their sound, on each of two shards.
        let bound = 2 * (20 + 50) * (2 + 1) + 20;
        assert!(most <= bound, "{most} batches are held, at most {bound} are needed");
        assert!(minutes.iter().skip(1).all(|minute| minute.packets > 0), "somebody watches at any time");
        run.finish();
    }
}
