//! FFmpeg's library in this process: `av_read_pause`, `av_read_play` and seeks in the middle of playing, as ffplay and
//! other players call them.

use std::time::{Duration, Instant};

use ffmpeg_next as ffmpeg;

use super::wiretap::Wiretap;
use super::{all, check, server};
use crate::client::viewer::Over;
use crate::corpus::{Recipe, Video};
use crate::judge::beside_servers;
use crate::judge::elementary::{Unit, file_pictures, picture_pieces};
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "h264_aac.mp4";

/// Clock rates of its tracks.
const CLOCK_RATES: [u32; 2] = [90_000, 48_000];

/// Pictures that FFmpeg may have left in its sockets: a second of them.
const STALE_MAX: usize = 25;

/// Pictures that FFmpeg's parser may hold.
const HELD_MAX: usize = 2;

/// Pictures that may come while FFmpeg waits for an answer.
const LOST_MAX: usize = 10;

const PATIENCE: Duration = Duration::from_secs(20);

struct Player {
    input: ffmpeg::format::context::Input,
    source: Vec<Unit>,
    tap: Wiretap,
}

impl Player {
    fn open(server: &Server, over: Over) -> Result<Player, String> {
        ffmpeg::format::network::init();
        ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
        let tap = Wiretap::before(server.address());
        let mut options = ffmpeg::Dictionary::new();
        for pair in beside_servers(["-rtsp_transport", over.name()]).chunks(2) {
            options.set(pair[0].trim_start_matches('-'), pair[1]);
        }
        let end = Instant::now() + PATIENCE;
        let url = tap.url(&format!("/{FILE}"));
        let is_late = move || Instant::now() > end;
        let input = ffmpeg::format::input_with_interrupt_and_dictionary(&url, is_late, options);
        let input = input.map_err(|error| format!("open: {error}"))?;
        Ok(Player { input, source: file_pictures(Recipe::named(FILE), Video::H264)?, tap })
    }

    /// The next pictures, at most `count`, by their numbers in decoding order; fewer only at the end.
    fn pictures(&mut self, count: usize) -> Result<Vec<usize>, String> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let mut packet = ffmpeg::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() != 0 => {}
                Ok(()) => {
                    let pieces = picture_pieces(Video::H264, packet.data().unwrap_or_default());
                    let number = self.source.iter().position(|unit| unit.pieces == pieces);
                    numbers.push(number.ok_or("a picture that is not one of the file")?);
                }
                Err(ffmpeg::Error::Eof) => break,
                Err(error) => return Err(format!("read: {error} after {numbers:?}")),
            }
        }
        Ok(numbers)
    }

    fn seek(&mut self, seconds: f64) -> Result<(), String> {
        let time = (seconds * 1e6) as i64;
        self.input.seek(time, ..time).map_err(|error| format!("seek: {error}"))
    }
}

fn pause_stops_the_packets_and_play_goes_on_without_a_gap(backend: Backend) {
    let server = server(backend, 1);
    all(&["once"], |_, over| {
        let mut player = Player::open(&server, over)?;
        let before = player.pictures(30)?;
        player.input.pause().map_err(|error| format!("pause: {error}"))?;
        std::thread::sleep(Duration::from_millis(700));
        player.input.play().map_err(|error| format!("play: {error}"))?;
        let behind = player.pictures(usize::MAX)?;
        check(before.iter().copied().eq(0..30), || format!("pictures {before:?}"))?;
        // Over TCP, FFmpeg throws away what comes while it waits for the answer to PAUSE (`ff_rtsp_skip_packet`), behind
        // the pictures that it has read and not given out. The tap has heard whether any is missing.
        let held = (30..).zip(&behind).take_while(|(wanted, found)| wanted == *found).count();
        let rest = if held <= HELD_MAX && over == Over::Tcp { &behind[held..] } else { &behind[..] };
        let first = rest.first().copied().unwrap_or(75);
        let lost = first - if rest.len() < behind.len() { 30 + held } else { 30 };
        let is_whole = rest.iter().copied().eq(first..75) && lost <= LOST_MAX;
        check(is_whole && (over == Over::Tcp || lost == 0), || format!("pictures {behind:?}"))?;
        let methods = player.tap.methods().join(" ");
        check(methods == "DESCRIBE SETUP SETUP PLAY PAUSE PLAY", || format!("asked for {methods}"))?;
        if over == Over::Tcp {
            player.tap.check_silence_while_paused()?;
            player.tap.check_packets(&CLOCK_RATES)?;
        }
        Ok(())
    });
}

fn seeks_forth_and_back_while_playing_begin_at_keyframes(backend: Backend) {
    let server = server(backend, 1);
    all(&["once"], |_, over| {
        let mut player = Player::open(&server, over)?;
        player.pictures(10)?;
        for (point, keyframe) in [(2.5, 50), (0.4, 0), (1.7, 25)] {
            player.seek(point)?;
            // Datagrams that had come before the seek are read behind it.
            let mut stale = Vec::new();
            let first = loop {
                let first = *player
                    .pictures(1)?
                    .first()
                    .ok_or_else(|| format!("{point} s: an end after {stale:?}"))?;
                if first == keyframe || over == Over::Tcp || stale.len() == STALE_MAX {
                    break first;
                }
                stale.push(first);
            };
            check(first == keyframe, || format!("{point} s brings {first} behind {stale:?}"))?;
            let numbers = player.pictures(11)?;
            check(numbers.iter().copied().eq(keyframe + 1..keyframe + 12), || {
                format!("{point} s brings {numbers:?} behind {first}")
            })?;
        }
        let rest = player.pictures(usize::MAX)?;
        check(rest.last() == Some(&74), || format!("ends with {rest:?}"))?;
        if over == Over::Tcp {
            player.tap.check_silence_while_paused()?;
            player.tap.check_packets(&CLOCK_RATES)?;
        }
        Ok(())
    });
}

on_both_backends!(
    pause_stops_the_packets_and_play_goes_on_without_a_gap,
    seeks_forth_and_back_while_playing_begin_at_keyframes,
);
