//! A raw client as the judge: slices, scan data and packets of sound byte for byte, RTP timestamps to the tick.

use std::net::SocketAddr;
use std::time::Duration;

use super::elementary::{Unit, file_pictures, file_sound, picture_pieces, received_picture, received_sound};
use super::{Verdict, av1, constant, ffmpeg, same};
use crate::client::viewer::{Over, Track, Viewer};
use crate::corpus::{Audio, Recipe, SECONDS, Video};

/// Plays `url` to its end and compares with the file.
pub(crate) fn judge(server: SocketAddr, url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    let mut viewer = Viewer::open(server, url, over);
    viewer.play(&[]);
    viewer.receive_all(Duration::from_secs(u64::from(SECONDS) + 7));
    // The next player may get the same ports.
    viewer.teardown();
    compare(&viewer, recipe)
}

/// Compares what a viewer got with what the file holds.
pub(crate) fn compare(viewer: &Viewer, recipe: &'static Recipe) -> Verdict {
    for track in &viewer.tracks {
        let gaps = track.gaps();
        if !gaps.is_empty() {
            return Err(format!("{}: gaps in the sequence {gaps:?}", track.media.kind));
        }
    }
    let wanted = usize::from(recipe.video.is_some()) + usize::from(recipe.audio.is_some());
    if viewer.tracks.len() != wanted {
        return Err(format!("{} tracks in place of {wanted}", viewer.tracks.len()));
    }
    let track = |kind: &str| viewer.tracks.iter().find(|track| track.media.kind == kind);
    if let Some((video, _)) = recipe.video {
        pictures(track("video").ok_or("no video track")?, recipe, video)?;
    }
    if let Some((audio, _)) = recipe.audio {
        sound(track("audio").ok_or("no audio track")?, recipe, audio)?;
    }
    Ok(())
}

fn pictures(track: &Track, recipe: &'static Recipe, video: Video) -> Verdict {
    let source = file_pictures(recipe, video)?;
    let units = track.units();
    if units.len() != source.len() {
        return Err(format!("{} pictures in place of {}", units.len(), source.len()));
    }
    let mut temporal_units = (video == Video::Av1).then(|| av1::temporal_units(track)).transpose()?;
    if let Some(units) = &temporal_units {
        av1::decodes(units, recipe)?;
    }
    for (index, (unit, wanted)) in units.iter().zip(&source).enumerate() {
        let found = match &mut temporal_units {
            Some(units) => picture_pieces(video, &std::mem::take(&mut units[index])),
            None => received_picture(video, unit)?,
        };
        same(&format!("pieces of picture {index}"), &wanted.pieces, &found)?;
        if unit.iter().position(|packet| packet.marker) != Some(unit.len() - 1) {
            return Err(format!("picture {index}: the marker is not on its last packet alone"));
        }
    }
    let stamps: Vec<u32> = units.iter().map(|unit| unit[0].timestamp).collect();
    if recipe.tells_times() {
        return timestamps("picture", &source, &stamps, track.media.clock_rate());
    }
    shown_timestamps(recipe, &stamps, track.media.clock_rate())
}

/// Checks timestamps, in order, against the times at which FFmpeg shows the pictures of a file that does not tell them
/// for each.
fn shown_timestamps(recipe: &'static Recipe, stamps: &[u32], clock: u32) -> Verdict {
    let behind = |stamp: &u32| f64::from(stamp.wrapping_sub(stamps[0]) as i32) / f64::from(clock);
    let mut found: Vec<f64> = stamps.iter().map(behind).collect();
    found.sort_by(f64::total_cmp);
    let times = &ffmpeg::source(recipe).pictures.times;
    constant("picture in order of showing", times, &found, 2.0 / f64::from(clock)).map(|_| ())
}

fn sound(track: &Track, recipe: &Recipe, audio: Audio) -> Verdict {
    let source = file_sound(recipe, audio)?;
    let found = received_sound(audio, &track.packets)?;
    if audio.is_sampled() {
        let (wanted, bytes) = (&source[0].pieces[0], &found[0].1);
        if wanted != bytes {
            let at = wanted.iter().zip(bytes).position(|(a, b)| a != b);
            let counts = format!("{} bytes against {}", bytes.len(), wanted.len());
            return Err(format!("sound differs from byte {at:?} on: {counts}"));
        }
        return continuous(track, audio);
    }
    let wanted: Vec<_> = source.iter().map(|unit| &unit.pieces[0]).collect();
    same("packets of sound", &wanted, &found.iter().map(|piece| &piece.1).collect::<Vec<_>>())?;
    // Only the first of the units in a packet has a timestamp of its own.
    let mut last = usize::MAX;
    let (mut units, mut stamps) = (Vec::new(), Vec::new());
    for (unit, (packet, _)) in source.into_iter().zip(&found) {
        if *packet != last {
            units.push(unit);
            stamps.push(track.packets[*packet].timestamp);
        }
        last = *packet;
    }
    timestamps("packet of sound", &units, &stamps, track.media.clock_rate())
}

/// Timestamps of sound that is only samples: each packet begins where the last one ended.
fn continuous(track: &Track, audio: Audio) -> Verdict {
    let channels = track.media.rtpmap.as_deref().and_then(|map| map.split('/').nth(2)).unwrap_or("1");
    let channels: u32 = channels.parse().expect("channels are a number");
    for (index, pair) in track.packets.windows(2).enumerate() {
        let bits = 8 * pair[0].payload.len() as u32;
        let bits_per_tick = match audio {
            Audio::L16 => 16 * channels,
            Audio::G726Most | Audio::G726Least => {
                let rate: u32 =
                    track.media.encoding().rsplit('-').next().and_then(|r| r.parse().ok()).unwrap_or(32);
                rate / 8
            }
            _ => 8 * channels,
        };
        let (wanted, found) = (bits / bits_per_tick, pair[1].timestamp.wrapping_sub(pair[0].timestamp));
        if wanted != found {
            return Err(format!(
                "packet {index} holds {wanted} ticks of sound, the next comes {found} later"
            ));
        }
    }
    Ok(())
}

/// Checks that RTP timestamps follow the file's times, rounded to a tick.
fn timestamps(what: &str, source: &[Unit], stamps: &[u32], clock: u32) -> Verdict {
    for (index, (unit, stamp)) in source.iter().zip(stamps).enumerate() {
        let wanted = ((unit.time - source[0].time) * f64::from(clock)).round() as i64;
        let found = i64::from(stamp.wrapping_sub(stamps[0]) as i32);
        if (wanted - found).abs() > 1 {
            return Err(format!("{what} {index} is {found} ticks behind the first, not {wanted}"));
        }
    }
    Ok(())
}
